// SPDX-License-Identifier: Apache-2.0
#include "policies/picker.h"

#include <limits>

namespace lodestar {
namespace {
bool is_nan(double x) { return !(x == x); }
double known(double load) { return is_nan(load) ? std::numeric_limits<double>::infinity() : load; }
}  // namespace

Pick pick_least(std::span<const double> cost, std::span<const double> load, Rng& rng) {
  std::size_t best = kNoPick;
  std::size_t equals = 0;
  for (std::size_t i = 0; i < cost.size(); ++i) {
    if (is_nan(cost[i])) continue;
    const bool better = best == kNoPick || cost[i] < cost[best] ||
                        (cost[i] == cost[best] && known(load[i]) < known(load[best]));
    if (better) {
      best = i;
      equals = 1;
    } else if (cost[i] == cost[best] && known(load[i]) == known(load[best])) {
      ++equals;
    }
  }
  if (equals < 2) return {best, 1};
  // The k-th of the equals; one draw whatever their number.
  std::size_t k = static_cast<std::size_t>(rng.below(equals));
  for (std::size_t i = best; i < cost.size(); ++i) {
    if (is_nan(cost[i]) || cost[i] != cost[best] || known(load[i]) != known(load[best])) continue;
    if (k-- == 0) return {i, 1.0 / static_cast<double>(equals)};
  }
  return {best, 1.0 / static_cast<double>(equals)};  // not reached: k < equals
}

}  // namespace lodestar
