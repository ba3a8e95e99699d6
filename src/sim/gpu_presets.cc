// SPDX-License-Identifier: Apache-2.0
#include "sim/gpu_presets.h"

#include <array>
#include <cmath>
#include <string>

#include <fmt/format.h>

namespace lodestar::sim {
namespace {

using Names = std::string_view;
constexpr Names kA100[] = {"a100", "a100-sxm-80g", "a100-80gb"};
constexpr Names kA100Small[] = {"a100-40gb", "a100-sxm-40g"};
constexpr Names kH100[] = {"h100-sxm", "h100-80g", "h100-80gb", "h100-sxm-80g"};
constexpr Names kH200[] = {"h200-sxm", "h200-141g", "h200-sxm-141g"};
constexpr Names kL40s[] = {"l40s-48g"};
constexpr Names kPro6000[] = {"rtx6000-pro", "rtx-6000-pro", "rtxpro6000", "pro-6000"};
constexpr Names kRtx4090[] = {"4090", "rtx4090"};
constexpr Names kA40[] = {"a40-48g"};
constexpr Names kA30[] = {"a30-24g"};
constexpr Names kA10[] = {"a10-24g"};
constexpr Names kL4[] = {"l4-24g"};
constexpr Names kL20[] = {"l20-48g"};
constexpr Names kV100[] = {"v100-32g", "v100-sxm-32g"};

// eta_kvm of fitted rows without mixed-step data: 0.6 on Hopper (FA3), 0.41 on
// Ampere as for the A100-40G, 0.37 elsewhere as measured on the RTX 4090.
// memory_gb is what the driver reports, in GiB, a little under the name's figure.
constexpr std::array kGpus = {
    GpuPreset{"a100-80g",
              kA100,
              {312, 2039, 0.767, 0.6456, 0.8153, 0.41, 0.6625, 1.819, 79.2},
              true,
              6.1566},
    GpuPreset{
        "h100", kH100, {989, 3350, 0.7149, 0.698, 0.908, 0.60, 0.4417, 2.3229, 79.2}, true, 7.0038},
    GpuPreset{"h200",
              kH200,
              {989, 4800, 0.732, 0.6258, 0.9054, 0.60, 0.5062, 2.5941, 139.8},
              true,
              6.2938},
    GpuPreset{"l40s",
              kL40s,
              {362, 864, 0.5659, 0.7525, 0.7594, 0.37, 0.2877, 2.4405, 44.5},
              true,
              15.2658},
    GpuPreset{"rtx-pro-6000",
              kPro6000,
              {467.8, 1792, 0.7338, 0.7673, 0.8463, 0.37, 0.7332, 1.7379, 94.9},
              true,
              0.7388},
    // 25,250,627,584 bytes as the measured run reports them.
    GpuPreset{"rtx-4090",
              kRtx4090,
              {165.2, 1008, 0.9599, 0.8274, 1.0755, 0.3691, 0.644, 1.9396, 23.516480},
              true,
              15.3577},
    GpuPreset{"a100-40g", kA100Small, {312, 1555, 0.77, 0.75, 0.815, 0.41, 0.66, 2, 39.4}},
    GpuPreset{"a40", kA40, {149.7, 696, 0.73, 0.80, 0.80, 0.35, 0.55, 2, 44.5}},
    GpuPreset{"a30", kA30, {165, 933, 0.74, 0.75, 0.80, 0.40, 0.60, 2, 23.6}},
    GpuPreset{"a10", kA10, {125, 600, 0.62, 0.82, 0.80, 0.35, 0.55, 2, 22.3}},
    GpuPreset{"l4", kL4, {121, 300, 0.50, 0.82, 0.80, 0.37, 0.45, 2, 22.2}},
    GpuPreset{"l20", kL20, {119.5, 864, 0.90, 0.85, 0.80, 0.37, 0.55, 2, 44.5}},
    GpuPreset{"v100", kV100, {112, 900, 0.65, 0.75, 0.60, 0.30, 0.20, 2, 31.7}},
};

constexpr Names kLlama31[] = {"meta-llama/llama-3.1-8b", "meta-llama/llama-3.1-8b-instruct",
                              "llama-3.1-8b-instruct", "llama3.1-8b"};
constexpr Names kQwen3[] = {"qwen/qwen3-8b"};
constexpr Names kQwen25[] = {"qwen/qwen2.5-7b", "qwen/qwen2.5-7b-instruct", "qwen2.5-7b-instruct"};
constexpr Names kLlama2[] = {"meta-llama/llama-2-7b-hf", "meta-llama/llama-2-7b-chat-hf",
                             "llama2-7b"};
constexpr Names kQwen3Big[] = {"qwen/qwen3-32b"};

// layers, hidden, heads, kv heads, head dim, vocabulary from each config.json;
// params_b is the sum of the attention and MLP matrices; weights as published.
constexpr std::array kServedModels = {
    ServedModelPreset{"llama-3.1-8b", kLlama31, {32, 4096, 32, 8, 128, 128256, 6.98, 2, 2, 16.06}},
    ServedModelPreset{"qwen3-8b", kQwen3, {36, 4096, 32, 8, 128, 151936, 6.95, 2, 2, 16.38}},
    ServedModelPreset{"qwen2.5-7b", kQwen25, {28, 3584, 28, 4, 128, 152064, 6.53, 2, 2, 15.24}},
    ServedModelPreset{"llama-2-7b", kLlama2, {32, 4096, 32, 32, 128, 32000, 6.48, 2, 2, 13.48}},
    ServedModelPreset{"qwen3-32b", kQwen3Big, {64, 5120, 64, 8, 128, 151936, 31.21, 2, 2, 65.6}},
};

std::string normal(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    out += c == '_' || c == ' ' ? '-' : c;
  }
  return out;
}

template <class Preset>
Result<Preset> find_in(std::span<const Preset> presets, std::string_view name, const char* kind) {
  const std::string wanted = normal(name);
  std::string known;
  for (const Preset& preset : presets) {
    if (wanted == preset.name) return preset;
    for (std::string_view alias : preset.aliases)
      if (wanted == alias) return preset;
    known += known.empty() ? "" : ", ";
    known += preset.name;
  }
  return fail(ErrorCode::kNotFound, fmt::format("unknown {} \"{}\"; known: {}; or give its "
                                                "parameters instead of a name",
                                                kind, name, known));
}

}  // namespace

