// SPDX-License-Identifier: Apache-2.0
// What every policy that reads prefix hits may rely on: the belief behind them is
// right, and when an engine's cache changes without a word it is right again soon.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "policies/catalog.h"
#include "sim/experiment.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

constexpr double kFaultS = 120;
constexpr std::uint32_t kSick = 1;  // the engine that it happens to

// Conversations on four A30 at moderate load: about half of the cache is in use.
std::unique_ptr<World> chat(const std::string& policy, const std::string& faults,
                            const std::string& router, int requests) {
  const auto cluster = parse_cluster(
      "groups: [{count: 4, gpu: a30, served_model: llama-3.1-8b, jitter: {sigma: 0.03}" + faults +
          "}]\nrouter: {scrape_period_ms: 250" + router + "}\n",
      "four", "");
  EXPECT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
  const auto spec = parse_workload(
      "synthetic: {kind: multi-turn, turns: {min: 3, max: 10}, system_prompts: 3, "
      "system_prompt_tokens: {min: 300, max: 900}, new_tokens: {min: 20, max: 300}, "
      "output_tokens: {min: 30, max: 200}, think_time_s: {mean: 6}}\n"
      "arrivals: {kind: poisson, rate_rps: 0.9}\nmax_requests: " +
          std::to_string(requests) + "\n",
      "chat", "");
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  const auto plan = make_plan(*spec, nullptr, 5);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  WorldConfig config = world_config(*cluster);
  config.seed = 5;
  config.router.policy = policy;
  auto world = World::create(std::move(config), Workload(*plan),
                             [](std::string_view name) { return make_policy(name); });
  EXPECT_TRUE(world) << (world ? "" : world.error().message);
  (*world)->run();
  EXPECT_EQ((*world)->unfinished(), 0u);
  return std::move(*world);
}

std::string fault(const std::string& text) {
  return ", faults: [{engine: " + std::to_string(kSick) + ", at_s: " + std::to_string(kFaultS) +
         ", " + text + "}]";
}

std::uint64_t repairs(const Router& router, Fleet::Slot slot, CacheRepair::Kind kind) {
  return router.belief().report(slot).repairs[static_cast<std::size_t>(kind)];
}

class BeliefOf : public ::testing::TestWithParam<std::string> {};

