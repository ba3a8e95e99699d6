// SPDX-License-Identifier: Apache-2.0
// Named GPUs and served models, and the KV capacity that follows from a pair.
// GPU rows: "fitted" ones are least-squares fits on measured kernels
// (aiconfigurator vLLM 0.14/0.24 tables; LLMServingSim vLLM 0.19 for the RTX
// 4090); the others are estimates from data sheets and related cards.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "sim/step_time.h"

namespace lodestar::sim {

struct GpuPreset {
  std::string_view name;
  std::span<const std::string_view> aliases;
  GpuParams params;
  bool fitted = false;
  // Per-sequence overhead of the fit, for comparing with kernel tables. Engines
  // use StepOverhead's one default instead, which covers the host too.
  double fitted_per_seq_us = 0;
};

struct ServedModelPreset {
  std::string_view name;
  std::span<const std::string_view> aliases;
  ServedModelParams params;
};

std::span<const GpuPreset> gpu_presets();
std::span<const ServedModelPreset> served_model_presets();

// Case, '_' and ' ' for '-' do not matter. An unknown name is an error that
// lists all names.
Result<GpuPreset> find_gpu(std::string_view name);
Result<ServedModelPreset> find_served_model(std::string_view name);

// Tokens that fit after weights and overhead (1.25 GB; 3 GB from 70 GiB on):
// floor((utilization*memory - weights - overhead) / kv bytes per token / block) * block.
// Errors: memory unknown, or the weights alone do not leave room for two blocks.
Result<std::int64_t> kv_capacity_tokens(const GpuParams& gpu, const ServedModelParams& served_model,
                                        double gpu_memory_utilization = 0.9,
                                        std::int64_t block_tokens = 16);

}  // namespace lodestar::sim
