// SPDX-License-Identifier: Apache-2.0
// Mistakes of routers that learn, or measure, from our survey of peers; the others are in
// traps_test.cc. Names are `TrapNN` with the number there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "conformance/lab.h"
#include "policies/catalog.h"
#include "sim/world_testing.h"

namespace lodestar::testing {
namespace {

constexpr std::uint32_t kInstances = 4;

// Requests come one by one and are answered, each instance at its own speed.
class Serving {
 public:
  explicit Serving(const std::string& policy) : lab(policy) {
    for (std::uint32_t id = 1; id <= kInstances; ++id) lab.up(id, 1, 400000);
  }
  // Share of instance 1 among `requests`; it is `slowness` times as slow as the others.
  double share_of_1(int requests, double slowness) {
    int on_1 = 0;
    for (int k = 0; k < requests; ++k) {
      const RequestId r = lab.arrive(1000, blocks_of(++tag_, 62));
      const std::uint32_t at = lab.where(r).value;
      on_1 += at == 1;
      const double noise = 0.9 + 0.2 * rng_.uniform();
      const double ttft_ms = 200 * noise * (at == 1 ? slowness : 1);
      const LeaseId lease = lab.leases_of(r)[0];
      lab.advance(from_ms(ttft_ms));
      lab.send(FirstToken{lease});
      lab.advance(from_ms(ttft_ms));
      Ended end;
      end.lease = lease;
      end.output_tokens = 10;
      lab.send(end);
      lab.advance(100 * kMillisecond);
    }
    return on_1 / static_cast<double>(requests);
  }
  Lab lab;

