// SPDX-License-Identifier: Apache-2.0
#include "sim/step_time.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lodestar::sim {
namespace {

using testing::HasSubstr;

// 1 TFLOP/s and 1000 GB/s at full efficiency: round figures.
GpuParams round_gpu() {
  return {.peak_tflops = 1,
          .bandwidth_gb_s = 1000,
          .eta_c = 1,
          .eta_m = 1,
          .eta_kv = 1,
          .eta_kvm = 0.5,
          .eta_a = 1,
          .p = 2,
          .memory_gb = 0};
}
ServedModelParams round_model() {
  ServedModelParams m;
  m.layers = 10;
  m.hidden = 1000;
  m.heads = 10;
  m.kv_heads = 5;
  m.head_dim = 100;
  m.vocab = 1000;
  m.params_b = 1;
  return m;
}

TEST(FormulaStepTime, EveryTermByHand) {
  const auto time = *FormulaStepTime::create(round_gpu(), round_model(), {0.5, 100});
  // Weights 2e9 B / 1e12 B/s = 2 ms. Compute 2e9 FLOP / 1e12 = 2 ms per token.
  EXPECT_NEAR(time->step_ms({.tokens = 1}), 2 * std::sqrt(2.0) + 0.5, 1e-12);
  const double linear = 2 * std::sqrt(1 + 16.0);  // 4 tokens
  EXPECT_NEAR(time->step_ms({.tokens = 4}), linear + 0.5, 1e-12);
  // Head 2 * 1e6 B = 2 us; 4 sequences 0.4 ms; 20 kB of KV per token: 1e6 tokens 20 ms.
  StepShape decodes{.tokens = 4, .sampling_seqs = 4, .decode_seqs = 4, .decode_context = 1000000};
  EXPECT_NEAR(time->step_ms(decodes), linear + 0.5 + 0.4 + 0.002 + 20, 1e-9);
  // Mixed: eta_kvm halves the rate; 4*10*10*100 = 40,000 FLOP per unit of A.
  decodes.decode_seqs = 3;
  decodes.prefill_attention = 1e6;
  EXPECT_NEAR(time->step_ms(decodes), linear + 0.5 + 0.4 + 0.002 + 40 + 40, 1e-9);
}

TEST(FormulaStepTime, TableAndFormulaMeetWithoutAStep) {
  const auto time = *FormulaStepTime::create(round_gpu(), round_model(), {});
  for (std::int64_t t = 8186; t < 8198; ++t) {
    const double compute = 2.0 * static_cast<double>(t);
    EXPECT_NEAR(time->step_ms({.tokens = t}), std::sqrt(compute * compute + 4) + 0.3, 1e-9);
  }
}

TEST(FormulaStepTime, InfinitePIsThePlainRoofline) {
  GpuParams gpu = round_gpu();
  gpu.p = std::numeric_limits<double>::infinity();
  const auto roofline = *FormulaStepTime::create(gpu, round_model(), {0, 0});
  EXPECT_EQ(roofline->step_ms({.tokens = 1}), 2);
  EXPECT_EQ(roofline->step_ms({.tokens = 3}), 6);
  gpu.p = 300;  // (2/600)^300 is below the smallest double; no NaN, no overflow
  const auto sharp = *FormulaStepTime::create(gpu, round_model(), {0, 0});
  EXPECT_NEAR(sharp->step_ms({.tokens = 300}), 600, 1e-9);
}

TEST(FormulaStepTime, BadParametersAreNamed) {
  const auto error = [](auto change) {
    GpuParams gpu = round_gpu();
    ServedModelParams m = round_model();
    StepOverhead o;
    change(gpu, m, o);
    const auto time = FormulaStepTime::create(gpu, m, o);
    return time ? std::string() : time.error().message;
  };
  using G = GpuParams;
  using M = ServedModelParams;
  using O = StepOverhead;
  EXPECT_EQ(error([](G&, M&, O&) {}), "");
  EXPECT_THAT(error([](G& g, M&, O&) { g.eta_kvm = 0; }), HasSubstr("eta_kvm"));
  EXPECT_THAT(error([](G& g, M&, O&) { g.p = 0.5; }), HasSubstr("gpu.p"));
  EXPECT_THAT(error([](G& g, M&, O&) { g.p = std::nan(""); }), HasSubstr("gpu.p"));
  EXPECT_THAT(error([](G& g, M&, O&) { g.peak_tflops = std::nan(""); }), HasSubstr("peak_tflops"));
  EXPECT_THAT(error([](G&, M& m, O&) { m.kv_heads = -1; }), HasSubstr("kv_heads"));
  EXPECT_THAT(error([](G&, M& m, O&) { m.params_b = 0; }), HasSubstr("params_b"));
  EXPECT_THAT(error([](G&, M&, O& o) { o.fixed_ms = -1; }), HasSubstr("overhead_ms"));
}

}  // namespace
}  // namespace lodestar::sim
