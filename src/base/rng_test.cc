// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "base/hash.h"

namespace lodestar {
namespace {

// From a second implementation (Python integers) of xoshiro256++ seeded by
// splitmix64, itself checked against the published vector of state {1, 2, 3, 4}.
TEST(Rng, GoldenValues) {
  Rng rng(1);
  for (std::uint64_t expected :
       {0xcfc5d07f6f03c29bULL, 0xbf424132963fe08dULL, 0x19a37d5757aaf520ULL, 0xbf08119f05cd56d6ULL})
    EXPECT_EQ(rng.next(), expected);
  Rng uniform(1);
  for (double expected : {0.8116121588818848, 0.7471047161582187, 0.10015090353378375})
    EXPECT_EQ(uniform.uniform(), expected);
  Rng below(1);
  for (std::uint64_t expected : {3, 2, 0, 2, 0}) EXPECT_EQ(below.below(4), expected);
  EXPECT_EQ(Rng(1).fork("picker", 3).next(), 0x2ac5e77283954a7cULL);
}

TEST(Rng, AForkDependsOnSeedAndLabelAlone) {
  Rng a(5), b(5);
  for (int i = 0; i < 100; ++i) b.next();
  EXPECT_EQ(a.fork("x").next(), b.fork("x").next());
  EXPECT_NE(a.fork("x").next(), a.fork("y").next());
  EXPECT_NE(a.fork("x", 1).next(), a.fork("x", 2).next());
  EXPECT_NE(a.fork("x").next(), Rng(6).fork("x").next());
}

TEST(Rng, StateHashTellsWhatWasDrawn) {
  Rng a(9), b(9);
  EXPECT_EQ(a.state_hash(), b.state_hash());
  a.next();
  EXPECT_NE(a.state_hash(), b.state_hash());
  b.next();
  EXPECT_EQ(a.state_hash(), b.state_hash());
  // normal() keeps a spare, which is state too: after a second call it is spent.
  a.normal();
  const std::uint64_t with_spare = a.state_hash();
  a.normal();
  EXPECT_NE(a.state_hash(), with_spare);
}

TEST(Rng, BelowAndBetweenCoverTheirRangeEvenly) {
  Rng rng(3);
  std::vector<int> count(10);
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) ++count[rng.below(10)];
  double chi2 = 0;
  for (int c : count) chi2 += (c - kDraws / 10.0) * (c - kDraws / 10.0) / (kDraws / 10.0);
  EXPECT_LT(chi2, 27.9) << "99.9 % point of chi-square with 9 degrees";
  bool low = false, high = false;
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t x = rng.between(-3, 3);
    ASSERT_GE(x, -3);
    ASSERT_LE(x, 3);
    low = low || x == -3;
    high = high || x == 3;
  }
  EXPECT_TRUE(low && high);
  EXPECT_EQ(rng.below(1), 0u);
  EXPECT_EQ(rng.between(7, 7), 7);
  // A range that does not divide 2^64: rejection, not modulo bias.
  const std::uint64_t huge = (1ULL << 63) + 1;
  for (int i = 0; i < 100; ++i) EXPECT_LT(rng.below(huge), huge);
}

struct Moments {
  double mean, variance;
};
Moments moments(const std::function<double()>& draw) {
  constexpr int kDraws = 200000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  const double mean = sum / kDraws;
  return {mean, squares / kDraws - mean * mean};
}

TEST(Rng, DistributionsHaveTheirMoments) {
  Rng rng(17);
  const auto uniform = moments([&] { return rng.uniform(); });
  EXPECT_NEAR(uniform.mean, 0.5, 0.005);
  EXPECT_NEAR(uniform.variance, 1.0 / 12, 0.002);
  const auto exponential = moments([&] { return rng.exponential(3); });
  EXPECT_NEAR(exponential.mean, 3, 0.05);
  EXPECT_NEAR(exponential.variance, 9, 0.3);
  const auto normal = moments([&] { return rng.normal(); });
  EXPECT_NEAR(normal.mean, 0, 0.01);
  EXPECT_NEAR(normal.variance, 1, 0.02);
  for (double shape : {0.25, 1.0, 4.0}) {
    const auto gamma = moments([&] { return rng.gamma(shape, 2); });
    EXPECT_NEAR(gamma.mean, shape * 2, 0.02 * shape * 2 + 0.01) << shape;
    EXPECT_NEAR(gamma.variance, shape * 4, 0.06 * shape * 4) << shape;
  }
  // Lognormal: mean exp(mu + sigma^2 / 2).
  const auto lognormal = moments([&] { return rng.lognormal(-0.03 * 0.03 / 2, 0.03); });
  EXPECT_NEAR(lognormal.mean, 1, 0.001);
  EXPECT_NEAR(std::sqrt(lognormal.variance), 0.03, 0.001);
}

TEST(Rng, UniformStaysBelowOne) {
  Rng rng(23);
  for (int i = 0; i < 1'000'000; ++i) {
    const double x = rng.uniform();
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
  }
}

}  // namespace
}  // namespace lodestar
