// SPDX-License-Identifier: Apache-2.0
#include "policies/objective.h"

#include <algorithm>

namespace lodestar {
namespace {
constexpr double kMissS = 10;
constexpr double kBusiest = 0.97;  // the price stays finite
}  // namespace

double own_cost(const ObjectiveOptions& o, const Prospect& p) {
  const double ttft_s = p.ttft_s * (1 + o.tail * p.ttft_s / p.usual_ttft_s);
  const double blend = ttft_s + o.decode_weight * p.decode_s;
  switch (o.reward) {
    case Reward::kNegTtft:
      return ttft_s;
    case Reward::kNegE2e:
      return p.e2e_factor * (p.ttft_s + p.decode_s);
    case Reward::kSlo:
      return kMissS * (1 - p.slo_probability) + 0.1 * blend;
    case Reward::kBlend:
      break;
  }
  return blend;
}

double price(const ObjectiveOptions& o, const Prospect& p) {
  const double rho = std::clamp(p.busy, 0.0, kBusiest);
  const double delayed = p.arrivals_per_s * (p.wait_s + p.own_s / 2);
  const double later = rho * rho / (1 - rho) * p.own_s * (o.toll + o.externality * delayed);
  const double weight = o.reward == Reward::kNegE2e    ? 1
                        : o.reward == Reward::kNegTtft ? 0
                                                       : o.decode_weight;
  return later + o.crowding * p.crowding_s + weight * p.own_s * p.decoding;
}

}  // namespace lodestar
