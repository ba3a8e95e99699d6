// SPDX-License-Identifier: Apache-2.0
// The objective's values by hand, and what must hold whatever the numbers are.
#include "policies/objective.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace lodestar {
namespace {

// 1 s until the first token, .4 of it the request's own prefill; 10 s of decoding.
constexpr Prospect kProspect{.ttft_s = 1,
                             .wait_s = 0.6,
                             .own_s = 0.4,
                             .decode_s = 10,
                             .slo_probability = 0.7,
                             .busy = 0.5,
                             .arrivals_per_s = 2,
                             .decoding = 5};

// The defaults are tuned elsewhere; these are for paper.
ObjectiveOptions with(Reward reward) {
  return {.reward = reward,
          .decode_weight = 0.03,
          .tail = 0,
          .toll = 1,
          .crowding = 1,
          .externality = 0};
}

// Weight of decode time .03; a miss costs 10 s.
TEST(Objective, OwnCostByHand) {
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kNegTtft), kProspect), 1);
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kNegE2e), kProspect), 11);
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kBlend), kProspect), 1.3);  // 1 + .03 x 10
  // 10 x (1 - .7) + 1.3 / 10
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kSlo), kProspect), 3.13);
  ObjectiveOptions o = with(Reward::kBlend);
  o.decode_weight = 0.2;
  EXPECT_DOUBLE_EQ(own_cost(o, kProspect), 3);
}

// Answers there took half as long again as their parts say: all that is known of an
// instance whose answers are not streamed.
TEST(Objective, E2eFollowsWhatWholeAnswersTook) {
  Prospect p = kProspect;
  p.e2e_factor = 1.5;
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kNegE2e), p), 16.5);
  EXPECT_DOUBLE_EQ(own_cost(with(Reward::kBlend), p), 1.3);
}

// Twenty times the usual 50 ms: at .1 for each, three times its length.
TEST(Objective, ALongTtftCountsMoreThanItsLength) {
  Prospect p = kProspect;
  p.usual_ttft_s = 0.05;
  ObjectiveOptions o = with(Reward::kNegTtft);
  o.tail = 0.1;
  EXPECT_DOUBLE_EQ(own_cost(o, p), 3);
  p.ttft_s = 0.05;
  EXPECT_DOUBLE_EQ(own_cost(o, p), 0.055);
  o.reward = Reward::kNegE2e;  // the sum itself is what counts there
  EXPECT_DOUBLE_EQ(own_cost(o, p), 10.05);
}

// rho^2 / (1 - rho) = .25 / .5 = .5 a second of prefill: .5 x .4 = .2. Those in decode:
// .4 s for each of 5, at the weight of decode time.
TEST(Objective, PriceByHand) {
  EXPECT_DOUBLE_EQ(price(with(Reward::kBlend), kProspect), 0.2 + 0.03 * 0.4 * 5);
  EXPECT_DOUBLE_EQ(price(with(Reward::kSlo), kProspect), 0.2 + 0.03 * 0.4 * 5);
  EXPECT_DOUBLE_EQ(price(with(Reward::kNegTtft), kProspect), 0.2);
  EXPECT_DOUBLE_EQ(price(with(Reward::kNegE2e), kProspect), 0.2 + 0.4 * 5);
  ObjectiveOptions o = with(Reward::kNegTtft);
  o.toll = 3;
  EXPECT_DOUBLE_EQ(price(o, kProspect), 0.6);
  o.toll = 0;
  EXPECT_DOUBLE_EQ(price(o, kProspect), 0);
  // Until half of its prefill is done 2 x (.6 + .2) = 1.6 others come: .2 x 1.6.
  o.externality = 1;
  EXPECT_DOUBLE_EQ(price(o, kProspect), 0.32);
  Prospect crowded = kProspect;
  crowded.crowding_s = 0.3;
  o.crowding = 2;
  EXPECT_DOUBLE_EQ(price(o, crowded), 0.92);
}

