// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "policies/hash_ring.h"
#include "policies/lodestar_policy_testing.h"

namespace lodestar {
namespace {

using lodestar_testing::Bench;
using lodestar_testing::make;

std::vector<int> picks(Bench& b, Policy& policy, int n) {
  std::vector<int> count(b.candidates.size());
  for (int k = 0; k < n; ++k) ++count[b.pick(policy)];
  return count;
}

// Nothing is known and nobody is busy: all alike, so chance.
TEST(LodestarPolicy, EqualsAreDrawnAtRandom) {
  Bench b(4);
  const auto policy = make("");
  const auto count = picks(b, *policy, 400);
  for (const int c : count) EXPECT_NEAR(c, 100, 40);
  EXPECT_DOUBLE_EQ(b.decide(*policy).propensity, 0.25);
}

// Costs within `near` of the best are equal: then the price decides, then the load.
TEST(LodestarPolicy, NearTiesGoToTheLesserPriceThenTheLesserLoad) {
  Bench b(3);
  // TTFT .1 + .1 = .2 everywhere; own prefill .1 s; 3 in decode: a price of
  // .03 x .1 x 3 = .009 on a cost of .26: 3.5 %.
  b.rows[0].inflight_decode = b.rows[0].inflight = 3;
  b.rows[1].inflight = 2;
  b.rows[2].inflight = 1;
  EXPECT_EQ(picks(b, *make("near=0"), 20), (std::vector<int>{0, 0, 20}));
  EXPECT_EQ(picks(b, *make("near=0.05"), 20), (std::vector<int>{0, 0, 20}));
  // A hit of 60 tokens is worth .006 s: 2.3 % of the cost of the others.
  b.rows[1].hit_tokens = 60;
  EXPECT_EQ(picks(b, *make("near=0"), 20), (std::vector<int>{0, 20, 0}));
  b.rows[1].inflight_decode = 2;  // .03 x .094 x 2 = .00564: cost still .4 % below, price not
  EXPECT_EQ(picks(b, *make("near=0"), 20), (std::vector<int>{0, 20, 0}));
  b.rows[2].inflight = 5;
  EXPECT_EQ(picks(b, *make("near=0.01"), 20), (std::vector<int>{0, 0, 20}));
}

TEST(LodestarPolicy, TheForecastTravelsWithTheDecision) {
  Bench b(1);
  const auto policy = make("", {{"i0", 3}});
  const Decision d = b.decide(*policy);
  EXPECT_NEAR(d.forecast.ttft_ms, 3 * 200, 1e-6);
  EXPECT_NEAR(d.forecast.tpot_ms, 20, 1e-6);
  EXPECT_LT(d.forecast.ttft_low_ms, d.forecast.ttft_ms);
  EXPECT_GT(d.forecast.ttft_high_ms, d.forecast.ttft_ms);
}

// ---- exploration ------------------------------------------------------------------------

// A fleet of which instance 3 looks slow. Each request is served as predicted, those on
// it at `truth` instead.
struct Explored {
  std::vector<int> placed;
  LearnStats stats;
};
Explored run_with_a_slow_one(const std::string& params, double pace, double truth, int requests) {
  Bench b(4);
  const auto policy = make(params, {{"i0", 1}, {"i1", 1}, {"i2", 1}, {"i3", pace}});
  Explored out{std::vector<int>(4), {}};
  for (int k = 0; k < requests; ++k) {
    b.now += 500 * kMillisecond;
    const Decision d = b.decide(*policy);
    const std::size_t at = d.choices[0].candidate;
    ++out.placed[at];
    Outcome o = b.placed(*policy, d);
    PolicyActions ignored;
    o.ttft_ms = at == 3 ? 200 * truth : 200;
    policy->on_first_token(b.now + from_ms(*o.ttft_ms), o, ignored);
    policy->on_settled(b.now + from_ms(*o.ttft_ms), o, ignored);
    const LearnStats s = *policy->learning();
    EXPECT_LE(s.explore_regret_s_sum, 0.01 * s.best_ttft_s_sum + 1e-9) << "request " << k;
  }
  out.stats = *policy->learning();
  return out;
}

// The bound holds after every single decision (checked in the loop).
TEST(LodestarPolicy, ExplorationStaysWithinItsBudget) {
  const Explored e = run_with_a_slow_one("explore=0.01,explore_after_s=5", 10, 10, 3000);
  EXPECT_GE(e.placed[3], 2);
  EXPECT_LE(e.placed[3], static_cast<int>(e.stats.explored));
  EXPECT_GT(e.stats.explore_regret_s_sum, 0);
}

TEST(LodestarPolicy, WhoeverLookedSlowOnceIsTriedAgainAndTakenBack) {
  const Explored e = run_with_a_slow_one("explore=0.01,explore_after_s=5", 10, 1, 3000);
  EXPECT_GT(e.placed[3], 300) << "a fair share is 750";
}

TEST(LodestarPolicy, WithoutExplorationNobodyIsTried) {
  const Explored e = run_with_a_slow_one("explore=0", 10, 1, 3000);
  EXPECT_EQ(e.placed[3], 0);
  EXPECT_EQ(e.stats.explored, 0u);
  EXPECT_EQ(e.stats.explore_regret_s_sum, 0);
}

// Never one that has work waiting, and never one that was heard of just now.
TEST(LodestarPolicy, OnlyTheIdleAndSilentAreTried) {
  Bench b(2);
  const auto policy = make("explore=1,explore_after_s=5", {{"i0", 1}, {"i1", 2}});
  b.serve(*policy, 200);
  b.now += 6 * kSecond;
  Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices[0].candidate, 1u);
  EXPECT_EQ(d.reason, "exploration within budget");
  b.placed(*policy, d);
  EXPECT_EQ(b.pick(*policy), 0u) << "just tried";
  b.now += 6 * kSecond;
  b.serve(*policy, 200);  // 0 is heard of
  for (int k = 0; k < 100; ++k)  // whatever the budget
    EXPECT_EQ(b.pick(*policy), 0u) << "its first token is still to come";
}

// ---- rewards and options -------------------------------------------------------------------

// i0 answers first but decodes slowly; i1 the other way round.
TEST(LodestarPolicy, TheRewardDecidesWhatMatters) {
  const std::map<std::string, double> pace = {{"i0", 1}, {"i1", 4}};
  Bench b(2);
  const auto slow_decode = [&](Policy& policy) {
    for (int k = 0; k < 800; ++k) {  // teaches TPOT .2 s on i0, .02 s on i1 (TTFT as predicted)
      const bool first = k % 2 == 0;
      const double ttft_ms = first ? 200 : 800, tpot_ms = first ? 200 : 20;
      Decision d;
      d.place(first ? 0 : 1);
      b.decide(policy);
      Outcome o = b.placed(policy, d);
      PolicyActions ignored;
      o.ttft_ms = ttft_ms;
      policy.on_first_token(b.now, o, ignored);
      o.output_tokens = 100;
      o.tpot_ms = tpot_ms;
      o.e2e_ms = ttft_ms + 99 * tpot_ms;
      policy.on_settled(b.now, o, ignored);
    }
  };
  const auto pick = [&](const std::string& params) {
    const auto policy = make(params, pace);
    slow_decode(*policy);
    return b.pick(*policy);
  };
  EXPECT_EQ(pick("reward=neg_ttft"), 0u);
  EXPECT_EQ(pick("reward=neg_e2e"), 1u);
  EXPECT_EQ(pick("decode_weight=0"), 0u);
  EXPECT_EQ(pick("decode_weight=1"), 1u);
}

// The target is 450 ms. i0 is predicted at 200 ms but behind it decode many whom the
// prefill would hold up; i1, at 600 ms, would most likely miss it.
TEST(LodestarPolicy, TheSloRewardPrefersWhoMeetsTheTarget) {
  const std::map<std::string, double> pace = {{"i0", 1}, {"i1", 3}};
  Bench b(2);
  b.rows[0].inflight_decode = 300;  // .03 x .1 x 300 = .9 s
  b.request.slo.ttft_ms = 450;
  EXPECT_EQ(b.pick(*make("", pace)), 1u);
  EXPECT_EQ(b.pick(*make("reward=slo", pace)), 0u);
  b.request.slo.ttft_ms = 0;
  EXPECT_EQ(b.pick(*make("reward=slo", pace)), 1u) << "without a target: the blend and the price";
}

TEST(LodestarPolicy, TheFilterKeepsAGroupOnItsKInstances) {
  constexpr std::size_t kInstances = 8;
  const auto policy = make("k=2");
  int moved = 0;
  for (std::uint64_t group = 1; group <= 100; ++group) {
    Bench b(kInstances);
    b.request.block_tokens = 16;
    b.request.block_hashes.assign(60, group * 7919);
    for (std::size_t i = 0; i < kInstances; ++i)
      b.rows[i].hit_tokens = i == group % kInstances ? 900 : 0;
    std::vector<std::pair<std::uint64_t, std::size_t>> weights;
    for (std::uint32_t i = 0; i < kInstances; ++i)
      weights.emplace_back(rendezvous_weight(group * 7919, InstanceId(i)), i);
    std::sort(weights.rbegin(), weights.rend());
    const std::size_t pick = b.pick(*policy);
    EXPECT_TRUE(pick == weights[0].second || pick == weights[1].second) << "group " << group;
    moved += pick != group % kInstances;
  }
  const LearnStats s = *policy->learning();
  EXPECT_EQ(s.filter_active, 100u);
  EXPECT_EQ(s.filter_moved, static_cast<std::uint64_t>(moved));
  EXPECT_NEAR(moved, 75, 20);
}

// ---- degraded -------------------------------------------------------------------------------

TEST(LodestarPolicy, ACandidateWithoutAForecastIsLeftOut) {
  Bench b(2);
  const auto policy = make("");
  b.rows[0].prompt_tokens = std::nan("");
  b.rows[1].inflight = b.rows[1].inflight_decode = 50;
  const Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices[0].candidate, 1u);
  EXPECT_FALSE(d.fallback);
  EXPECT_EQ(policy->learning()->forecasts_not_finite, 1u);
}

