// SPDX-License-Identifier: Apache-2.0
// A fleet with a known cost per term: what a PacedRegression finds out of it, how fast,
// and what does not impress it.
#include "learn/paced_regression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace lodestar::learn {
namespace {

constexpr std::size_t kN = 3;
using X = Terms<kN>;
using Regression = PacedRegression<kN>;
using Instance = PacedInstance<kN>;

constexpr X kTruth = {0.03, 0.1, 0.02};

PacedPrior<kN> prior_of(X shape = kTruth) {
  PacedPrior<kN> p;
  p.shape = shape;
  p.least_spread.fill(0.003);
  return p;
}

// Requests of a fleet in which everything goes at kTruth x pace x noise.
class Stream {
 public:
  explicit Stream(std::uint64_t seed) : rng_(seed) {}
  X terms() { return {1, 3 * rng_.uniform(), rng_.uniform() < 0.5 ? 0 : 5 * rng_.uniform()}; }
  // One sample of an instance `pace` times as slow as kTruth. Returns log(y / predicted).
  double feed(Regression& r, Instance& i, double pace, double sigma = 0, X truth = kTruth) {
    const X x = terms();
    now += kSecond;
    return r.learn(now, i, x, pace * dot(truth, x) * rng_.lognormal(0, sigma));
  }
  // Mean |log(predicted / true)| over 200 requests.
  double error(const Regression& r, const Instance& i, double pace, X truth = kTruth) {
    double sum = 0;
    for (int k = 0; k < 200; ++k) {
      const X x = terms();
      sum += std::fabs(std::log(r.predict(i, x) / (pace * dot(truth, x))));
    }
    return sum / 200;
  }
  Rng& rng() { return rng_; }
  TimeNs now = kSecond;

 private:
  Rng rng_;
};

TEST(PacedRegression, AnInstanceWithoutSamplesFollowsTheFleet) {
  Regression r(prior_of({0.5, 0.5, 0.5}));
  Stream s(1);
  Instance known = r.fresh(), fresh = r.fresh();
  for (int k = 0; k < 400; ++k) s.feed(r, known, 1, 0.1);
  EXPECT_LT(s.error(r, known, 1), 0.06);
  for (std::size_t k = 0; k < kN; ++k)
    EXPECT_EQ(r.shape(fresh)[k], r.fleet().shape[k]) << "as it is now, not as it was at fresh()";
}

// On a fleet that is ten times as fast as the prior, who was never tried must not look ten
// times as slow: it would never be tried.
TEST(PacedRegression, ANewcomerHasTheFleetsUsualPace) {
  for (const double pace : {0.1, 10.0}) {
    Regression r(prior_of());
    Stream s(11);
    Instance known = r.fresh();
    const Instance newcomer = r.fresh();
    for (int k = 0; k < 30; ++k) s.feed(r, known, pace, 0.1);
    EXPECT_LT(s.error(r, newcomer, pace), 0.4) << "pace " << pace;
    for (int k = 0; k < 1000; ++k) s.feed(r, known, pace, 0.1);
    EXPECT_LT(s.error(r, newcomer, pace), 0.15) << "pace " << pace;
  }
}

TEST(PacedRegression, WhoComesBackIsWhatItWasButBelievedLess) {
  Regression r(prior_of());
  Stream s(12);
  Instance i = r.fresh();
  for (int k = 0; k < 300; ++k) s.feed(r, i, 5, 0.1);
  Instance back = r.resumed(i);
  EXPECT_LT(s.error(r, back, 5), 0.1);
  EXPECT_LE(back.evidence, 3);
  for (int k = 0; k < 20; ++k) s.feed(r, back, 1, 0.1);  // it came back another
  EXPECT_LT(s.error(r, back, 1), 0.25);
}

TEST(PacedRegression, FiveSamplesTellACardFiveTimesAsFastOrSlow) {
  for (const double pace : {0.2, 5.0}) {
    Regression r(prior_of());
    Stream s(2);
    std::vector<Instance> others(4, r.fresh());
    for (int k = 0; k < 400; ++k) s.feed(r, others[static_cast<std::size_t>(k) % 4], 1, 0.15);
    Instance odd = r.fresh();
    for (int k = 0; k < 5; ++k) s.feed(r, odd, pace, 0.15);
    EXPECT_LT(s.error(r, odd, pace), std::log(1.7)) << "pace " << pace;
    for (int k = 0; k < 45; ++k) s.feed(r, odd, pace, 0.15);
    EXPECT_LT(s.error(r, odd, pace), 0.12) << "pace " << pace;
    for (const Instance& i : others) EXPECT_LT(s.error(r, i, 1), 0.12) << "they stay what they are";
  }
}

// An instance whose time is made of something else than the fleet's (no prefix cache,
// another attention kernel): one pace cannot say it, its own shape can.
TEST(PacedRegression, TheShapeDepartsFromTheFleetsWithEvidence) {
  constexpr X kOdd = {0.03, 0.02, 0.15};
  Regression r(prior_of());
  Stream s(3);
  std::vector<Instance> others(4, r.fresh());
  Instance odd = r.fresh();
  double early = 0;
  for (int k = 0; k < 400; ++k) {
    for (Instance& i : others) s.feed(r, i, 1, 0.1);
    s.feed(r, odd, 1, 0.1, kOdd);
    if (k == 5) early = s.error(r, odd, 1, kOdd);
  }
  EXPECT_GT(early, 0.3) << "with five samples it is still the fleet's shape";
  EXPECT_LT(s.error(r, odd, 1, kOdd), 0.12);
  for (const Instance& i : others) EXPECT_LT(s.error(r, i, 1), 0.1);
}

// One sample in fifty took a hundred times as long (a stall, a lost packet).
TEST(PacedRegression, OutliersDoNotMoveIt) {
  Regression r(prior_of());
  Stream s(4);
  Instance i = r.fresh();
  double worst = 0;
  for (int k = 0; k < 2000; ++k) {
    const X x = s.terms();
    s.now += kSecond;
    const double factor = k % 50 == 49 ? 100 : s.rng().lognormal(0, 0.1);
    r.learn(s.now, i, x, dot(kTruth, x) * factor);
    if (k > 200) worst = std::max(worst, std::fabs(std::log(r.predict(i, {1, 1, 1}) / 0.15)));
  }
  EXPECT_LT(worst, 0.25);
  EXPECT_LT(s.error(r, i, 1), 0.1);
  EXPECT_EQ(i.drifts, 0u);
}

// The other side: what contradicts always is not an outlier but the truth, however
// sure one was (robust weights must not lock it out).
TEST(PacedRegression, SamplesThatAllContradictWin) {
  for (const double factor : {0.05, 20.0}) {
    Regression r(prior_of());
    Stream s(5);
    Instance i = r.fresh();
    for (int k = 0; k < 3000; ++k) s.feed(r, i, 1, 0.02);
    for (int k = 0; k < 60; ++k) s.feed(r, i, factor, 0.02);
    EXPECT_LT(s.error(r, i, factor), 0.15) << "factor " << factor;
  }
  // The same in one coefficient alone, at an unchanged total of the usual sample.
  constexpr X kChanged = {0.03, 0.15, 0.0};
  Regression r(prior_of());
  Stream s(6);
  Instance i = r.fresh();
  for (int k = 0; k < 3000; ++k) s.feed(r, i, 1, 0.02);
  for (int k = 0; k < 1500; ++k) s.feed(r, i, 1, 0.02, kChanged);
  EXPECT_LT(s.error(r, i, 1, kChanged), 0.1);
}

TEST(PacedRegression, AThreefoldSlowDownIsAbsorbedIn15SamplesAndForgottenInAsMany) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Regression r(prior_of());
    Stream s(seed);
    std::vector<Instance> fleet(4, r.fresh());
    for (int k = 0; k < 600; ++k)
      for (Instance& i : fleet) s.feed(r, i, 1, 0.2);
    const std::uint64_t before = fleet[0].drifts;
    for (int k = 0; k < 15; ++k) s.feed(r, fleet[0], 3, 0.2);
    EXPECT_LT(s.error(r, fleet[0], 3), std::log(1.35)) << "seed " << seed;
    EXPECT_GT(fleet[0].drifts, before);
    EXPECT_EQ(fleet[0].drift_at == kNever, false);
    for (int k = 0; k < 200; ++k) s.feed(r, fleet[0], 3, 0.2);
    for (int k = 0; k < 15; ++k) s.feed(r, fleet[0], 1, 0.2);
    EXPECT_LT(s.error(r, fleet[0], 1), std::log(1.35)) << "seed " << seed << ": recovered";
    EXPECT_LT(s.error(r, fleet[1], 1), 0.15) << "the others are none of its business";
  }
}

