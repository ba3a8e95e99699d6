// SPDX-License-Identifier: Apache-2.0
// The inputs of the published predictor (Lodestar, arXiv 2606.00946; the vector
// is that of its code, encoding.py): ten numbers per (request, instance), and in
// the labelled form a one-hot of the GPU between the eighth and the ninth.
//
//  0 inflight_prefill_requests   own accounting, requests
//  1 inflight_decode_requests    own accounting, requests
//  2 gpu_kv_cache                scraped, 0..1
//  3 running_requests            scraped, requests
//  4 waiting_requests            scraped, requests
//  5 prefill_tokens              full prompts of those in prefill, tokens
//  6 decode_tokens               generated so far by those in decode, tokens
//  7 kv_hit_ratio_fresh          kv_hit_ratio * 2^(-age / 15 s)
//  8 kv_hit_ratio                whole per cent, rounded down, of the prompt's blocks
//  9 input_tokens                tokens
//
// All are functions of the FeatureRow that was computed once, at the decision,
// without the request itself: no train/serve skew.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "routing/features.h"

namespace lodestar::learn {

inline constexpr std::size_t kPaperNumeric = 10;
inline constexpr std::size_t kPaperGpuClasses = 11;
inline constexpr double kPaperFreshnessHalfLifeS = 15;

// Index into paper_gpu_names(), or -1: no label, or hardware that is not in the
// published vocabulary (its one-hot is all zero).
using GpuClass = std::int8_t;

struct PaperFeatures {
  std::array<float, kPaperNumeric> numeric{};
  GpuClass gpu = -1;

  // Values that an engine made up (NaN, infinite, beyond 1e9) teach nothing and
  // cannot be scored.
  bool usable() const;
};

std::span<const std::string_view> paper_feature_names();  // kPaperNumeric
std::span<const std::string_view> paper_gpu_names();      // kPaperGpuClasses

// The longest name of the vocabulary that the label contains, any case:
// "NVIDIA-L40S" is L40S, "V100-32GB" is Tesla-V100.
GpuClass paper_gpu_class(std::string_view hardware);

PaperFeatures paper_features(const FeatureRow& row, GpuClass gpu);

// Width of the predictor's input: 10, or 21 with labels.
constexpr std::size_t paper_inputs(bool gpu_labels) {
  return gpu_labels ? kPaperNumeric + kPaperGpuClasses : kPaperNumeric;
}

// Digest of kFeatureSetVersion, the names and their order: a predictor trained on
// another set must not be used.
std::uint64_t paper_feature_hash(bool gpu_labels);

}  // namespace lodestar::learn
