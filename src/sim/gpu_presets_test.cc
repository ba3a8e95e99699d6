// SPDX-License-Identifier: Apache-2.0
#include "sim/gpu_presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lodestar::sim {
namespace {

using testing::HasSubstr;

TEST(GpuPresets, NamesIgnoreCaseAndSeparators) {
  for (const char* name : {"A100", "a100-80g", "A100_80G", "a100 80g", "A100-SXM-80G"})
    EXPECT_EQ(find_gpu(name)->name, "a100-80g") << name;
  EXPECT_EQ(find_gpu("RTX 4090")->name, "rtx-4090");
  EXPECT_EQ(find_gpu("V100")->params.peak_tflops, 112);
  EXPECT_EQ(find_served_model("meta-llama/Llama-3.1-8B")->name, "llama-3.1-8b");
}

TEST(GpuPresets, UnknownNamesListAllNames) {
  const auto gpu = find_gpu("tpu");
  ASSERT_FALSE(gpu);
  EXPECT_EQ(gpu.error().code, ErrorCode::kNotFound);
  for (const char* name : {"a100-80g", "a100-40g", "h100", "h200", "l40s", "rtx-pro-6000",
                           "rtx-4090", "a40", "a30", "a10", "l4", "l20", "v100"}) {
    EXPECT_THAT(gpu.error().message, HasSubstr(name));
    EXPECT_TRUE(find_gpu(name)) << name;
  }
  const auto served = find_served_model("gpt");
  ASSERT_FALSE(served);
  for (const char* name : {"llama-3.1-8b", "qwen3-8b", "qwen2.5-7b", "llama-2-7b", "qwen3-32b"})
    EXPECT_THAT(served.error().message, HasSubstr(name));
}

TEST(GpuPresets, EveryPairGivesAStepTime) {
  for (const GpuPreset& gpu : gpu_presets())
    for (const ServedModelPreset& served : served_model_presets()) {
      const auto time = FormulaStepTime::create(gpu.params, served.params, {});
      ASSERT_TRUE(time) << gpu.name << ' ' << served.name << ": " << time.error().message;
    }
}

TEST(GpuPresets, BodyParametersFollowFromTheShape) {
  // MLP widths from each config.json; attention and three MLP matrices per layer.
  const std::pair<const char*, int> widths[] = {{"llama-3.1-8b", 14336},
                                                {"qwen3-8b", 12288},
                                                {"qwen2.5-7b", 18944},
                                                {"llama-2-7b", 11008},
                                                {"qwen3-32b", 25600}};
  for (const auto& [name, width] : widths) {
    const ServedModelParams m = find_served_model(name)->params;
    const double attention = 1.0 * m.hidden * m.head_dim * (2 * m.heads + 2 * m.kv_heads);
    const double body = m.layers * (attention + 3.0 * m.hidden * width) * 1e-9;
    EXPECT_NEAR(m.params_b, body, 0.002 * body) << name;
  }
}

// KV capacity in tokens with vLLM's defaults, published in steps of 100.
struct CapacityRow {
  const char* gpu;
  double tokens[5];  // in the order of served_model_presets(); 0: does not fit
};
constexpr CapacityRow kCapacity[] = {
    {"a10", {32300, 26600, 88200, 13000, 0}},
    {"l4", {31600, 25900, 86500, 12800, 0}},
    {"a30", {41900, 35100, 110000, 15400, 0}},
    {"rtx-4090", {41300, 34500, 108700, 15200, 0}},
    {"v100", {101600, 88200, 246600, 30300, 0}},
    {"a100-40g", {158400, 138600, 376400, 44500, 0}},
    {"l20", {196000, 172000, 462000, 53900, 0}},
    {"l40s", {196000, 172000, 462000, 53900, 0}},
    {"a100-80g", {438500, 387600, 1016600, 114500, 30300}},
    {"h100", {438500, 387600, 1016600, 114500, 30300}},
    {"rtx-pro-6000", {554300, 490500, 1281000, 143500, 88100}},
    {"h200", {885300, 784800, 2037800, 226200, 253700}},
};

TEST(GpuPresets, KvCapacityIsThePublishedOne) {
  for (const CapacityRow& row : kCapacity) {
    for (std::size_t i = 0; i < 5; ++i) {
      const auto tokens =
          kv_capacity_tokens(find_gpu(row.gpu)->params, served_model_presets()[i].params);
      if (row.tokens[i] == 0) {
        EXPECT_FALSE(tokens) << row.gpu << " cannot hold " << served_model_presets()[i].name;
        continue;
      }
      ASSERT_TRUE(tokens) << tokens.error().message;
      EXPECT_EQ(*tokens % 16, 0);
      EXPECT_NEAR(static_cast<double>(*tokens), row.tokens[i], 0.005 * row.tokens[i])
          << row.gpu << ' ' << served_model_presets()[i].name;
    }
  }
}

TEST(GpuPresets, KvCapacityErrors) {
  const ServedModelParams llama = find_served_model("llama-3.1-8b")->params;
  GpuParams gpu = find_gpu("a30")->params;
  EXPECT_FALSE(kv_capacity_tokens(gpu, llama, 0.0));
  EXPECT_FALSE(kv_capacity_tokens(gpu, llama, 1.5));
  EXPECT_FALSE(kv_capacity_tokens(gpu, llama, 0.9, 0));
  EXPECT_THAT(kv_capacity_tokens(gpu, find_served_model("qwen3-32b")->params).error().message,
              HasSubstr("weights"));
  gpu.memory_gb = 0;
  EXPECT_THAT(kv_capacity_tokens(gpu, llama).error().message, HasSubstr("kv_capacity_tokens"));
}

TEST(GpuPresets, WeightsOfARawServedModelFollowFromItsShape) {
  ServedModelParams m = find_served_model("llama-3.1-8b")->params;
  const double published = m.total_weight_bytes();
  m.total_weight_gb = 0;
  EXPECT_NEAR(m.total_weight_bytes(), published, 0.002 * published);
  EXPECT_EQ(m.kv_bytes_per_token(), 131072);
}

}  // namespace
}  // namespace lodestar::sim
