// SPDX-License-Identifier: Apache-2.0
#include "learn/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "base/rng.h"

namespace lodestar::learn {
namespace {

// log(actual / predicted) of the k-th sample.
using Law = std::function<double(Rng&, int k)>;

struct Named {
  const char* name;
  Law law;
};

double cauchy(Rng& rng) { return rng.normal() / std::max(1e-3, std::fabs(rng.normal())); }

const Named kLaws[] = {
    {"normal .05", [](Rng& r, int) { return 0.05 * r.normal(); }},
    {"normal .1", [](Rng& r, int) { return 0.1 * r.normal(); }},
    {"normal .5", [](Rng& r, int) { return 0.5 * r.normal(); }},
    {"biased by a factor of 3", [](Rng& r, int) { return 1.1 + 0.2 * r.normal(); }},
    {"skewed", [](Rng& r, int) { return r.exponential(0.4) - 0.1; }},
    {"skewed the other way", [](Rng& r, int) { return 0.1 - r.exponential(0.4); }},
    {"heavy tails", [](Rng& r, int) { return 0.1 * cauchy(r); }},
    {"two humps", [](Rng& r, int) { return (r.below(4) == 0 ? 0.8 : 0.0) + 0.05 * r.normal(); }},
    {"drifting away", [](Rng& r, int k) { return 5e-4 * k + 0.2 * r.normal(); }},
    {"another law after 1000",
     [](Rng& r, int k) { return k < 1000 ? 0.1 * r.normal() : 0.6 + 0.4 * r.normal(); }},
};

// Share inside the nominal 90 % interval as it was announced before each sample.
TEST(Calibration, A90PercentIntervalHolds87To93AfterThreeHundredSamples) {
  for (const Named& n : kLaws) {
    double inside[2] = {}, total[2] = {};  // of the samples 300 to 600, and all after
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      Rng rng(seed);
      Calibration c;
      for (int k = 0; k < 2300; ++k) {
        const double r = n.law(rng, k);
        if (k >= 300) {
          const int window = k < 600 ? 0 : 1;
          ++total[window];
          inside[window] += std::exp(r) >= c.ratio(Calibration::kLow) &&
                            std::exp(r) <= c.ratio(Calibration::kHigh);
        }
        c.learn(r);
      }
    }
    for (int window = 0; window < 2; ++window) {
      EXPECT_GE(inside[window] / total[window], 0.87) << n.name << ", window " << window;
      EXPECT_LE(inside[window] / total[window], 0.93) << n.name << ", window " << window;
    }
  }
}

// Each quantile on its own, against the true one.
TEST(Calibration, EveryLevelFindsItsQuantile) {
  constexpr double kZ[] = {-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449};
  for (const double sigma : {0.05, 0.3}) {
    double mean[Calibration::kLevels] = {};
    int reads = 0;
    Rng rng(3);
    Calibration c;
    for (int k = 0; k < 20'000; ++k) {
      c.learn(0.2 + sigma * rng.normal());
      if (k < 1000) continue;
      ++reads;
      for (std::size_t l = 0; l < Calibration::kLevels; ++l) mean[l] += std::log(c.ratio(l));
    }
    for (std::size_t l = 0; l < Calibration::kLevels; ++l)
      EXPECT_NEAR(mean[l] / reads, 0.2 + sigma * kZ[l], 0.25 * sigma + 0.02) << "level " << l;
  }
}

TEST(Calibration, QuantilesAreMonotoneAlways) {
  for (const Named& n : kLaws) {
    Rng rng(5);
    Calibration c;
    for (int k = 0; k < 3000; ++k) {
      if (rng.below(5) == 0)
        c.learn_at_least(n.law(rng, k));
      else
        c.learn(rng.below(100) == 0 ? 1e300 : n.law(rng, k));
      for (std::size_t l = 1; l < Calibration::kLevels; ++l)
        ASSERT_LE(c.ratio(l - 1), c.ratio(l)) << n.name << " after " << k;
    }
  }
}

TEST(Calibration, ProbabilityIsTheQuantilesInverse) {
  Rng rng(6);
  Calibration c;
  for (int k = 0; k < 1000; ++k) c.learn(0.3 * rng.normal());
  for (std::size_t l = 0; l + 1 < Calibration::kLevels; ++l)
    EXPECT_NEAR(c.probability_below(c.ratio(l) * (1 + 1e-9)), Calibration::kLevel[l], 1e-6);
  double last = 0;
  for (double ratio = 0.01; ratio < 20; ratio *= 1.01) {
    const double p = c.probability_below(ratio);
    EXPECT_GE(p, last);
    EXPECT_GE(p, 0.02);
    EXPECT_LE(p, 0.98);
    last = p;
  }
  EXPECT_EQ(last, 0.98);
  for (const double odd : {0.0, -1.0, std::nan("")}) EXPECT_EQ(c.probability_below(odd), 0.02);
}

// Nine in ten samples are cut off at a moment below their prediction: that says
// nothing, and must not pull the quantiles anywhere.
TEST(Calibration, CutOffEarlyTellsNothing) {
  Rng rng(7);
  Calibration with, without;
  for (int k = 0; k < 2000; ++k) {
    const double r = 0.3 * rng.normal();
    with.learn(r);
    without.learn(r);
    for (int m = 0; m < 9; ++m) with.learn_at_least(-3);
  }
  for (std::size_t l = 0; l < Calibration::kLevels; ++l) EXPECT_EQ(with.ratio(l), without.ratio(l));
}

// One sample in five would have been a factor of 4 above the prediction, but its client
// lost patience at 2: forgetting these puts too few above the upper quantiles.
TEST(Calibration, CutOffLateRaisesTheUpperQuantilesOnly) {
  Rng rng(8);
  Calibration dropped, censored;
  int above_dropped = 0, above_censored = 0, total = 0;
  for (int k = 0; k < 6000; ++k) {
    const bool slow = rng.below(5) == 0;
    const double r = slow ? std::log(4.0) : 0.2 * rng.normal();
    if (k > 500) {
      ++total;
      above_dropped += std::exp(r) > dropped.ratio(5);
      above_censored += std::exp(r) > censored.ratio(5);
    }
    if (slow) {
      censored.learn_at_least(std::log(2.0));
    } else {
      dropped.learn(r);
      censored.learn(r);
    }
  }
  EXPECT_GT(above_dropped, total / 4) << "nominal: a tenth";
  EXPECT_GT(censored.ratio(5), 1.7) << "beyond the honest quantile of the others, 1.29";
  EXPECT_LT(above_censored, total / 4);
  EXPECT_NEAR(censored.ratio(Calibration::kMedian), 1.05, 0.12);
}

TEST(Coverage, CountsAndForgets) {
  Coverage c;
  for (int k = 0; k < 300; ++k) c.count(k % 10 != 0);
  EXPECT_EQ(c.samples, 300u);
  EXPECT_EQ(c.inside, 270u);
  EXPECT_NEAR(c.recent, 0.9, 0.01);
  for (int k = 0; k < 2500; ++k) c.count(false);
  EXPECT_LT(c.recent, 0.01);
}

}  // namespace
}  // namespace lodestar::learn
