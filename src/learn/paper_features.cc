// SPDX-License-Identifier: Apache-2.0
#include "learn/paper_features.h"

#include <cmath>

#include "base/hash.h"
#include "base/math.h"

namespace lodestar::learn {
namespace {

constexpr std::string_view kNames[kPaperNumeric] = {"inflight_prefill_requests",
                                                    "inflight_decode_requests",
                                                    "gpu_kv_cache",
                                                    "running_requests",
                                                    "waiting_requests",
                                                    "prefill_tokens",
                                                    "decode_tokens",
                                                    "kv_hit_ratio_fresh",
                                                    "kv_hit_ratio",
                                                    "input_tokens"};

constexpr std::string_view kGpus[kPaperGpuClasses] = {
    "L20", "A10", "A30", "GPU-L3c", "A100", "H100", "L4", "L40", "L40S", "T4", "Tesla-V100"};

constexpr double kLn2 = 0.6931471805599453;
constexpr float kLargestUsable = 1e9f;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool contains(std::string_view text, std::string_view part) {
  for (std::size_t i = 0; i + part.size() <= text.size(); ++i) {
    std::size_t j = 0;
    while (j < part.size() && lower(text[i + j]) == lower(part[j])) ++j;
    if (j == part.size()) return true;
  }
  return false;
}

}  // namespace

bool PaperFeatures::usable() const {
  for (float v : numeric)
    if (!(std::fabs(v) <= kLargestUsable)) return false;  // also NaN
  return true;
}

std::span<const std::string_view> paper_feature_names() { return kNames; }
std::span<const std::string_view> paper_gpu_names() { return kGpus; }

GpuClass paper_gpu_class(std::string_view hardware) {
  GpuClass best = -1;
  std::size_t best_length = 0;
  for (std::size_t i = 0; i < kPaperGpuClasses; ++i) {
    std::string_view name = kGpus[i];
    if (name.starts_with("Tesla-")) name.remove_prefix(6);
    if (name.size() > best_length && contains(hardware, name)) {
      best = static_cast<GpuClass>(i);
      best_length = name.size();
    }
  }
  return best;
}

PaperFeatures paper_features(const FeatureRow& row, GpuClass gpu) {
  // The small term undoes the rounding of blocks / blocks, which is a double.
  const double hit = std::floor(100.0 * row.hit_ratio + 1e-9);
  const double fresh = hit * det_exp(-kLn2 * row.hit_age_s / kPaperFreshnessHalfLifeS);
  PaperFeatures f;
  f.numeric = {static_cast<float>(row.inflight_prefill),
               static_cast<float>(row.inflight_decode),
               static_cast<float>(row.kv_usage),
               static_cast<float>(row.running),
               static_cast<float>(row.waiting),
               static_cast<float>(row.pending_prompt_tokens),
               static_cast<float>(row.decode_generated_tokens),
               static_cast<float>(fresh),
               static_cast<float>(hit),
               static_cast<float>(row.prompt_tokens)};
  f.gpu = gpu;
  return f;
}

std::uint64_t paper_feature_hash(bool gpu_labels) {
  std::uint64_t h = hash_combine(0, kFeatureSetVersion);
  for (std::string_view name : kNames) h = hash_combine(h, hash_string(name));
  if (gpu_labels)
    for (std::string_view name : kGpus) h = hash_combine(h, hash_string(name));
  return h;
}

}  // namespace lodestar::learn
