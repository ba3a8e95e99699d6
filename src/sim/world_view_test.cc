// SPDX-License-Identifier: Apache-2.0
// What a router gets to know: the coarse view, and several routers before one fleet.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "policies/catalog.h"
#include "sim/oracle.h"
#include "sim/world_testing.h"

namespace lodestar::sim {
namespace {

using testing::config_of;
using testing::plan_of;

// Writes down what it was asked; takes the candidates in turn.
class Listener final : public Policy {
 public:
  struct Heard {
    std::vector<RequestInfo> requests;
    std::vector<double> hits;
  };
  explicit Listener(Heard* heard) : heard_(heard) {}
  Needs needs() const override { return {.prefix = true, .progress = true}; }
  void decide(const DecisionContext& c, Decision& out, PolicyActions&) override {
    out.place(heard_->requests.size() % c.candidates.size());
    heard_->hits.push_back(c.rows[out.choices[0].candidate].hit_tokens);
    heard_->requests.push_back(c.request);
  }

 private:
  Heard* heard_;
};

std::unique_ptr<World> run(WorldConfig config, std::shared_ptr<const WorkloadPlan> plan,
                           PolicyFactory factory) {
  auto world = World::create(std::move(config), Workload(std::move(plan)), std::move(factory));
  EXPECT_TRUE(world.has_value()) << (world ? "" : world.error().message);
  (*world)->run();
  EXPECT_EQ((*world)->unfinished(), 0u);
  return std::move(*world);
}

Listener::Heard hear(const RouterView& view, std::uint64_t seed = 1) {
  Listener::Heard heard;
  WorldConfig c = config_of(1, "listener");
  c.view = view;
  c.seed = seed;
  run(std::move(c), plan_of(200, 1000, 200, 4),
      [&](std::string_view) -> Result<std::unique_ptr<Policy>> {
        return std::make_unique<Listener>(&heard);
      });
  return heard;
}

TEST(RouterView, ExactIsInTokens) {
  const auto heard = hear({});
  ASSERT_EQ(heard.requests.size(), 200u);
  EXPECT_EQ(heard.requests[3].prompt_tokens, 1000);
  EXPECT_EQ(heard.requests[3].prompt_bytes, 0);
  EXPECT_EQ(heard.requests[3].block_hashes.size(), 62u);
  EXPECT_EQ(heard.hits[3], 496);
}

TEST(RouterView, OtherBlocksSeeOtherHits) {
  RouterView view;
  view.block_tokens = 128;
  const auto heard = hear(view);
  EXPECT_EQ(heard.requests[3].block_hashes.size(), 7u);
  EXPECT_EQ(heard.hits[3], 384) << "three whole blocks of the 500 shared tokens";
}

TEST(RouterView, CoarseIsInBytesAndTheRouterLearnsTheRest) {
  RouterView view;
  view.coarse = true;
  view.block_bytes = 256;
  view.token_error = 0.15;
  const auto heard = hear(view);
  double sum = 0, squares = 0;
  for (std::size_t i = 50; i < 200; ++i) {
    const RequestInfo& r = heard.requests[i];
    EXPECT_EQ(r.block_hashes.size(), 15u);
    EXPECT_EQ(r.block_bytes, 256);
    EXPECT_GT(r.prompt_tokens_error, 0.03);
    const double error = std::log(r.prompt_tokens / 1000);
    sum += error;
    squares += error * error;
  }
  EXPECT_NEAR(sum / 150, 0, 0.05) << "unbiased once learned";
  EXPECT_NEAR(std::sqrt(squares / 150), 0.15, 0.03);
  EXPECT_NEAR(heard.hits[61], 448, 45) << "seven blocks of 64 tokens or so";
  // The error is the request's own, whatever else happens.
  const auto again = hear(view);
  const auto other = hear(view, 2);
  for (std::size_t i = 0; i < 200; ++i)
    EXPECT_EQ(heard.requests[i].prompt_bytes, again.requests[i].prompt_bytes);
  EXPECT_NE(heard.requests[7].prompt_bytes, other.requests[7].prompt_bytes);
}

TEST(RouterView, EveryPolicyWorksInTheCoarseView) {
  for (const CatalogRow& row : catalog()) {
    WorldConfig c = config_of(3, std::string(row.name));
    c.view.coarse = true;
    c.view.token_error = 0.15;
    const auto w = run(std::move(c), plan_of(120, 1500, 40),
                       [](std::string_view name) { return make_policy(name); });
    EXPECT_EQ(w->result().failed, 0u) << row.name;
    EXPECT_EQ(w->result().router_view, "coarse: blocks of 256 bytes, prompts known to 15 %");
  }
}

TEST(RouterView, TheOracleKnowsTheEnginesBlocksInAnyView) {
  const auto mean = [](bool coarse) {
    WorldConfig c = config_of(3, "oracle");
    c.view.coarse = coarse;
    const World* self = nullptr;
    auto world = World::create(
        std::move(c), Workload(plan_of(200, 3000, 120, 10)),
        [&](std::string_view) -> Result<std::unique_ptr<Policy>> { return make_oracle(*self, 0); },
        [&](const World* w) { self = w; });
    (*world)->run();
    return *(*world)->result().ttft_ms.mean;
  };
  EXPECT_DOUBLE_EQ(mean(true), mean(false));
}

TEST(Replicas, EachServesItsPartAndKnowsNothingOfTheOthers) {
  for (ReplicaSplit split : {ReplicaSplit::kRandom, ReplicaSplit::kBySession}) {
    WorldConfig c = config_of(3, "prefix-cache");
    c.replicas = 2;
    c.split = split;
    c.network_delay = from_ms(1);
    const auto w = run(std::move(c), plan_of(300, 1000, 40),
                       [](std::string_view name) { return make_policy(name); });
    ASSERT_EQ(w->replicas(), 2u);
    std::uint64_t placed = 0;
    for (std::size_t r = 0; r < 2; ++r) {
      const Router& router = w->router(r);
      EXPECT_EQ(router.open_leases(), 0u);
      EXPECT_EQ(router.active_requests(), 0u);
      EXPECT_EQ(router.counters().ignored_reports, 0u);
      EXPECT_GT(router.counters().arrived, 100u);
      std::uint64_t own = 0;
      for (Fleet::Slot s : router.fleet().present()) {
        EXPECT_TRUE(router.fleet().at(s).load.has_value()) << "scrapes for itself";
        own += router.fleet().at(s).own.placed_total;
      }
      EXPECT_EQ(own, router.counters().arrived) << "only its own placements";
      placed += own;
    }
    EXPECT_EQ(placed, 300u);
    EXPECT_EQ(w->result().failed, 0u);
    EXPECT_EQ(w->result().requests, 300u);
    EXPECT_NE(w->router(0).decision_hash(), w->router(1).decision_hash());
    EXPECT_NE(*w->result().decision_hash, w->router(0).decision_hash());
  }
}

TEST(Replicas, PoliciesHaveTheirOwnState) {
  std::vector<std::unique_ptr<Listener::Heard>> heard;
  WorldConfig c = config_of(2, "listener");
  c.replicas = 3;
  run(std::move(c), plan_of(300, 500, 20),
      [&](std::string_view) -> Result<std::unique_ptr<Policy>> {
        heard.push_back(std::make_unique<Listener::Heard>());
        return std::make_unique<Listener>(heard.back().get());
      });
  std::size_t used = 0, total = 0;
  for (const auto& h : heard) {
    used += !h->requests.empty();
    total += h->requests.size();
  }
  EXPECT_EQ(used, 3u);
  EXPECT_EQ(total, 300u);
}

TEST(Replicas, ASessionStaysWithItsRouter) {
  Listener::Heard a, b;
  int made = 0;
  WorldConfig c = config_of(1, "listener");
  c.replicas = 2;
  c.split = ReplicaSplit::kBySession;
  auto plan = std::make_shared<WorkloadPlan>(*plan_of(200, 500, 50));
  for (std::size_t i = 0; i < 200; ++i) plan->requests[i].session = 1 + i % 17;
  run(std::move(c), plan, [&](std::string_view) -> Result<std::unique_ptr<Policy>> {
    // Probe, one look per router, then one per router in use: count by content instead.
    ++made;
    return std::make_unique<Listener>(made % 2 == 0 ? &a : &b);
  });
  std::map<std::string, std::set<const void*>> homes;
  for (const Listener::Heard* h : {&a, &b})
    for (const RequestInfo& r : h->requests) homes[r.session_key].insert(h);
  EXPECT_EQ(homes.size(), 17u);
  for (const auto& [session, routers] : homes) EXPECT_EQ(routers.size(), 1u) << session;
}

TEST(Replicas, FaultsReachAllRouters) {
  WorldConfig c = config_of(3, "lmetric");
  c.replicas = 2;
  EngineFault crash;
  crash.kind = EngineFault::Kind::kCrash;
  crash.at = from_s(1);
  crash.until = from_s(3);
  c.engines[1].faults = {crash};
  c.scrape_delay = from_ms(5);
  const auto w = run(std::move(c), plan_of(300, 1000, 20),
                     [](std::string_view name) { return make_policy(name); });
  for (std::size_t r = 0; r < 2; ++r) {
    EXPECT_EQ(w->router(r).open_leases(), 0u);
    EXPECT_EQ(w->router(r).fleet().at(1).info.incarnation, 2u);
  }
}

}  // namespace
}  // namespace lodestar::sim
