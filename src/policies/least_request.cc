// SPDX-License-Identifier: Apache-2.0
// least-request: the fewest requests in flight by the router's own count, which
// is reserved at the decision; ties at random.
// Source: AIBrix `least-request`, Lodestar `least_request` (argmin r_p).
#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class LeastRequestPolicy final : public ScoredPolicy {
 public:
  LeastRequestPolicy() : ScoredPolicy({}, "fewest in flight") {}
  void score(const DecisionContext& context, std::span<double> cost) override {
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = context.rows[i].inflight;
  }
};

}  // namespace

CatalogRow least_request_row() {
  return {.name = "least-request",
          .summary = "fewest requests in flight (own count)",
          .source = "AIBrix `least-request`",
          .params = {},
          .make = [](const PolicyParams&) -> std::unique_ptr<Policy> {
            return std::make_unique<LeastRequestPolicy>();
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
