// SPDX-License-Identifier: Apache-2.0
// What a policy learned, from one life of the router into the next.
#include <gtest/gtest.h>

#include "conformance/lab.h"

namespace lodestar::testing {
namespace {

constexpr std::uint32_t kFast = 1, kSlow = 2;

InstanceInfo instance(std::uint32_t id) {
  InstanceInfo i;
  i.id = InstanceId(id);
  i.incarnation = 1;
  i.name = id == kFast ? "fast" : "slow";
  i.served_models = {"m"};
  i.kv_capacity_tokens = 100000;
  return i;
}

RequestId ask(Lab& lab) {
  static std::uint64_t tag = 1;
  RequestInfo info;
  info.served_model = "m";
  info.prompt_tokens = 1000;
  info.block_hashes = blocks_of(++tag, 62);
  info.stream = true;
  return lab.arrive(std::move(info));
}

// Asks and answers one at a time; "slow" takes ten times as long. Returns the share of "fast".
double serve(Lab& lab, int requests, bool first_tokens = true) {
  int fast = 0;
  for (int k = 0; k < requests; ++k) {
    const RequestId r = ask(lab);
    const bool is_fast = lab.where(r) == InstanceId(kFast);
    fast += is_fast;
    lab.advance((is_fast ? 100 : 1000) * kMillisecond);
    for (const LeaseId lease : lab.leases_of(r)) {
      if (first_tokens) lab.send(FirstToken{lease});
      lab.send(Ended{lease, 1, {}, 0});
    }
    lab.advance(100 * kMillisecond);
  }
  return static_cast<double>(fast) / requests;
}

StateLoaded state_of(const Lab& lab, const std::string& policy = "lodestar") {
  const auto learned = const_cast<Lab&>(lab).router().learned();
  EXPECT_EQ(learned.size(), 1u);
  EXPECT_EQ(learned.at(0).policy, "lodestar");
  EXPECT_EQ(learned.at(0).served_model, "m");
  StateLoaded e;
  e.policy = policy;
  e.served_model = "m";
  e.predictor = learned.at(0).predictor;
  return e;
}

TEST(LearnedState, TheNextRouterKnowsTheSlowInstanceFromItsFirstRequest) {
  Lab taught("lodestar:explore=0");
  for (const std::uint32_t id : {kFast, kSlow}) taught.up(instance(id));
  serve(taught, 60);
  ASSERT_GT(serve(taught, 20), 0.9);

  int cold_fast = 0, warm_fast = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Lab cold("lodestar", seed), warm("lodestar", seed);
    warm.send(state_of(taught));  // before anything else is known, as `serve` does it
    for (const std::uint32_t id : {kFast, kSlow}) cold.up(instance(id)), warm.up(instance(id));
    cold_fast += cold.where(ask(cold)) == InstanceId(kFast);
    warm_fast += warm.where(ask(warm)) == InstanceId(kFast);
  }
  EXPECT_EQ(warm_fast, 20);
  EXPECT_LT(cold_fast, 18);
}

TEST(LearnedState, AStateThatNobodyAskedForIsKept) {
  Lab taught("lodestar");
  taught.up(instance(kFast));
  serve(taught, 10);
  Lab next("lodestar");
  next.send(state_of(taught));
  EXPECT_EQ(next.router().learned().size(), 1u);  // no request came: the file keeps it
  next.up(instance(kFast));
  ask(next);
  const auto learned = next.router().learned();
  ASSERT_EQ(learned.size(), 1u);
  EXPECT_NE(learned[0].predictor, nullptr);
}

TEST(LearnedState, OthersAreNotTouched) {
  Lab taught("lodestar");
  taught.up(instance(kFast));
  serve(taught, 10);
  Lab rule("least-request"), learner("lodestar");
  rule.send(state_of(taught));
  learner.send(state_of(taught, "lodestar-paper"));
  StateLoaded empty = state_of(taught);
  empty.predictor = nullptr;
  learner.send(empty);
  EXPECT_EQ(learner.router().counters().ignored_reports, 1u);
  for (Lab* lab : {&rule, &learner}) {
    lab->up(instance(kFast));
    EXPECT_EQ(lab->where(ask(*lab)), InstanceId(kFast));
  }
  EXPECT_EQ(learner.router().learning().at(0).stats.samples, 0u);
}

// A learner that died while the router serves on: the time of the last update stands
// still, so its age on the metrics page grows.
TEST(Trap18, ADeadLearnerShowsInTheTimeOfItsLastUpdate) {
  Lab lab("lodestar:freeze_after=20");
  lab.up(instance(kFast));
  serve(lab, 10);
  const auto last = [&] { return lab.router().learning().at(0).stats.last_update; };
  const TimeNs alive = last();
  EXPECT_GT(alive, lab.now() - kSecond);
  serve(lab, 20);
  const TimeNs frozen = last();
  EXPECT_GT(frozen, alive);
  serve(lab, 50);
  EXPECT_EQ(last(), frozen);
  EXPECT_GT(lab.now() - frozen, 9 * kSecond);
  EXPECT_EQ(lab.router().counters().dispatched, 80u);  // and nothing else shows it
  EXPECT_EQ(lab.router().counters().fallback_decisions, 0u);

  // The same when the labels stop: answers that show no first token.
  Lab unlabelled("lodestar");
  unlabelled.up(instance(kFast));
  serve(unlabelled, 10);
  const TimeNs labelled = unlabelled.router().learning().at(0).stats.last_update;
  serve(unlabelled, 10, /*first_tokens=*/false);
  EXPECT_EQ(unlabelled.router().learning().at(0).stats.last_update, labelled);
}

}  // namespace
}  // namespace lodestar::testing
