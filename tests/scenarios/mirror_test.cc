// SPDX-License-Identifier: Apache-2.0
// Needs::mirror against the simulator's engines under memory pressure: what the router
// believes to be cached when it decides, and what the engine then reports in its usage.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "policies/catalog.h"
#include "sim/experiment.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

struct Pair {
  double believed, actual;  // tokens
};

// prefix-cache, with or without the mirror; keeps what each request believed and got.
class Recorder final : public Policy {
 public:
  Recorder(bool mirror, std::vector<Pair>* pairs)
      : inner_(make_policy("prefix-cache").value()), mirror_(mirror), pairs_(pairs) {}
  Needs needs() const override { return {.prefix = true, .progress = true, .mirror = mirror_}; }
  void decide(const DecisionContext& c, Decision& out, PolicyActions& a) override {
    inner_->decide(c, out, a);
  }
  void on_settled(TimeNs, const Outcome& o, PolicyActions&) override {
    if (o.usage.cached_tokens)
      pairs_->push_back({o.row.hit_tokens, static_cast<double>(*o.usage.cached_tokens)});
  }

 private:
  std::unique_ptr<Policy> inner_;
  bool mirror_;
  std::vector<Pair>* pairs_;
};

constexpr double kLongestAnswer = 400, kBlocks = 32;

struct Agreement {
  double agreed = 0;  // share of requests
  double false_hits = 0;  // believed and not there, per token that was there
};

Agreement run(int engines, double rate, bool mirror) {
  const auto cluster = parse_cluster("groups: [{count: " + std::to_string(engines) +
                                         ", gpu: a30, served_model: llama-3.1-8b}]\n"
                                         "router: {scrape_period_ms: 250}\n",
                                     "small", "");
  EXPECT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
  const auto spec = parse_workload(
      "synthetic: {kind: multi-turn, turns: {min: 3, max: 10}, system_prompts: 3, "
      "system_prompt_tokens: {min: 300, max: 1500}, new_tokens: {min: 50, max: 600}, "
      "output_tokens: {min: 100, max: 400}, think_time_s: {mean: 10}}\n"
      "arrivals: {kind: poisson, rate_rps: " +
          std::to_string(rate) + "}\nmax_requests: 1500\n",
      "chat", "");
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  const auto plan = make_plan(*spec, nullptr, 3);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  WorldConfig config = world_config(*cluster);
  config.router.policy = "recorder";
  auto pairs = std::make_unique<std::vector<Pair>>();
  auto world = World::create(std::move(config), Workload(*plan),
                             [&](std::string_view) -> Result<std::unique_ptr<Policy>> {
                               return std::make_unique<Recorder>(mirror, pairs.get());
                             });
  EXPECT_TRUE(world) << (world ? "" : world.error().message);
  (*world)->run();
  Agreement a;
  double there = 0;
  constexpr std::size_t kWarmUp = 300;  // until the caches are full
  for (std::size_t k = kWarmUp; k < pairs->size(); ++k) {
    // The answer before is part of the next prompt and of the engine's cache; the router
    // cannot know its hashes.
    const auto [believed, actual] = (*pairs)[k];
    a.agreed += believed - actual <= kBlocks && actual - believed <= kLongestAnswer + kBlocks;
    a.false_hits += std::max(0.0, believed - actual);
    there += actual;
  }
  EXPECT_GT(there, 100'000);
  a.agreed /= static_cast<double>(pairs->size() - kWarmUp);
  a.false_hits /= there;
  return a;
}

// Rates are conversations a second; TTFT means 0.14 to 0.26 s, the cache is full.
TEST(Mirror, BeliefIsTruthUnderMemoryPressure) {
  struct Case {
    int engines;
    double rate;
  };
  for (const auto& [engines, rate] : {Case{1, 0.14}, Case{2, 0.28}, Case{2, 0.36}}) {
    const Agreement with = run(engines, rate, true), without = run(engines, rate, false);
    EXPECT_GT(with.agreed, 0.95) << engines << " engines, " << rate;
    EXPECT_LT(with.false_hits, 0.01);
    EXPECT_LT(without.agreed, with.agreed - 0.04);
    EXPECT_GT(without.false_hits, 0.05);
  }
}

TEST(Mirror, ChangesNothingWhereMemoryIsPlenty) {
  const Agreement with = run(2, 0.1, true), without = run(2, 0.1, false);
  EXPECT_GT(with.agreed, 0.99);
  EXPECT_GT(without.agreed, 0.99);
  EXPECT_LT(with.false_hits + without.false_hits, 0.002);
}

// Far beyond saturation requests wait in the engine for memory, and what it will hold
// when it takes them nobody knows: the belief is worse, but not off.
TEST(Mirror, IsStillOfUseBeyondSaturation) {
  const Agreement with = run(2, 0.5, true);
  EXPECT_GT(with.agreed, 0.9);
  EXPECT_LT(with.false_hits, 0.15);
}

}  // namespace
}  // namespace lodestar::sim
