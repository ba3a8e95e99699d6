// SPDX-License-Identifier: Apache-2.0
// Base of the policies that are one formula: write a cost per candidate, and the
// shared picker does the rest.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "routing/policy.h"

namespace lodestar {

class ScoredPolicy : public Policy {
 public:
  // reason: a string literal, printed with each decision that score() does not
  // explain itself.
  ScoredPolicy(Needs needs, std::string_view reason) : needs_(needs), reason_(reason) {}

  // Fills cost[i] for candidate i; lower is better, NaN = no opinion. `cost` comes
  // filled with NaN. Must not allocate, and must not touch context.rng (ties are
  // the picker's business).
  virtual void score(const DecisionContext& context, std::span<double> cost) = 0;

  // Breaks ties between equal costs; lower is better; called after score().
  // Default: own in-flight.
  virtual double load(const FeatureRow& row) const { return row.inflight; }

  Needs needs() const final { return needs_; }
  // Least cost; when no candidate has a cost, least in-flight with
  // Decision::fallback set.
  void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) final;

 protected:
  // Called in score(): why this decision fell as it did. A string literal.
  void explain(std::string_view why) { why_ = why; }

 private:
  Needs needs_;
  std::string_view reason_;
  std::string_view why_;
  std::vector<double> cost_;
  std::vector<double> load_;
};

}  // namespace lodestar
