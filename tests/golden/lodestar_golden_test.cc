// SPDX-License-Identifier: Apache-2.0
// lodestar: decisions worked out by hand. The learned state is a formula
// (policies/lodestar_policy_testing.h); for an instance of pace p:
//   own  = p x 0.1 x uncached tokens / 1000                     its own prefill  [s]
//   TTFT = p x 0.1 + wait + own
//   cost = TTFT + 0.03 x 2 s of decoding + price
//   price = rho^2 / (1 - rho) x own + 0.03 x own x requests in decode there
// rho is 0 where nothing ever waited. Near-ties: within 1 % of the best. The extra weight
// of long TTFTs is off (`tail=0`): objective_test.cc has it.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "policies/lodestar_policy_testing.h"

namespace lodestar {
namespace {

using lodestar_testing::Bench;
using lodestar_testing::make;
using Paces = std::map<std::string, double>;

Decision decided(Policy& policy, Bench& b, std::size_t pick, const char* reason) {
  const Decision d = b.decide(policy);
  EXPECT_EQ(d.choices.at(0).candidate, pick);
  EXPECT_EQ(d.reason, reason);
  EXPECT_FALSE(d.fallback);
  return d;
}
constexpr const char* kCost = "least predicted cost";

// i  pace  hit   own                     TTFT   cost
// 0   1      0   .1 x 1.0 = .10          .20    .26
// 1   1    600   .1 x 0.4 = .04          .14    .20   <- least
// 2   2    800   2 x .1 x .2 = .04       .24    .30
TEST(LodestarGolden, APrefixHitIsWorkThatIsNotDone) {
  Bench b(3);
  b.rows[1].hit_tokens = 600;
  b.rows[2].hit_tokens = 800;
  const Decision d =
      decided(*make("tail=0,near=0.01", {{"i0", 1}, {"i1", 1}, {"i2", 2}}), b, 1, kCost);
  EXPECT_NEAR(d.forecast.ttft_ms, 140, 1e-6);
  EXPECT_NEAR(d.forecast.tpot_ms, 20, 1e-6);
  EXPECT_EQ(d.propensity, 1);
}

// The engine's hits were half of what was believed so far: 600 become 300.
// i  pace  hit         own          TTFT   cost
// 0   1    600 x .5    .1 x .7      .17    .23
// 1   1    400         .1 x .6      .16    .22   <- least
TEST(LodestarGolden, ABeliefIsWorthWhatItWasWorthSoFar) {
  Bench b(2);
  b.rows[0].hit_tokens = 600;
  b.rows[0].hit_correction = 0.5;
  b.rows[1].hit_tokens = 400;
  decided(*make("tail=0,near=0.01"), b, 1, kCost);
}

// No hardware was named: a card four times as slow is used when the fast one decodes for
// enough others that a prefill would hold up.
// i  pace  in decode   own   TTFT   price              cost
// 0   1       n        .1    .2     .03 x .1 x n       .26 + .003 n
// 1   4       0        .4    .8     0                  .86
// Equal at n = 200.
TEST(LodestarGolden, ASlowCardIsUsedWhenTheFastOneIsFull) {
  const Paces pace = {{"i0", 1}, {"i1", 4}};
  Bench b(2);
  b.rows[0].inflight_decode = 190;
  decided(*make("tail=0,near=0.01", pace), b, 0, kCost);
  b.rows[0].inflight_decode = 210;
  decided(*make("tail=0,near=0.01", pace), b, 1, kCost);
  // For TTFT alone those in decode do not matter: .2 against .8.
  decided(*make("tail=0,near=0.01,reward=neg_ttft", pace), b, 0, kCost);
}

// 5,000 tokens were placed on 0 just now: .5 s until they are done.
// i  ahead  hit   own   wait         TTFT   cost
// 0  5000   900   .01   .5           .61    .67
// 1  0      0     .1    0            .2     .26   <- least
// 300 ms later .2 s of them are left (the placement's own estimate and the drained
// backlog agree): .31 + .06 = .37 against .26; after 450 ms: .05 s, .16 + .06 = .22.
// The toll: 0 was found prefilling by the arrivals since; it moves nothing here (< .001).
TEST(LodestarGolden, TheQueueIsLeftWhereTheHitIs) {
  Bench b(2);
  const auto policy = make("tail=0,near=0.01", {{"i0", 1}, {"i1", 1}});
  b.rows[1].inflight_decode = 5000;  // so that the first goes to 0
  b.request.prompt_tokens = b.rows[0].prompt_tokens = 5000;
  b.placed(*policy, decided(*policy, b, 0, kCost));
  b.request.prompt_tokens = b.rows[0].prompt_tokens = 1000;
  b.rows[1].inflight_decode = 0;
  b.rows[0].hit_tokens = 900;
  decided(*policy, b, 1, kCost);
  b.now += 300 * kMillisecond;
  decided(*policy, b, 1, kCost);
  b.now += 150 * kMillisecond;
  const Decision d = decided(*policy, b, 0, kCost);
  EXPECT_NEAR(d.forecast.ttft_ms, 160, 5);
}

// Each arrival that could go to 0 finds its prompt pending: with one candidate in play rho
// moves by 1 / 50 of the way to 1 with each of two instances' arrivals (25 x 2). After 100:
// rho = 1 - .98^100 = .867, toll = .867^2 / .133 = 5.67 a second of own prefill.
// i  hit   own   TTFT                price           cost
// 0  0     .1    .2 + the rest <.01  5.67 x .1       .83
// 1  0     .4    .8                  0               .86 (pace 4)
// At rho = .880 (106 arrivals) the toll is 6.45: .91, and the slow card takes it.
TEST(LodestarGolden, ABusyInstanceChargesItsToll) {
  const Paces pace = {{"i0", 1}, {"i1", 4}};
  Bench b(2);
  const auto policy = make("tail=0,near=0.01", pace);
  Decision d = decided(*policy, b, 0, kCost);
  // A tiny prompt whose first token never comes; due at once, so never in the way.
  for (FeatureRow& row : b.rows) row.prompt_tokens = 1;
  b.placed(*policy, b.decide(*policy));
  for (FeatureRow& row : b.rows) row.prompt_tokens = 1000;
  int switched = 0;
  for (int k = 1; k <= 120 && switched == 0; ++k)
    if (b.pick(*policy) == 1) switched = k;
  EXPECT_NEAR(switched, 102, 4);
}

// Costs .260, .262 and .275: the first two are equal (1 %), 0 has the greater price
// (.03 x .1 x 1), so 1 gets it although it costs .002 more.
// i  pace  hit   in decode  own    TTFT     price    cost
// 0   1     30      1       .097   .197     .0029    .2599
// 1   1.01   0      0       .101   .202     0        .2620
// 2   1.075  0      0       .1075  .215     0        .2750
TEST(LodestarGolden, NearTiesGoToTheLesserPrice) {
  const Paces pace = {{"i0", 1}, {"i1", 1.01}, {"i2", 1.075}};
  Bench b(3);
  b.rows[0].hit_tokens = 30;
  b.rows[0].inflight_decode = 1;
  b.rows[1].inflight = 9;  // the load comes after the price
  decided(*make("tail=0,near=0.01", pace), b, 1, kCost);
  decided(*make("tail=0,near=0.005", pace), b, 0, kCost);
}

// 0, ten times as slow, was last heard of 20 s ago. Its probe would cost 2.0 - 0.2 = 1.8 s.
// With a share of .1 of a TTFT of .2 s each, .02 s a decision, the budget is there at the
// 90th.
TEST(LodestarGolden, AProbeWaitsUntilItsBudgetIsThere) {
  const Paces pace = {{"i0", 10}, {"i1", 1}};
  Bench b(2);
  const auto policy = make("tail=0,near=0.01,explore=0.1,explore_after_s=20", pace);
  b.decide(*policy);
  b.now += 21 * kSecond;
  int probe = 0;
  for (int k = 2; k <= 120 && probe == 0; ++k)
    if (b.decide(*policy).reason == "exploration within budget") probe = k;
  EXPECT_NEAR(probe, 90, 1);
  EXPECT_NEAR(policy->learning()->explore_regret_s_sum, 1.8, 1e-6);
}

}  // namespace
}  // namespace lodestar
