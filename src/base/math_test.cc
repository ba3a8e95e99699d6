// SPDX-License-Identifier: Apache-2.0
#include "base/math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/hash.h"
#include "base/rng.h"

namespace lodestar {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();

// Distance to the true value in units of the last place.
double ulps(double got, long double truth) {
  const double nearest = static_cast<double>(truth);
  if (got == nearest) return 0;
  const double ulp = std::nextafter(std::fabs(nearest), kInf) - std::fabs(nearest);
  return static_cast<double>(std::fabs((static_cast<long double>(got) - truth) / ulp));
}

TEST(DetMath, ExpIsWithinTwoUlp) {
  Rng rng(1);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = -708 + 1417 * rng.uniform();
    worst = std::max(worst, ulps(det_exp(x), std::exp(static_cast<long double>(x))));
    const double small = 2 * rng.uniform() - 1;
    worst = std::max(worst, ulps(det_exp(small), std::exp(static_cast<long double>(small))));
  }
  EXPECT_LE(worst, 2.0);
}

TEST(DetMath, LogIsWithinTwoUlp) {
  Rng rng(2);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.between(-1020, 1020)));
    worst = std::max(worst, ulps(det_log(x), std::log(static_cast<long double>(x))));
  }
  EXPECT_LE(worst, 2.0);
  // Near 1 the result is small and the relative error the hardest.
  double near_one = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = 0.7 + 0.7 * rng.uniform();
    near_one = std::max(near_one, ulps(det_log(x), std::log(static_cast<long double>(x))));
  }
  EXPECT_LE(near_one, 4.0);
}

TEST(DetMath, PowIsAccurateInTheRangeWeUse) {
  Rng rng(3);
  double worst = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.between(-10, 10)));
    const double y = -4 + 8 * rng.uniform();
    const long double truth = std::pow(static_cast<long double>(x), static_cast<long double>(y));
    worst = std::max(worst, static_cast<double>(std::fabs((det_pow(x, y) - truth) / truth)));
  }
  EXPECT_LE(worst, 2e-14);  // exp(y log x): the error of log, times |y log x|
}

TEST(DetMath, EdgesOfExp) {
  EXPECT_EQ(det_exp(0), 1.0);
  EXPECT_EQ(det_exp(-0.0), 1.0);
  EXPECT_EQ(det_exp(-kInf), 0.0);
  EXPECT_EQ(det_exp(kInf), kInf);
  EXPECT_EQ(det_exp(710), kInf);
  EXPECT_EQ(det_exp(-800), 0.0);
  EXPECT_TRUE(std::isfinite(det_exp(709.78)));
  EXPECT_GT(det_exp(-745), 0.0) << "denormal";
  EXPECT_TRUE(std::isnan(det_exp(kNan)));
}

TEST(DetMath, EdgesOfLog) {
  EXPECT_EQ(det_log(1), 0.0);
  EXPECT_EQ(det_log(0), -kInf);
  EXPECT_EQ(det_log(-0.0), -kInf);
  EXPECT_EQ(det_log(kInf), kInf);
  EXPECT_TRUE(std::isnan(det_log(-1)));
  EXPECT_TRUE(std::isnan(det_log(-kInf)));
  EXPECT_TRUE(std::isnan(det_log(kNan)));
  EXPECT_NEAR(det_log(std::numeric_limits<double>::denorm_min()), -744.4400719213812, 1e-12);
  EXPECT_NEAR(det_log(std::numeric_limits<double>::max()), 709.782712893384, 1e-12);
}

TEST(DetMath, EdgesOfPow) {
  EXPECT_EQ(det_pow(0, 0), 1.0);
  EXPECT_EQ(det_pow(kNan, 0), 1.0);
  EXPECT_EQ(det_pow(5, 1), 5.0);
  EXPECT_EQ(det_pow(3, 2), 9.0);
  EXPECT_EQ(det_pow(0, 2.5), 0.0);
  EXPECT_EQ(det_pow(0, -1), kInf);
  EXPECT_TRUE(std::isnan(det_pow(-2, 0.5)));
}

// The bits themselves: they may not change with compiler, -march or a rewrite,
// for every result of the simulator depends on them.
TEST(DetMath, GoldenBits) {
  std::uint64_t h = 0;
  Rng rng(99);
  for (int i = 0; i < 10000; ++i) {
    h = mix64(h + std::bit_cast<std::uint64_t>(det_exp(-20 + 40 * rng.uniform())));
    h = mix64(h + std::bit_cast<std::uint64_t>(det_log(1e-6 + 1e6 * rng.uniform())));
    h = mix64(h + std::bit_cast<std::uint64_t>(det_pow(rng.uniform(), 2.3)));
  }
  EXPECT_EQ(h, 15059156922127035120ULL);
}

}  // namespace
}  // namespace lodestar