TEST(LodestarPolicy, WithoutAnyForecastTheLeastLoadedTakesItAndACounterSaysSo) {
  Bench b(3);
  const auto policy = make("");
  for (std::size_t i = 0; i < 3; ++i) {
    b.rows[i].prompt_tokens = std::numeric_limits<double>::infinity();
    b.rows[i].inflight = 3 - static_cast<double>(i);
  }
  const Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices[0].candidate, 2u);
  EXPECT_TRUE(d.fallback);
  EXPECT_EQ(d.forecast.ttft_ms, 0) << "no opinion, not NaN: it goes into logs and metrics";
  EXPECT_EQ(d.forecast.ttft_high_ms, 0);
  Outcome o = b.placed(*policy, d);
  o.ttft_ms = 100;
  PolicyActions ignored;
  policy->on_first_token(b.now, o, ignored);
  policy->on_settled(b.now, o, ignored);
  const LearnStats s = *policy->learning();
  EXPECT_EQ(s.fallback_nan, 1u);
  EXPECT_EQ(s.forecasts_not_finite, 3u);
  for (FeatureRow& row : b.rows) row.prompt_tokens = 1000;
  EXPECT_FALSE(b.decide(*policy).fallback) << "the next request is as good as any";
}

// ---- coming and going ----------------------------------------------------------------------

