// SPDX-License-Identifier: Apache-2.0
// Which rows are worth keeping: a gradient coreset by greedy k-centre (Lodestar's
// replay_buffer.py). Per row, a = last hidden activations and e = |prediction -
// reward|; g = a * e is the gradient of the last layer. Rows are chosen farthest
// first by cosine distance of g, starting with the largest |g|.
//
// kAsCoded: distances of g / |g|, as the published code computes them. The
//   positive factor e cancels there, so the error picks the first row only.
// kAsDescribed: as the text says, weighted by error: the next row is the one with
//   the largest |g| * distance.
//
// Rows without any activation have no direction: their distance to all is 1, the
// largest possible among ReLU outputs (as published).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "learn/gemm.h"

namespace lodestar::learn {

enum class CoresetRule { kAsCoded, kAsDescribed };

// activations: rows x width (width % 16 == 0), error: one per row, >= 0. Returns
// min(k, rows) row indices in the order they were chosen; nested, so a prefix is
// the answer for a smaller k. All rows (in order) when k >= rows. Cost rows * k *
// width multiply-adds; equal distances go to the lowest index.
std::vector<std::uint32_t> select_coreset(std::span<const float> activations,
                                          std::span<const float> error, std::size_t width,
                                          std::size_t k, CoresetRule rule);

// Before there is a predictor: a uniform choice without replacement.
std::vector<std::uint32_t> select_uniform(std::size_t rows, std::size_t k, Rng rng);

}  // namespace lodestar::learn