std::span<const GpuPreset> gpu_presets() { return kGpus; }
std::span<const ServedModelPreset> served_model_presets() { return kServedModels; }

Result<GpuPreset> find_gpu(std::string_view name) { return find_in<GpuPreset>(kGpus, name, "gpu"); }
Result<ServedModelPreset> find_served_model(std::string_view name) {
  return find_in<ServedModelPreset>(kServedModels, name, "served_model");
}

Result<std::int64_t> kv_capacity_tokens(const GpuParams& gpu, const ServedModelParams& served_model,
                                        double gpu_memory_utilization, std::int64_t block_tokens) {
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  if (!(gpu.memory_gb > 0)) {
    return fail(ErrorCode::kInvalidArgument,
                "KV capacity unknown: give kv_capacity_tokens, or the gpu's memory_gb");
  }
  const double per_token = served_model.kv_bytes_per_token();
  if (!(gpu_memory_utilization > 0 && gpu_memory_utilization <= 1) || block_tokens < 1 ||
      !(per_token > 0)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("KV capacity: gpu_memory_utilization {} must be in (0, 1], "
                            "block_tokens {} and KV bytes per token {} positive",
                            gpu_memory_utilization, block_tokens, per_token));
  }
  const double overhead = gpu.memory_gb >= 70 ? 3e9 : 1.25e9;
  const double room =
      gpu_memory_utilization * gpu.memory_gb * kGib - served_model.total_weight_bytes() - overhead;
  const double blocks = std::floor(room / per_token / static_cast<double>(block_tokens));
  if (!(blocks >= 2)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("no room for a KV cache: {:.1f} GiB x {} holds {:.2f} GB of weights "
                    "and {:.2f} GB overhead and leaves {:.2f} GB",
                    gpu.memory_gb, gpu_memory_utilization, served_model.total_weight_bytes() * 1e-9,
                    overhead * 1e-9, room * 1e-9));
  }
  return static_cast<std::int64_t>(blocks) * block_tokens;
}

}  // namespace lodestar::sim
