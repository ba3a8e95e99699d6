// SPDX-License-Identifier: Apache-2.0
// power-of-two: of two different random candidates the one with fewer requests in
// flight; equal: either. (Mitzenmacher 2001; AIBrix, SMG and Ray call it so.)
#include "policies/rows.h"

namespace lodestar {
namespace {

class PowerOfTwoPolicy final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    const std::size_t n = context.candidates.size();
    if (n == 1) return out.place(0, "only candidate");
    const auto a = static_cast<std::size_t>(context.rng.below(n));
    auto b = static_cast<std::size_t>(context.rng.below(n - 1));
    if (b >= a) ++b;
    const double load_a = context.rows[a].inflight, load_b = context.rows[b].inflight;
    std::size_t pick = load_a < load_b ? a : b;
    if (load_a == load_b && context.rng.below(2) == 0) pick = a;
    out.place(pick, "less loaded of two");
    out.propensity = propensity(context, pick);
  }

 private:
  // Of the n(n-1)/2 pairs, the pick wins those with a busier partner and half of
  // those with an equal one.
  static double propensity(const DecisionContext& context, std::size_t pick) {
    double half_wins = 0;
    for (std::size_t i = 0; i < context.rows.size(); ++i) {
      if (i == pick) continue;
      if (context.rows[i].inflight > context.rows[pick].inflight) half_wins += 2;
      if (context.rows[i].inflight == context.rows[pick].inflight) half_wins += 1;
    }
    const auto n = static_cast<double>(context.rows.size());
    return half_wins / (n * (n - 1));
  }
};

}  // namespace

CatalogRow power_of_two_row() {
  return {.name = "power-of-two",
          .summary = "of two random candidates the one with fewer in flight",
          .source = "Mitzenmacher 2001; AIBrix, SMG `power_of_two`",
          .params = {},
          .make = [](const PolicyParams&) -> std::unique_ptr<Policy> {
            return std::make_unique<PowerOfTwoPolicy>();
          },
          .randomized = true,
          .no_spread = {}};
}

}  // namespace lodestar