 private:
  std::uint64_t tag_ = 0;
  Rng rng_{5};
};

// Kthena's least-latency: an idle replica kept its old bad average for ever.
TEST(Trap05, AnInstanceThatLookedSlowOnceIsTriedAgain) {
  Serving s("lodestar");
  s.share_of_1(200, 1);
  s.share_of_1(50, 30);  // thirty times as slow: a restart, a compile, a noisy neighbour
  EXPECT_LT(s.share_of_1(100, 30), 0.06);
  double back = 0;  // it has been well for long
  for (int part = 0; part < 30 && back < 0.1; ++part) back = s.share_of_1(100, 1);
  EXPECT_GE(back, 0.1) << "a fair share is a quarter";
}

// Llumnix and others: a learner that cannot forget. 3 x slower, then well again.
TEST(Trap06, AThreefoldSlowDownIsLearnedAndForgotten) {
  Serving s("lodestar");
  s.share_of_1(400, 1);
  EXPECT_GT(s.share_of_1(400, 1), 0.12);
  s.share_of_1(40, 3);
  EXPECT_LT(s.share_of_1(400, 3), 0.03);
  s.share_of_1(400, 1);
  EXPECT_GT(s.share_of_1(400, 1), 0.12);
  std::uint64_t drifts = 0;
  for (const auto& report : s.lab.router().learning()) drifts += report.stats.drifts;
  EXPECT_LE(drifts, 10u) << "what was noticed can be seen, and is not noise";
}

// Dynamo: without KV publishers the overlap is silently zero. Ours must say so: the engine
// reports no cached token where many were believed.
TEST(Trap12, ZeroHitsWhereManyAreBelievedAreNoticedAndCounted) {
  for (const char* policy : {"lodestar", "prefix-cache", "lmetric"}) {
    Lab lab(policy);
    lab.up(1, 1, 400000);
    for (std::uint64_t k = 0; k < 200; ++k) {
      const RequestId r = lab.arrive(1000, blocks_of(k % 4, 62));
      const LeaseId lease = lab.leases_of(r)[0];
      lab.advance(200 * kMillisecond);
      lab.send(FirstToken{lease});
      Ended end;
      end.lease = lease;
      end.output_tokens = 10;
      end.usage.prompt_tokens = 1000;
      end.usage.cached_tokens = 0;
      lab.send(end);
      lab.advance(kSecond);
    }
    const CacheBelief& belief = lab.router().belief();
    const auto report = belief.report(0);
    EXPECT_GE(report.repairs[static_cast<std::size_t>(CacheRepair::Kind::kNotCaching)], 1u)
        << policy;
    EXPECT_LT(belief.correction(0), 0.05) << policy;
    EXPECT_GT(report.believed_tokens, 0) << policy << ": the alarm has its evidence";
    EXPECT_EQ(report.confirmed_tokens, 0) << policy;
  }
}

// Dynamo #589, Ray #65010: two replicas that do not see each other herd on the same best.
// Real engines, two routers, half of a burst each.
TEST(Trap15, TwoRoutersThatLearnDoNotHerd) {
  constexpr int kEngines = 8, kBefore = 400, kBurst = 160;
  for (const char* policy : {"lodestar", "lmetric"}) {
    sim::WorldConfig config = sim::testing::config_of(kEngines, policy);
    config.replicas = 2;
    auto plan = std::make_shared<sim::WorkloadPlan>(
        *sim::testing::plan_of(kBefore + kBurst, 1000, 150, 30));
    const TimeNs burst_at = from_ms(150.0 * kBefore);
    for (int k = 0; k < kBurst; ++k)
      plan->requests[static_cast<std::size_t>(kBefore + k)].arrival = burst_at + k * kMillisecond;
    auto world = sim::World::create(std::move(config), sim::Workload(plan),
                                    [](std::string_view name) { return make_policy(name); });
    ASSERT_TRUE(world) << world.error().message;
    (*world)->run();
    std::vector<int> count(kEngines, 0);
    for (const sim::RequestRecord& r : (*world)->records())
      if (r.arrival >= burst_at) ++count[r.instance];
    ASSERT_EQ(std::accumulate(count.begin(), count.end(), 0), kBurst);
    EXPECT_LE(*std::max_element(count.begin(), count.end()), 1.6 * kBurst / kEngines) << policy;
    EXPECT_GE(*std::min_element(count.begin(), count.end()), 0.4 * kBurst / kEngines) << policy;
  }
}

// ---- 18: llm-d's learner was dead, its router looked fine ------------------------------------

LearnStats stats_of(Lab& lab) { return lab.router().learning().at(0).stats; }

TEST(Trap18, TheAgeOfTheLastUpdateShowsThatLabelsNoLongerTeach) {
  Serving s("lodestar");
  s.share_of_1(50, 1);
  const LearnStats before = stats_of(s.lab);
  EXPECT_EQ(before.samples, 50u);
  EXPECT_LT(to_s(s.lab.now() - before.last_update), 1) << "of router time";
  // Requests whose prompt length is not a number: decided by the fallback, no sample.
  for (std::uint64_t k = 0; k < 30; ++k) {
    RequestArrived arrived{RequestId(9000 + k), {}};
    arrived.info.prompt_tokens = std::nan("");
    Router& router = s.lab.router();  // the lab's own books do not take NaN
    const Effects effects = router.handle(s.lab.now(), arrived);
    const LeaseId lease = std::get<Dispatch>(effects.at(0)).placements[0].lease;
    s.lab.advance(kSecond);
    router.handle(s.lab.now(), FirstToken{lease});
    router.handle(s.lab.now(), Ended{lease, 10, {}, 0});
  }
  const LearnStats after = stats_of(s.lab);
  EXPECT_EQ(after.last_update, before.last_update);
  EXPECT_GT(to_s(s.lab.now() - after.last_update), 25);
  EXPECT_EQ(after.samples_unusable - before.samples_unusable, 30u);
  EXPECT_EQ(after.fallback_nan - before.fallback_nan, 30u);
}

TEST(Trap18, AFailedUpdateIsCountedAndTheLastGoodStateStays) {
  Serving s("lodestar");
  s.share_of_1(100, 1);
  s.share_of_1(30, 20);
  const LearnStats before = stats_of(s.lab);
  s.lab.send(PredictorPublished{0, nullptr});
  const LearnStats after = stats_of(s.lab);
  EXPECT_EQ(after.last_update, before.last_update);
  EXPECT_EQ(after.rounds_failed, before.rounds_failed + 1);
  EXPECT_LT(s.share_of_1(50, 20), 0.1) << "what was known is known still";
}

// The policy with training rounds: a round that came back empty.
TEST(Trap18, AFailedRoundOfThePublishedLearnerIsCounted) {
  Serving s("lodestar-paper:theta=40,min_rows=20,epochs=1,range_check=0");
  s.share_of_1(100, 1);
  const LearnStats before = stats_of(s.lab);
  EXPECT_GT(before.rounds_published, 0u);
  s.lab.send(PredictorPublished{0, nullptr});
  const LearnStats after = stats_of(s.lab);
  EXPECT_EQ(after.rounds_failed, before.rounds_failed + 1);
  EXPECT_EQ(after.rounds_published, before.rounds_published);
}

}  // namespace
}  // namespace lodestar::testing
