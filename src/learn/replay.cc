// SPDX-License-Identifier: Apache-2.0
#include "learn/replay.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace lodestar::learn {
namespace {

constexpr float kSmallestNorm = 1e-8f;
constexpr float kTaken = -1.0f;  // below every distance

struct Directions {
  std::vector<float> transposed;  // width x rows padded to the panel: one matvec per centre
  std::vector<float> unit;        // rows x width
  std::vector<float> norm;        // of g
  std::size_t padded_rows = 0;
};

Directions directions_of(std::span<const float> activations, std::span<const float> error,
                         std::size_t width) {
  const std::size_t rows = error.size();
  Directions d;
  d.padded_rows = (rows + kGemmPanel - 1) / kGemmPanel * kGemmPanel;
  d.unit.assign(d.padded_rows * width, 0.0f);
  d.norm.resize(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* a = activations.data() + r * width;
    // Scaling by e cancels in the direction: leave it out instead of rounding twice.
    const float length = std::sqrt(dot8(a, a, width));
    d.norm[r] = length * error[r];
    if (!(length > kSmallestNorm)) continue;
    for (std::size_t i = 0; i < width; ++i) d.unit[r * width + i] = a[i] / length;
  }
  d.transposed.resize(d.padded_rows * width);
  gemm_pack_transposed(d.unit.data(), width, d.padded_rows, d.transposed.data());
  return d;
}

}  // namespace

std::vector<std::uint32_t> select_coreset(std::span<const float> activations,
                                          std::span<const float> error, std::size_t width,
                                          std::size_t k, CoresetRule rule) {
  const std::size_t rows = error.size();
  LODESTAR_CHECK(activations.size() >= rows * width && width % kGemmPanel == 0);
  std::vector<std::uint32_t> chosen;
  if (k >= rows) {
    chosen.resize(rows);
    std::iota(chosen.begin(), chosen.end(), 0u);
    return chosen;
  }
  if (k == 0) return chosen;
  const Directions d = directions_of(activations, error, width);
  const GemmLevel level = best_gemm_level();
  std::vector<float> distance(rows, 2.0f), similarity(d.padded_rows);
  std::size_t next = 0;
  for (std::size_t r = 1; r < rows; ++r)
    if (d.norm[r] > d.norm[next]) next = r;
  chosen.reserve(k);
  while (true) {
    chosen.push_back(static_cast<std::uint32_t>(next));
    if (chosen.size() == k) return chosen;
    distance[next] = kTaken;
    gemm(level, nullptr, {d.unit.data() + next * width, width, 1}, d.transposed.data(),
         similarity.data(), 1, d.padded_rows, width);
    for (std::size_t r = 0; r < rows; ++r)
      distance[r] = std::min(distance[r], 1.0f - similarity[r]);
    std::size_t best = rows;
    float best_value = kTaken;
    for (std::size_t r = 0; r < rows; ++r) {
      if (distance[r] == kTaken) continue;
      // Rounding can leave a distance slightly below 0: a twin, not a taken row.
      const float apart = std::max(distance[r], 0.0f);
      const float value = rule == CoresetRule::kAsCoded ? apart : apart * d.norm[r];
      if (value > best_value) {
        best = r;
        best_value = value;
      }
    }
    if (best == rows) {  // every value is NaN: rows that the old predictor could not score
      best = 0;
      while (distance[best] == kTaken) ++best;
    }
    next = best;
  }
}

std::vector<std::uint32_t> select_uniform(std::size_t rows, std::size_t k, Rng rng) {
  std::vector<std::uint32_t> all(rows);
  std::iota(all.begin(), all.end(), 0u);
  if (k >= rows) return all;
  for (std::size_t i = 0; i < k; ++i) std::swap(all[i], all[i + rng.below(rows - i)]);
  all.resize(k);
  return all;
}

}  // namespace lodestar::learn
