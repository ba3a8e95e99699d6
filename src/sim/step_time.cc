// SPDX-License-Identifier: Apache-2.0
#include "sim/step_time.h"

#include <cmath>

#include <fmt/format.h>

#include "base/math.h"

namespace lodestar::sim {
namespace {

// Steps up to this size take t_lin from a table: det_pow is most of their cost.
constexpr std::int64_t kTableTokens = 8192;

Result<void> require(double value, const char* name, bool may_be_zero = false) {
  if (std::isfinite(value) && (value > 0 || (may_be_zero && value == 0))) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("step time: {} is {}; it must be {} 0", name, value,
                          may_be_zero ? "at least" : "greater than"));
}

Result<void> check(const GpuParams& gpu, const ServedModelParams& m, const StepOverhead& o) {
  const std::pair<double, const char*> positive[] = {{gpu.peak_tflops, "gpu.peak_tflops"},
                                                     {gpu.bandwidth_gb_s, "gpu.bandwidth_gb_s"},
                                                     {gpu.eta_c, "gpu.eta_c"},
                                                     {gpu.eta_m, "gpu.eta_m"},
                                                     {gpu.eta_kv, "gpu.eta_kv"},
                                                     {gpu.eta_kvm, "gpu.eta_kvm"},
                                                     {gpu.eta_a, "gpu.eta_a"},
                                                     {m.layers, "served_model.layers"},
                                                     {m.hidden, "served_model.hidden"},
                                                     {m.heads, "served_model.heads"},
                                                     {m.kv_heads, "served_model.kv_heads"},
                                                     {m.head_dim, "served_model.head_dim"},
                                                     {m.vocab, "served_model.vocab"},
                                                     {m.params_b, "served_model.params_b"},
                                                     {m.weight_bytes, "served_model.weight_bytes"},
                                                     {m.kv_bytes, "served_model.kv_bytes"}};
  for (const auto& [value, name] : positive)
    if (auto r = require(value, name); !r) return r;
  if (auto r = require(o.fixed_ms, "overhead_ms", true); !r) return r;
  if (auto r = require(o.per_seq_us, "overhead_per_seq_us", true); !r) return r;
  // Below 1 the "smooth max" would exceed the sum of both times.
  if (!(gpu.p >= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("step time: gpu.p is {}; it must be at least 1 (2 is usual)", gpu.p));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const StepTime>> FormulaStepTime::create(
    const GpuParams& gpu, const ServedModelParams& served_model, const StepOverhead& overhead) {
  if (auto r = check(gpu, served_model, overhead); !r) return std::unexpected(r.error());
  return std::shared_ptr<const StepTime>(new FormulaStepTime(gpu, served_model, overhead));
}

FormulaStepTime::FormulaStepTime(const GpuParams& gpu, const ServedModelParams& m,
                                 const StepOverhead& overhead) {
  const double flops_per_ms = gpu.peak_tflops * 1e9;
  const double bytes_per_ms = gpu.bandwidth_gb_s * 1e6;
  const double params = m.params_b * 1e9;
  p_ = gpu.p;
  compute_ms_per_token_ = 2 * params / (flops_per_ms * gpu.eta_c);
  weights_ms_ = m.weight_bytes * params / (bytes_per_ms * gpu.eta_m);
  head_ms_ = m.weight_bytes * m.vocab * m.hidden / (bytes_per_ms * gpu.eta_m);
  decode_ms_per_token_ = m.kv_bytes_per_token() / (bytes_per_ms * gpu.eta_kv);
  decode_mixed_ms_per_token_ = m.kv_bytes_per_token() / (bytes_per_ms * gpu.eta_kvm);
  prefill_ms_per_unit_ = 4.0 * m.layers * m.heads * m.head_dim / (flops_per_ms * gpu.eta_a);
  fixed_ms_ = overhead.fixed_ms;
  per_seq_ms_ = overhead.per_seq_us * 1e-3;
  linear_table_ms_.resize(kTableTokens + 1);
  for (std::int64_t t = 0; t <= kTableTokens; ++t)
    linear_table_ms_[static_cast<std::size_t>(t)] = linear_ms(static_cast<double>(t));
}

// (c^p + m^p)^(1/p) as hi * (1 + (lo/hi)^p)^(1/p): no overflow for any p.
double FormulaStepTime::linear_ms(double tokens) const {
  const double compute_ms = compute_ms_per_token_ * tokens;
  const double hi = compute_ms > weights_ms_ ? compute_ms : weights_ms_;
  const double lo = compute_ms > weights_ms_ ? weights_ms_ : compute_ms;
  if (std::isinf(p_)) return hi;  // the plain roofline
  return hi * det_pow(1 + det_pow(lo / hi, p_), 1 / p_);
}

double FormulaStepTime::step_ms(const StepShape& s) const {
  double ms = s.tokens <= kTableTokens ? linear_table_ms_[static_cast<std::size_t>(s.tokens)]
                                       : linear_ms(static_cast<double>(s.tokens));
  if (s.sampling_seqs > 0) ms += head_ms_;
  ms += fixed_ms_ + per_seq_ms_ * static_cast<double>(s.sampling_seqs);
  ms += static_cast<double>(s.decode_context) *
        (s.has_prefill() ? decode_mixed_ms_per_token_ : decode_ms_per_token_);
  return ms + prefill_ms_per_unit_ * s.prefill_attention;
}

}  // namespace lodestar::sim