// The bench announces nothing: all instances were there before the policy.
TEST(LodestarPolicy, InstancesThatWereThereBeforeItAreServed) {
  Bench b(3);
  const auto policy = make_policy("lodestar").value();
  for (int k = 0; k < 50; ++k) b.serve(*policy, 100);
  const LearnStats s = *policy->learning();
  EXPECT_EQ(s.samples, 50u);
  EXPECT_EQ(s.instances.size(), 3u);
}

TEST(LodestarPolicy, AnInstanceThatLeavesMidFlightTakesNothingWithIt) {
  Bench b(3);
  const auto policy = make("");
  std::vector<Outcome> open;
  for (int k = 0; k < 30; ++k) open.push_back(b.placed(*policy, b.decide(*policy)));
  PolicyActions ignored;
  policy->on_instance_down(b.now, 1, b.fleet);
  policy->on_instance_down(b.now, 1, b.fleet);  // twice does no harm
  std::erase(b.candidates, Fleet::Slot{1});
  b.rows.pop_back();
  for (Outcome& o : open) {
    o.ttft_ms = 200;
    if (o.slot == 1)
      o.disposition = Disposition::kPunish;
    else
      policy->on_first_token(b.now, o, ignored);
    policy->on_settled(b.now, o, ignored);
  }
  LearnStats s = *policy->learning();
  EXPECT_EQ(s.residents, 0u);
  EXPECT_EQ(s.instances.size(), 2u);
  for (int k = 0; k < 10; ++k) EXPECT_NE(b.candidates[b.pick(*policy)], 1u);
  policy->on_instance_up(b.now, 1, b.fleet, ignored);  // the slot is taken again
  b.candidates = {0, 1, 2};
  b.rows.resize(3, b.rows[0]);
  b.rows[0].inflight_decode = b.rows[2].inflight_decode = 1000;
  EXPECT_EQ(b.pick(*policy), 1u) << "it takes part again";
}

TEST(LodestarPolicy, WhatItLearnedGoesIntoAnotherOfItsKind) {
  Bench b(2);
  const auto teacher = make("", {{"i0", 8}, {"i1", 1}});
  b.decide(*teacher);  // the instances are known now
  const auto pupil = make_policy("lodestar:explore=0").value();
  PolicyActions ignored;
  pupil->on_predictor(0, teacher->learned(), ignored);
  EXPECT_EQ(picks(b, *pupil, 20), (std::vector<int>{0, 20}));
  pupil->on_predictor(0, nullptr, ignored);  // a training that failed, or a foreign one
  EXPECT_EQ(picks(b, *pupil, 20), (std::vector<int>{0, 20}));
}

TEST(LodestarPolicy, FreezesAfterSoManySamples) {
  Bench b(1);
  const auto policy = make_policy("lodestar:freeze_after=20").value();
  for (int k = 0; k < 21; ++k) b.serve(*policy, 100);
  const auto hash = b.decide(*policy).forecast.ttft_ms;
  for (int k = 0; k < 50; ++k) b.serve(*policy, 5000);
  EXPECT_NEAR(b.decide(*policy).forecast.ttft_ms, hash, 0.2 * hash);
}

}  // namespace
}  // namespace lodestar
