// SPDX-License-Identifier: Apache-2.0
#include "policies/scored_policy.h"

#include <limits>

#include "policies/picker.h"

namespace lodestar {

void ScoredPolicy::decide(const DecisionContext& context, Decision& out, PolicyActions&) {
  const std::size_t n = context.candidates.size();
  cost_.assign(n, std::numeric_limits<double>::quiet_NaN());
  load_.resize(n);
  why_ = reason_;
  score(context, cost_);
  for (std::size_t i = 0; i < n; ++i) load_[i] = load(context.rows[i]);
  Pick pick = pick_least(cost_, load_, context.rng);
  if (pick.index == kNoPick) {
    for (std::size_t i = 0; i < n; ++i) cost_[i] = context.rows[i].inflight;
    pick = pick_least(cost_, cost_, context.rng);
    why_ = "no candidate has a score: least request";
    out.fallback = true;
  }
  out.place(pick.index, why_);
  out.propensity = pick.propensity;
}

}  // namespace lodestar
