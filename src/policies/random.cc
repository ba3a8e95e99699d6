// SPDX-License-Identifier: Apache-2.0
// random: uniform over the candidates. The floor that every rule must beat.
#include "policies/rows.h"

namespace lodestar {
namespace {

class RandomPolicy final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    const std::size_t n = context.candidates.size();
    out.place(static_cast<std::size_t>(context.rng.below(n)), "random");
    out.propensity = 1.0 / static_cast<double>(n);
  }
};

}  // namespace

CatalogRow random_row() {
  return {.name = "random",
          .summary = "uniform over the candidates",
          .source = "AIBrix `random`",
          .params = {},
          .make = [](const PolicyParams&) -> std::unique_ptr<Policy> {
            return std::make_unique<RandomPolicy>();
          },
          .randomized = true,
          .no_spread = {}};
}

}  // namespace lodestar
