// SPDX-License-Identifier: Apache-2.0
#include "policies/picker.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace lodestar {
namespace {

const double kNan = std::nan("");
constexpr double kInf = std::numeric_limits<double>::infinity();

Pick pick(std::vector<double> cost, std::vector<double> load, std::uint64_t seed = 1) {
  Rng rng(seed);
  return pick_least(cost, load, rng);
}

TEST(Picker, LeastCostThenLeastLoad) {
  EXPECT_EQ(pick({3, 1, 2}, {0, 9, 0}).index, 1u);
  EXPECT_EQ(pick({1, 1, 2}, {5, 4, 0}).index, 1u);
  EXPECT_EQ(pick({1, 1, 2}, {5, 4, 0}).propensity, 1);
}

TEST(Picker, NanIsNoOpinion) {
  EXPECT_EQ(pick({kNan, 5, kNan}, {0, 9, 0}).index, 1u);
  EXPECT_EQ(pick({kNan, kNan}, {0, 0}).index, kNoPick);
  EXPECT_EQ(pick({}, {}).index, kNoPick);
  EXPECT_EQ(pick({2, 2}, {kNan, 7}).index, 1u) << "an unknown load counts as the highest";
}

TEST(Picker, InfinityIsAnOpinion) {
  EXPECT_EQ(pick({kInf, kInf, kNan}, {2, 1, 0}).index, 1u);
  EXPECT_EQ(pick({0, -kInf}, {0, 0}).index, 1u);
}

TEST(Picker, EqualsAreDrawnUniformlyWithTheirPropensity) {
  const std::vector<double> cost = {1, 0, 0, 2, 0}, load = {0, 3, 3, 0, 3};
  std::vector<int> count(5, 0);
  Rng rng(7);
  for (int i = 0; i < 30000; ++i) {
    const Pick p = pick_least(cost, load, rng);
    ++count[p.index];
    ASSERT_DOUBLE_EQ(p.propensity, 1.0 / 3);
  }
  for (std::size_t i : {1u, 2u, 4u}) EXPECT_NEAR(count[i], 10000, 350);
  EXPECT_EQ(count[0] + count[3], 0);
}

TEST(Picker, DrawsOnlyWhenThereIsSomethingToDraw) {
  Rng rng(3);
  const std::uint64_t before = rng.state_hash();
  const std::vector<double> cost = {2, 1}, load = {0, 0};
  pick_least(cost, load, rng);
  EXPECT_EQ(rng.state_hash(), before);
}

}  // namespace
}  // namespace lodestar