// By Siegmund's approximation one alarm in about 40,000 samples (slack .6, limit 8 in
// standard deviations of a normal law): 2.5 expected over ten runs of 10,000.
TEST(PacedRegression, StationaryNoiseIsNoDrift) {
  std::uint64_t alarms = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Regression r(prior_of());
    Stream s(seed + 100);
    Instance i = r.fresh();
    for (int k = 0; k < 10'000; ++k) s.feed(r, i, 1, 0.2);
    alarms += i.drifts;
    EXPECT_LT(s.error(r, i, 1), 0.08);
  }
  EXPECT_LE(alarms, 8u);
}

// After ten minutes of silence the same evidence counts for less: one sample moves the
// pace several times as far as it would have.
TEST(PacedRegression, OldEvidenceIsBelievedLess) {
  Regression r(prior_of());
  Stream s(9);
  Instance i = r.fresh();
  for (int k = 0; k < 500; ++k) s.feed(r, i, 1, 0.1);
  Instance steady = i, stale = i;
  const X x = {1, 1, 1};
  const double predicted = r.predict(i, x);
  r.learn(s.now + kSecond, steady, x, 2 * predicted);
  const double near = std::log(steady.pace / i.pace);
  r.learn(s.now + 600 * kSecond, stale, x, 2 * predicted);
  const double far = std::log(stale.pace / i.pace);
  EXPECT_GT(near, 0);
  EXPECT_LT(near, 0.05);
  EXPECT_GT(far, 5 * near);
  EXPECT_LT(far, std::log(2.0)) << "one sample is still only one";
}

// However few the samples and however odd: predictions stay positive and finite.
TEST(PacedRegression, StaysFiniteOnAnything) {
  Rng rng(11);
  for (int trial = 0; trial < 50; ++trial) {
    Regression r(prior_of());
    Instance i = r.fresh();
    for (int k = 0; k < 300; ++k) {
      X x;
      for (double& v : x) v = rng.below(3) == 0 ? 0 : std::exp(20 * rng.uniform() - 10);
      r.learn(static_cast<TimeNs>(rng.below(1000) * kSecond), i, x,
              std::exp(16 * rng.uniform() - 8));
      for (const double theta : r.shape(i)) ASSERT_TRUE(std::isfinite(theta) && theta >= 0);
      ASSERT_TRUE(std::isfinite(i.pace) && i.pace > 0);
      ASSERT_TRUE(std::isfinite(r.predict(i, {1, 1, 1})));
    }
  }
}

}  // namespace
}  // namespace lodestar::learn
