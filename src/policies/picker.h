// SPDX-License-Identifier: Apache-2.0
// The shared picker. Scores become a choice in one place, so that no policy can
// send its ties to the first of a list: least cost, then least load, then
// uniformly at random among what is still equal.
#pragma once
#include <cstddef>
#include <span>

#include "base/rng.h"

namespace lodestar {

inline constexpr std::size_t kNoPick = static_cast<std::size_t>(-1);

struct Pick {
  std::size_t index = kNoPick;  // kNoPick: every cost is NaN
  double propensity = 1;        // 1 / number of equals among which chance decided
};

// cost: lower is better, NaN = no opinion (never picked while another has one);
// +inf = only if nothing better. load: breaks ties, NaN counts as +inf. Both have
// the same length. Draws from `rng` only if two or more are equal. No allocation.
Pick pick_least(std::span<const double> cost, std::span<const double> load, Rng& rng);

}  // namespace lodestar
