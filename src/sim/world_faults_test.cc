// SPDX-License-Identifier: Apache-2.0
// Faults that nobody tells the router of, and engines that change; crash, freeze, slow,
// join and leave are in world_test.cc.
#include <gtest/gtest.h>

#include "policies/catalog.h"
#include "sim/world_testing.h"

namespace lodestar::sim {
namespace {

using testing::config_of;
using testing::plan_of;

std::unique_ptr<World> run(WorldConfig config, std::shared_ptr<const WorkloadPlan> plan) {
  auto world = World::create(std::move(config), Workload(std::move(plan)),
                             [](std::string_view name) { return make_policy(name); });
  EXPECT_TRUE(world.has_value()) << (world ? "" : world.error().message);
  (*world)->run();
  EXPECT_EQ((*world)->unfinished(), 0u);
  EXPECT_EQ((*world)->router().open_leases(), 0u);
  return std::move(*world);
}

EngineFault fault(EngineFault::Kind kind, double at_s, double until_s = 0, double factor = 1) {
  EngineFault f;
  f.kind = kind;
  f.at = from_s(at_s);
  f.until = from_s(until_s);
  f.factor = factor;
  return f;
}

double ttft_ms(const RequestRecord& r) { return to_ms(r.first_token - r.arrival); }

TEST(WorldFaults, RestartCacheLosesTheCacheAndNothingElse) {
  WorldConfig c = config_of(1, "lmetric");
  c.engines[0].faults = {fault(EngineFault::Kind::kRestartCache, 15.0)};
  // Pairs share their first half: the second of the first pair comes after the loss.
  const auto w = run(std::move(c), plan_of(6, 1000, 10'000));
  for (const RequestRecord& r : w->records()) EXPECT_FALSE(r.failed);
  EXPECT_EQ(w->records()[1].cached_tokens, 496);
  EXPECT_EQ(w->records()[3].cached_tokens, 496) << "caches again afterwards";
  WorldConfig between = config_of(1, "lmetric");
  between.engines[0].faults = {fault(EngineFault::Kind::kRestartCache, 5.0)};
  const auto v = run(std::move(between), plan_of(6, 1000, 10'000));
  EXPECT_EQ(v->records()[1].cached_tokens, 0);
  EXPECT_EQ(v->router().fleet().at(0).info.incarnation, 1u) << "nobody was told";
}

TEST(WorldFaults, ShrunkCacheForgetsSoonerUntilItEnds) {
  // 40 prompts of 1000 tokens fill the cache; in a tenth of it only four stay.
  const auto hits = [](std::vector<EngineFault> faults) {
    WorldConfig c = config_of(1, "lmetric");
    c.engines[0].faults = std::move(faults);
    auto plan = std::make_shared<WorkloadPlan>(*plan_of(60, 1000, 500, 5));
    // The same 20 prompts, three times over.
    for (std::size_t i = 20; i < 60; ++i) {
      plan->requests[i].spans_begin = plan->requests[i % 20].spans_begin;
      plan->requests[i].spans_end = plan->requests[i % 20].spans_end;
    }
    const auto w = run(std::move(c), plan);
    std::pair<std::int64_t, std::int64_t> cached{0, 0};  // second and third time
    for (std::size_t i = 20; i < 60; ++i)
      (i < 40 ? cached.first : cached.second) += w->records()[i].cached_tokens;
    return cached;
  };
  const auto healthy = hits({});
  EXPECT_EQ(healthy.first, 20 * 992);
  const auto shrunk = hits({fault(EngineFault::Kind::kShrinkCache, 1.0, 0, 0.1)});
  EXPECT_LT(shrunk.first, healthy.first / 3);
  EXPECT_LT(shrunk.second, healthy.second / 3);
  const auto back = hits({fault(EngineFault::Kind::kShrinkCache, 1.0, 10.1, 0.1)});
  EXPECT_LT(back.first, healthy.first / 3);
  EXPECT_GT(back.second, healthy.second * 3 / 4);
}

TEST(WorldFaults, APromptThatTheShrunkCacheCannotHoldIsStillServed) {
  WorldConfig c = config_of(1);
  c.engines[0].faults = {fault(EngineFault::Kind::kShrinkCache, 0.5, 0, 0.05)};
  const auto w = run(std::move(c), plan_of(12, 9000, 300, 30));
  for (const RequestRecord& r : w->records()) {
    EXPECT_FALSE(r.failed);
    EXPECT_EQ(r.output_tokens, 30);
  }
}

TEST(WorldFaults, ThrottleComesAndGoesOverItsRamp) {
  WorldConfig c = config_of(1);
  EngineFault heat = fault(EngineFault::Kind::kThrottle, 10, 40, 4);
  heat.ramp = from_s(10);
  c.engines[0].faults = {heat};
  const auto w = run(std::move(c), plan_of(60, 1000, 1000, 2));
  // Odd requests share half of their prompt: look at even ones.
  const double cold = ttft_ms(w->records()[4]);
  EXPECT_NEAR(ttft_ms(w->records()[16]) / cold, 2.8, 0.3) << "6 s into the ramp";
  EXPECT_NEAR(ttft_ms(w->records()[30]) / cold, 4, 0.1);
  EXPECT_NEAR(ttft_ms(w->records()[46]) / cold, 2.2, 0.3) << "6 s down";
  EXPECT_NEAR(ttft_ms(w->records()[54]) / cold, 1, 0.02);
}

TEST(WorldFaults, ThrottleStepsAreMonotoneAndEndAtOne) {
  EngineFault heat = fault(EngineFault::Kind::kThrottle, 10, 40, 3);
  heat.ramp = from_s(8);
  const auto steps = throttle_steps(heat);
  ASSERT_EQ(steps.size(), 40u);
  EXPECT_EQ(steps[19].at, from_s(18));
  EXPECT_DOUBLE_EQ(steps[19].factor, 3);
  EXPECT_EQ(steps[39].at, from_s(48));
  EXPECT_DOUBLE_EQ(steps[39].factor, 1);
  for (std::size_t i = 1; i < 20; ++i) EXPECT_GT(steps[i].factor, steps[i - 1].factor);
  for (std::size_t i = 20; i < 40; ++i) EXPECT_LT(steps[i].factor, steps[i - 1].factor);
  heat.until = 0;
  EXPECT_EQ(throttle_steps(heat).size(), 20u) << "for ever";
}

EngineFault swap_to_half_speed(const WorldEngine& engine, double at_s, double until_s) {
  EngineSwap swap;
  swap.config = engine.config;
  swap.config.speed_factor = 0.5;
  swap.config.kv_capacity_tokens = 20'000;
  swap.step_time = engine.step_time;
  swap.told_prefill_tokens_per_s = 1234;
  swap.max_model_len = 19'984;
  EngineFault f = fault(EngineFault::Kind::kSwap, at_s, until_s);
  f.swap = std::make_shared<const EngineSwap>(swap);
  return f;
}

TEST(WorldFaults, SwappedEngineComesBackAsAnotherOne) {
  for (double until_s : {0.0, 12.0}) {
    WorldConfig c = config_of(2);
    c.engines[0].faults = {swap_to_half_speed(c.engines[0], 10, until_s)};
    const auto w = run(std::move(c), plan_of(100, 1000, 300, 5));
    const InstanceState& swapped = w->router().fleet().at(w->router().fleet().find(InstanceId{0}));
    EXPECT_EQ(swapped.info.incarnation, 2u);
    EXPECT_EQ(swapped.info.kv_capacity_tokens, 20'000);
    EXPECT_EQ(swapped.info.told_prefill_tokens_per_s, 1234);
    double before = 0, after = 0;
    for (const RequestRecord& r : w->records()) {
      if (r.failed || r.instance != 0 || r.cached_tokens != 0) continue;
      EXPECT_FALSE(until_s > 0 && r.arrival > from_s(10) && r.arrival < from_s(until_s));
      (r.arrival < from_s(10) ? before : after) = ttft_ms(r);
    }
    EXPECT_NEAR(after / before, 2, 0.05);
  }
}

TEST(WorldFaults, AllAtOnceLoseNoRequestAndKeepTheBits) {
  const auto once = [] {
    WorldConfig c = config_of(4, "prefix-cache");
    c.network_delay = from_ms(1);
    for (WorldEngine& e : c.engines) e.config.jitter.sigma = 0.05;
    c.engines[0].faults = {fault(EngineFault::Kind::kRestartCache, 1.0),
                           fault(EngineFault::Kind::kCrash, 2.0, 2.5)};
    c.engines[1].faults = {fault(EngineFault::Kind::kShrinkCache, 0.5, 3.0, 0.2)};
    EngineFault heat = fault(EngineFault::Kind::kThrottle, 0.5, 3, 5);
    heat.ramp = from_s(1);
    c.engines[2].faults = {heat};
    c.engines[3].faults = {swap_to_half_speed(c.engines[3], 1.5, 2.5)};
    const auto w = run(std::move(c), plan_of(200, 2000, 25, 40));
    return std::pair{w->router().decision_hash(), w->router().state_hash()};
  };
  EXPECT_EQ(once(), once());
}

}  // namespace
}  // namespace lodestar::sim