TEST_P(BeliefOf, IsLeftAloneWhenNothingHappens) {
  const auto w = chat(GetParam(), "", "", 1500);
  EXPECT_EQ(w->router().belief().repairs_total(), 0u);
  double believed = 0, confirmed = 0;
  for (Fleet::Slot s : w->router().fleet().present()) {
    const auto report = w->router().belief().report(s);
    believed += report.believed_tokens;
    confirmed += report.confirmed_tokens;
    EXPECT_EQ(report.capacity_blocks, report.told_blocks);
  }
  EXPECT_GT(believed, 100'000);
  EXPECT_GT(confirmed, 0.93 * believed);
}

TEST_P(BeliefOf, SurvivesASilentLossOfAllCaches) {
  const auto w = chat(GetParam(), ", faults: [{kind: restart_cache, at_s: 120}]", "", 2000);
  const CacheBelief& belief = w->router().belief();
  int busy = 0;
  for (Fleet::Slot s : w->router().fleet().present()) {
    int served = 0;  // that could tell of it in time
    for (const RequestRecord& r : w->records())
      served += r.instance == s && r.arrival > from_s(kFaultS) && r.last_token < from_s(140);
    if (served < 15) continue;
    ++busy;
    EXPECT_GT(belief.correction(s), 0.9) << "what is believed now is true";
    const auto report = belief.report(s);
    EXPECT_GT(report.confirmed_tokens, 0.88 * report.believed_tokens);
    // A policy that sends an engine hardly anything but a few hot prompts finds them
    // there again at once: nothing to repair.
    if (report.confirmed_tokens < 0.97 * report.believed_tokens) {
      EXPECT_GE(repairs(w->router(), s, CacheRepair::Kind::kLost) +
                    repairs(w->router(), s, CacheRepair::Kind::kShrunk),
                1u)
          << served << " served";
    }
  }
  EXPECT_GE(busy, 1);
  EXPECT_EQ(belief.repairs().size(), belief.repairs_total());
  for (const CacheRepair& repair : belief.repairs()) {
    // Where little of the old content was asked for, the few misses look like a cache that
    // has become smaller; either way what is not there is no longer believed.
    EXPECT_TRUE(repair.kind == CacheRepair::Kind::kLost ||
                repair.kind == CacheRepair::Kind::kShrunk)
        << name_of(repair.kind) << " of engine " << repair.instance.value << " at "
        << to_s(repair.at);
    EXPECT_GT(to_s(repair.at), kFaultS);
    EXPECT_LT(to_s(repair.at), kFaultS + 25);
  }
}

TEST_P(BeliefOf, LearnsThatACacheHasShrunk) {
  const auto w = chat(GetParam(), fault("kind: shrink_cache, factor: 0.3"), "", 3000);
  const auto report = w->router().belief().report(kSick);
  EXPECT_GE(report.repairs[static_cast<std::size_t>(CacheRepair::Kind::kShrunk)], 1u);
  // Small enough; or what the policy still looks for is young enough to be there.
  if (report.correction < 0.9) {
    EXPECT_LT(report.capacity_blocks, report.told_blocks * 8 / 10);
  }
  EXPECT_GT(report.capacity_blocks, report.told_blocks / 10);
  for (Fleet::Slot s : w->router().fleet().present()) {
    if (s == kSick) continue;
    EXPECT_GT(w->router().belief().report(s).capacity_blocks, report.told_blocks * 9 / 10);
  }
}

std::vector<std::string> policies_that_read_hits() {
  std::vector<std::string> names;
  for (const CatalogRow& row : catalog()) {
    const auto policy = make_policy(row.name);
    if (policy && (*policy)->needs().prefix) names.emplace_back(row.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(EveryPolicy, BeliefOf, ::testing::ValuesIn(policies_that_read_hits()),
                         [](const auto& policy) {
                           std::string name = policy.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

TEST(Belief, HoldsInTheCoarseView) {
  const auto healthy = chat("prefix-cache", "", ", view: coarse", 1500);
  EXPECT_EQ(healthy->router().belief().repairs_total(), 0u);
  const auto lost = chat("prefix-cache", fault("kind: restart_cache"), ", view: coarse", 2000);
  EXPECT_EQ(repairs(lost->router(), kSick, CacheRepair::Kind::kLost), 1u);
}

TEST(Belief, AnEngineThatDoesNotCacheIsFoundOut) {
  // Told to the router as caching: the engine's own switch is off.
  auto cluster =
      parse_cluster("groups: [{count: 2, gpu: a30, served_model: llama-3.1-8b}]\n", "two", "");
  ASSERT_TRUE(cluster);
  cluster->engines[1].config.prefix_caching = false;
  const auto spec = parse_workload(
      "synthetic: {kind: multi-turn, turns: {min: 3, max: 8}, new_tokens: {min: 50, max: 200}, "
      "output_tokens: {min: 20, max: 60}, think_time_s: {mean: 2}}\n"
      "arrivals: {kind: poisson, rate_rps: 0.6}\nmax_requests: 800\n",
      "chat", "");
  ASSERT_TRUE(spec) << spec.error().message;
  const auto plan = make_plan(*spec, nullptr, 1);
  ASSERT_TRUE(plan);
  WorldConfig config = world_config(*cluster);
  config.router.policy = "prefix-cache";
  auto world = World::create(std::move(config), Workload(*plan),
                             [](std::string_view name) { return make_policy(name); });
  ASSERT_TRUE(world);
  (*world)->run();
  const Router& router = (*world)->router();
  EXPECT_EQ(repairs(router, 1, CacheRepair::Kind::kNotCaching), 1u);
  EXPECT_EQ(router.belief().correction(1), 0);
  EXPECT_GT(router.belief().correction(0), 0.95);
  EXPECT_EQ(repairs(router, 0, CacheRepair::Kind::kNotCaching), 0u);
}

TEST(Belief, TwoRoutersOnOneFleetSeeEachOthersTrafficInTheirHits) {
  const auto w = chat("prefix-cache", "", ", replicas: 2, split: random", 2000);
  EXPECT_EQ(w->result().failed, 0u);
  for (std::size_t r = 0; r < 2; ++r) {
    double believed = 0, unexpected = 0;
    for (Fleet::Slot s : w->router(r).fleet().present()) {
      const auto report = w->router(r).belief().report(s);
      believed += report.believed_tokens;
      unexpected += report.unexpected_tokens;
      EXPECT_EQ(repairs(w->router(r), s, CacheRepair::Kind::kLost), 0u);
    }
    EXPECT_GT(unexpected, 0.1 * believed) << "turns that the other router placed";
  }
}

}  // namespace
}  // namespace lodestar::sim
