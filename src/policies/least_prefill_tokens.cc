// SPDX-License-Identifier: Apache-2.0
// least-prefill-tokens: fewest prompt tokens sent and not yet at their first
// token, whole prompts, not reduced by cache hits (Lodestar's gateway:
// argmin of in-flight prefill tokens, random tie).
#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class LeastPrefillTokensPolicy final : public ScoredPolicy {
 public:
  LeastPrefillTokensPolicy() : ScoredPolicy({}, "fewest prompt tokens in prefill") {}
  void score(const DecisionContext& context, std::span<double> cost) override {
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = context.rows[i].pending_prompt_tokens;
  }
};

}  // namespace

CatalogRow least_prefill_tokens_row() {
  return {.name = "least-prefill-tokens",
          .summary = "fewest prompt tokens waiting for their first token",
          .source = "Lodestar `least_prefill_tokens`",
          .params = {},
          .make = [](const PolicyParams&) -> std::unique_ptr<Policy> {
            return std::make_unique<LeastPrefillTokensPolicy>();
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