TEST(Objective, AnIdleInstanceChargesOnlyForThoseInDecode) {
  Prospect p = kProspect;
  p.busy = 0;
  EXPECT_DOUBLE_EQ(price(with(Reward::kNegTtft), p), 0);
  p.decoding = 0;
  for (const Reward r : {Reward::kBlend, Reward::kNegTtft, Reward::kNegE2e, Reward::kSlo})
    EXPECT_DOUBLE_EQ(price(with(r), p), 0);
}

TEST(Objective, ThePriceOfASaturatedInstanceIsHighAndFinite) {
  Prospect p = kProspect;
  p.decoding = 0;
  for (const double busy : {0.97, 0.99, 1.0, 1.5}) {
    p.busy = busy;
    EXPECT_NEAR(price(with(Reward::kBlend), p), 0.97 * 0.97 / 0.03 * 0.4, 1e-9);
  }
}

// ---- whatever the numbers ---------------------------------------------------------------

double some(double most) { return *rc::gen::inRange(0, 100'001) * 1e-5 * most; }

Prospect some_prospect() {
  Prospect p;
  p.own_s = some(5);
  p.wait_s = some(20);
  p.ttft_s = p.own_s + p.wait_s;
  p.decode_s = some(60);
  p.slo_probability = some(1);
  p.busy = some(1);
  p.arrivals_per_s = some(50);
  p.decoding = some(200);
  p.crowding_s = some(20);
  return p;
}
ObjectiveOptions some_options() {
  return {.reward = static_cast<Reward>(*rc::gen::inRange(0, 4)),
          .decode_weight = some(1),
          .toll = some(3),
          .crowding = some(3),
          .externality = some(1)};
}

RC_GTEST_PROP(ObjectiveProperty, CostsAreFiniteAndNeverNegative, ()) {
  const Prospect p = some_prospect();
  const ObjectiveOptions o = some_options();
  RC_ASSERT(std::isfinite(own_cost(o, p)) && own_cost(o, p) >= 0);
  RC_ASSERT(std::isfinite(price(o, p)) && price(o, p) >= 0);
}

RC_GTEST_PROP(ObjectiveProperty, MoreOfAnythingBadNeverCostsLess, ()) {
  const ObjectiveOptions o = some_options();
  const Prospect p = some_prospect();
  const auto total = [&](const Prospect& x) { return own_cost(o, x) + price(o, x); };
  const auto no_less = [&](auto&& change) {
    Prospect worse = p;
    change(worse);
    RC_ASSERT(total(worse) >= total(p) - 1e-12 * total(p));
  };
  no_less([](Prospect& x) { x.ttft_s += some(5); });
  no_less([](Prospect& x) { x.wait_s += some(5); });
  no_less([](Prospect& x) { x.own_s += some(5); });
  no_less([](Prospect& x) { x.decode_s += some(5); });
  no_less([](Prospect& x) { x.slo_probability *= some(1); });
  no_less([](Prospect& x) { x.busy += some(1); });
  no_less([](Prospect& x) { x.arrivals_per_s += some(5); });
  no_less([](Prospect& x) { x.decoding += some(5); });
  no_less([](Prospect& x) { x.crowding_s += some(5); });
}

// The smaller prefill (the cache hit) is worth more, the busier its instance is.
RC_GTEST_PROP(ObjectiveProperty, ThePriceGrowsFasterTheBusierTheInstance, ()) {
  const ObjectiveOptions o = with(Reward::kNegTtft);
  const double less = some(0.9), more = less + 0.01 + some(0.05);
  Prospect idle = some_prospect(), busy = idle;
  idle.busy = less;
  busy.busy = more;
  idle.own_s = busy.own_s = 0.1 + some(5);
  RC_ASSERT(price(o, busy) > price(o, idle));
}

}  // namespace
}  // namespace lodestar
