// SPDX-License-Identifier: Apache-2.0
// Decisions worked out by hand from the published formulas: inputs, costs, pick.
// Every case starts from a fresh policy and Rng(1), whose first draws, computed
// apart from this code base, are below(2) = 1, below(4) = 3.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "policies/decision_bench.h"

namespace lodestar::testing {

struct GoldenCase {
  std::string what;
  std::vector<FeatureRow> rows;
  std::vector<double> costs;  // by hand; empty: the working is in the comment
  std::size_t pick = 0;
  double propensity = 1;
};

inline void expect_golden(const std::string& policy, const std::vector<GoldenCase>& cases) {
  for (const GoldenCase& c : cases) {
    SCOPED_TRACE(policy + ": " + c.what);
    DecisionBench bench(policy);
    bench.rows(c.rows);
    if (!c.costs.empty()) {
      const std::vector<double> costs = bench.costs();
      ASSERT_EQ(costs.size(), c.costs.size());
      for (std::size_t i = 0; i < costs.size(); ++i) {
        if (costs[i] == c.costs[i]) continue;  // also +inf
        EXPECT_NEAR(costs[i], c.costs[i], 1e-6 * (1 + std::fabs(c.costs[i]))) << "candidate " << i;
      }
    }
    const Decision& d = bench.decide();
    ASSERT_EQ(d.choices.size(), 1u);
    EXPECT_EQ(d.choices[0].candidate, c.pick);
    EXPECT_DOUBLE_EQ(d.propensity, c.propensity);
    EXPECT_FALSE(d.reason.empty());
  }
}

}  // namespace lodestar::testing
