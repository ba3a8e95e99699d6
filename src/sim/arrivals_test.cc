// SPDX-License-Identifier: Apache-2.0
#include "sim/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lodestar::sim {
namespace {

struct Stats {
  double rate = 0, cv = 0;
};

Stats stats_of(ArrivalSpec spec, int n) {
  ArrivalProcess process(spec, {}, Rng(5));
  double sum = 0, squares = 0;
  TimeNs last = 0;
  for (int i = 0; i < n; ++i) {
    const TimeNs at = process.next();
    const double gap = to_s(at - last);
    last = at;
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / n;
  return {.rate = 1 / mean, .cv = std::sqrt(squares / n - mean * mean) / mean};
}

TEST(Arrivals, PoissonHasItsRateAndCvOne) {
  const Stats s = stats_of({.kind = ArrivalKind::kPoisson, .rate_rps = 20}, 100000);
  EXPECT_NEAR(s.rate, 20, 0.3);
  EXPECT_NEAR(s.cv, 1, 0.02);
}

TEST(Arrivals, GammaHasItsRateAndCv) {
  for (double cv : {0.25, 0.5, 1.0, 2.0, 4.0}) {
    const Stats s = stats_of({.kind = ArrivalKind::kGamma, .rate_rps = 3, .cv = cv}, 200000);
    EXPECT_NEAR(s.rate, 3, 3 * 0.01 * std::max(1.0, 2 * cv)) << cv;
    EXPECT_NEAR(s.cv, cv, 0.04 * cv) << cv;
  }
}

TEST(Arrivals, GammaWithoutVariationIsASteadyBeat) {
  ArrivalProcess process({.kind = ArrivalKind::kGamma, .rate_rps = 4, .cv = 0}, {}, Rng(1));
  EXPECT_EQ(process.next(), from_s(0.25));
  EXPECT_EQ(process.next(), from_s(0.5));
}

PhaseSpec phase(double end_s, double rate) {
  PhaseSpec p;
  p.end_s = end_s;
  p.rate_rps = rate;
  return p;
}

TEST(Arrivals, PhasesHaveTheirRates) {
  const double open = std::numeric_limits<double>::infinity();
  const std::vector<PhaseSpec> phases{phase(1000, 2), phase(1500, 20), phase(2000, 0),
                                      phase(open, 5)};
  ArrivalProcess process({.kind = ArrivalKind::kPoisson}, phases, Rng(9));
  int counts[4] = {};
  for (;;) {
    const TimeNs at = process.next();
    if (to_s(at) >= 4000) break;
    for (int i = 0; i < 4; ++i)
      if (to_s(at) < phases[static_cast<std::size_t>(i)].end_s) {
        ++counts[i];
        break;
      }
  }
  EXPECT_NEAR(counts[0], 2000, 150);
  EXPECT_NEAR(counts[1], 10000, 350);
  EXPECT_EQ(counts[2], 0);
  EXPECT_NEAR(counts[3], 10000, 350);
}

TEST(Arrivals, EndWhereTheRateStaysZero) {
  const std::vector<PhaseSpec> phases{phase(10, 1),
                                      phase(std::numeric_limits<double>::infinity(), 0)};
  ArrivalProcess process({.kind = ArrivalKind::kPoisson}, phases, Rng(9));
  TimeNs at = 0;
  for (int i = 0; i < 100 && at != kNever; ++i) at = process.next();
  EXPECT_EQ(at, kNever);
}

TEST(Bins, AreFoundInRoundedTimes) {
  std::vector<TimeNs> times;
  for (int bin = 0; bin < 100; ++bin)
    for (int i = 0; i < 10; ++i)  // the recorder's clock wobbles by 1 ms
      times.push_back(from_ms(3000.0 * bin + (bin % 4 == 3 ? 1 : 0)));
  EXPECT_NEAR(to_s(detect_bin(times)), 3.0, 0.002);
}

TEST(Bins, AreNotFoundInExactTimes) {
  Rng rng(3);
  std::vector<TimeNs> times{0};
  for (int i = 0; i < 1000; ++i) times.push_back(times.back() + from_s(rng.exponential(0.1)));
  EXPECT_EQ(detect_bin(times), 0);
  EXPECT_EQ(detect_bin(std::vector<TimeNs>(50, 7)), 0);  // one burst has no width
  EXPECT_EQ(detect_bin({}), 0);
}

TEST(Bins, SpreadIsUniformOrderedAndInside) {
  std::vector<TimeNs> times;
  for (int bin = 0; bin < 300; ++bin)
    for (int i = 0; i < 20; ++i) times.push_back(bin * 3 * kSecond);
  const std::vector<TimeNs> before = times;
  Rng rng(11);
  spread_bins(times, 3 * kSecond, rng);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double offset = to_s(times[i] - before[i]);
    ASSERT_GE(offset, 0);
    ASSERT_LT(offset, 3);
    if (i > 0) {
      ASSERT_GE(times[i], times[i - 1]);
    }
    sum += offset;
    squares += offset * offset;
  }
  const double n = static_cast<double>(times.size());
  EXPECT_NEAR(sum / n, 1.5, 0.05);
  EXPECT_NEAR(squares / n - sum / n * sum / n, 9.0 / 12, 0.03);  // variance of a uniform draw
}

TEST(Bins, SpreadStopsAtTheNextTime) {
  std::vector<TimeNs> times{0, 0, 0, kSecond, kSecond, 10 * kSecond};
  Rng rng(1);
  spread_bins(times, 3 * kSecond, rng);
  EXPECT_LT(times[2], kSecond);
  EXPECT_GE(times[5], 10 * kSecond);
}

}  // namespace
}  // namespace lodestar::sim
