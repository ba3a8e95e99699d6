// SPDX-License-Identifier: Apache-2.0
#include "sim/world.h"

#include <gtest/gtest.h>

#include <set>

#include "policies/catalog.h"
#include "sim/oracle.h"
#include "sim/world_testing.h"

namespace lodestar::sim {
namespace {

using testing::config_of;
using testing::plan_of;

PolicyFactory from_catalog() {
  return [](std::string_view name) { return make_policy(name); };
}

std::unique_ptr<World> run(WorldConfig config, std::shared_ptr<const WorkloadPlan> plan,
                           PolicyFactory factory = from_catalog()) {
  auto world = World::create(std::move(config), Workload(std::move(plan)), std::move(factory));
  EXPECT_TRUE(world.has_value()) << (world ? "" : world.error().message);
  (*world)->run();
  return std::move(*world);
}

EngineFault fault(EngineFault::Kind kind, double at_s, double until_s = 0, double factor = 1) {
  return {kind, from_s(at_s), from_s(until_s), factor};
}

TEST(World, EveryRequestEndsExactlyOnceAndNothingIsLeftInTheRouter) {
  auto w = run(config_of(3), plan_of(200, 1000, 40));
  EXPECT_EQ(w->records().size(), 200u);
  EXPECT_EQ(w->unfinished(), 0u);
  EXPECT_EQ(w->router().open_leases(), 0u);
  EXPECT_EQ(w->router().active_requests(), 0u);
  for (const RequestRecord& r : w->records()) {
    EXPECT_FALSE(r.failed);
    EXPECT_EQ(r.output_tokens, 20);
    EXPECT_GT(r.first_token, r.arrival);
    EXPECT_GT(r.last_token, r.first_token);
  }
  for (Fleet::Slot s : w->router().fleet().present()) {
    EXPECT_EQ(w->router().fleet().at(s).own.inflight, 0);
    EXPECT_DOUBLE_EQ(w->router().fleet().at(s).own.pending_uncached_tokens, 0);
  }
}

TEST(World, SameSeedSameBitsOverEveryPolicyWithFaultsJitterAndScrapeLoss) {
  for (const CatalogRow& row : catalog()) {
    const auto once = [&](std::uint64_t seed) {
      WorldConfig c = config_of(3, std::string(row.name));
      c.seed = seed;
      c.scrape_loss = 0.3;
      c.network_delay = from_ms(2);
      for (WorldEngine& e : c.engines) e.config.jitter.sigma = 0.05;
      c.engines[1].faults = {fault(EngineFault::Kind::kCrash, 2.0, 3.0)};
      c.engines[2].faults = {fault(EngineFault::Kind::kSlow, 1.0, 4.0, 3.0)};
      const auto w = run(std::move(c), plan_of(150, 1500, 40));
      return std::pair{w->router().decision_hash(), w->router().state_hash()};
    };
    EXPECT_EQ(once(7), once(7)) << row.name;
    // Jitter differs, so times differ; a rule that looks at load must notice.
    if (row.name == "least-request") {
      EXPECT_NE(once(7).first, once(8).first);
    }
  }
}

TEST(World, NetworkDelayShowsTwiceInTtftOfAnIdleEngine) {
  const auto ttft = [](double delay_ms) {
    WorldConfig c = config_of(1);
    c.network_delay = from_ms(delay_ms);
    const auto w = run(std::move(c), plan_of(1, 800, 0));
    return to_ms(w->records()[0].first_token - w->records()[0].arrival);
  };
  EXPECT_NEAR(ttft(5) - ttft(0), 10.0, 1e-6);
}

TEST(World, PromptThatCannotFitIsRefusedAndCountedAsFailed) {
  const auto w = run(config_of(2), plan_of(4, 60'000, 100));
  const CellResult cell = w->result();
  EXPECT_EQ(cell.failed, 4u);
  EXPECT_EQ(w->unfinished(), 0u);
  EXPECT_EQ(w->router().open_leases(), 0u);
}

TEST(World, CrashFailsWhatStreamsAndRetriesWhatHasNoByteYet) {
  WorldConfig c = config_of(2);
  c.engines[0].faults = {fault(EngineFault::Kind::kCrash, 1.0, 5.0)};
  const auto w = run(std::move(c), plan_of(100, 2000, 30, 100));
  std::uint64_t failed = 0, retried = 0;
  for (const RequestRecord& r : w->records()) {
    failed += r.failed;
    retried += r.attempts > 1;
    if (r.attempts > 1 && !r.failed) {
      EXPECT_EQ(r.instance, 1u);
    }
    // While the engine is away nothing may be placed there.
    if (r.arrival > from_s(1.0) && r.arrival < from_s(5.0)) {
      EXPECT_EQ(r.instance, 1u) << to_s(r.arrival);
    }
  }
  EXPECT_GT(failed, 0u);
  EXPECT_GT(retried, 0u);
  EXPECT_EQ(w->unfinished(), 0u);
  EXPECT_EQ(w->router().open_leases(), 0u);
}

TEST(World, RestartedEngineStartsWithAnEmptyCacheInTheRoutersEyes) {
  WorldConfig c = config_of(1, "lmetric");
  c.engines[0].faults = {fault(EngineFault::Kind::kCrash, 30.0)};
  auto plan =
      std::make_shared<WorkloadPlan>(*plan_of(2, 1000, 60'000));  // 2nd shares half with the 1st
  const auto w = run(std::move(c), plan);
  ASSERT_FALSE(w->records()[1].failed);
  EXPECT_EQ(w->records()[1].cached_tokens, 0);
  const auto without = run(config_of(1, "lmetric"), plan_of(2, 1000, 60'000));
  EXPECT_GT(without->records()[1].cached_tokens, 400);
}

TEST(World, JoinAndLeaveChangeWhoIsRoutedTo) {
  WorldConfig c = config_of(3);
  c.engines[1].faults = {fault(EngineFault::Kind::kJoin, 2.0)};
  c.engines[2].faults = {fault(EngineFault::Kind::kLeave, 2.0)};
  const auto w = run(std::move(c), plan_of(200, 1000, 20));
  std::set<std::uint32_t> early, late;
  for (const RequestRecord& r : w->records()) {
    EXPECT_FALSE(r.failed);
    (r.arrival < from_s(2.0) ? early : late).insert(r.instance);
  }
  EXPECT_EQ(early, (std::set<std::uint32_t>{0, 2}));
  EXPECT_EQ(late, (std::set<std::uint32_t>{0, 1}));
}

TEST(World, EndOfALeaveEndsWhatStillRuns) {
  WorldConfig c = config_of(3);
  c.engines[1].faults = {fault(EngineFault::Kind::kLeave, 1.0, 1.1)};
  const auto w = run(std::move(c), plan_of(120, 2000, 25, 60));
  EXPECT_EQ(w->unfinished(), 0u);
  EXPECT_EQ(w->router().open_leases(), 0u);
}

TEST(World, SlowAndFrozenEnginesDelayTheirRequests) {
  const auto worst_ttft = [](std::vector<EngineFault> faults) {
    WorldConfig c = config_of(1);
    c.engines[0].faults = std::move(faults);
    const auto w = run(std::move(c), plan_of(20, 1000, 300));
    TimeNs worst = 0;
    for (const RequestRecord& r : w->records()) worst = std::max(worst, r.first_token - r.arrival);
    return to_ms(worst);
  };
  const double healthy = worst_ttft({});
  EXPECT_GT(worst_ttft({fault(EngineFault::Kind::kSlow, 1.0, 3.0, 3.0)}), 2 * healthy);
  EXPECT_GT(worst_ttft({fault(EngineFault::Kind::kFreeze, 1.0, 3.0)}), 1500);
}

class HoldForever final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext&, Decision& out, PolicyActions&) override {
    out.kind = Decision::Kind::kHold;
  }
};

TEST(World, RunWithHeldRequestsEndsAndSaysSo) {
  const auto w = run(config_of(2), plan_of(5, 500, 10),
                     [](std::string_view) -> Result<std::unique_ptr<Policy>> {
                       return std::make_unique<HoldForever>();
                     });
  EXPECT_EQ(w->unfinished(), 5u);
  EXPECT_EQ(w->result().unfinished, 5u);
}

// The router must not be able to know the true output length.
class OutputLengthSpy final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    EXPECT_EQ(context.request.max_output_tokens, 0);
    out.place(0);
  }
};

TEST(World, RouterNeverSeesTheTrueOutputLength) {
  run(config_of(1), plan_of(5, 500, 10, 77),
      [](std::string_view) -> Result<std::unique_ptr<Policy>> {
        return std::make_unique<OutputLengthSpy>();
      });
}

TEST(World, OracleIsNotBeatenByCountingOnUnequalEngines) {
  const auto mean_ttft = [](bool oracle) {
    WorldConfig c = config_of(3);
    c.engines[0].config.speed_factor = 4;
    const World* self = nullptr;
    auto world = World::create(
        std::move(c), Workload(plan_of(300, 3000, 120, 10)),
        [&](std::string_view name) -> Result<std::unique_ptr<Policy>> {
          if (oracle) return make_oracle(*self, 0);
          return make_policy(name);
        },
        [&](const World* w) { self = w; });
    (*world)->run();
    return *(*world)->result().ttft_ms.mean;
  };
  EXPECT_LT(mean_ttft(true), 0.8 * mean_ttft(false));
}

TEST(OracleNoise, IsReadFromTheNameOrRefused) {
  EXPECT_TRUE(names_oracle("oracle"));
  EXPECT_TRUE(names_oracle("oracle:noise=0.2"));
  EXPECT_FALSE(names_oracle("oracles"));
  EXPECT_EQ(oracle_noise("oracle").value(), 0);
  EXPECT_EQ(oracle_noise("oracle:noise=0.2").value(), 0.2);
  for (const char* bad : {"oracle:", "oracle:noise=", "oracle:noise=x", "oracle:noise=-1",
                          "oracle:noise=0.2x", "oracle:nois=1", "oracle:n"})
    EXPECT_FALSE(oracle_noise(bad).has_value()) << bad;
}

}  // namespace
}  // namespace lodestar::sim
