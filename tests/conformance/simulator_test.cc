// SPDX-License-Identifier: Apache-2.0
// Every policy, and the two that need the router's whole shape, through the
// simulator: nothing is lost, nothing is left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "conformance/test_policies.h"
#include "policies/catalog.h"
#include "sim/world_testing.h"

namespace lodestar::testing {
namespace {
using sim::RequestRecord;
using sim::Workload;
using sim::World;
using sim::WorldConfig;

std::unique_ptr<World> run(WorldConfig config, int requests, double gap_ms) {
  auto world =
      World::create(std::move(config), Workload(sim::testing::plan_of(requests, 1200, gap_ms, 30)),
                    make_test_policy);
  EXPECT_TRUE(world.has_value());
  (*world)->run();
  return std::move(*world);
}

std::vector<std::string> all_policies() {
  std::vector<std::string> names;
  for (const CatalogRow& row : catalog()) names.emplace_back(row.name);
  names.emplace_back(kHoldReorder);
  names.emplace_back(kPair);
  return names;
}

class InSimulator : public ::testing::TestWithParam<std::string> {};

TEST_P(InSimulator, EveryRequestEndsOnceUnderFaults) {
  WorldConfig c = sim::testing::config_of(4, GetParam());
  c.network_delay = from_ms(1);
  c.engines[1].faults = {{sim::EngineFault::Kind::kCrash, from_s(1.5), from_s(2.5), 1}};
  c.engines[2].faults = {{sim::EngineFault::Kind::kJoin, from_s(1.0), 0, 1}};
  c.engines[3].faults = {{sim::EngineFault::Kind::kLeave, from_s(2.0), 0, 1}};
  const auto w = run(std::move(c), 160, 25);
  EXPECT_EQ(w->records().size(), 160u);
  EXPECT_EQ(w->unfinished(), 0u);
  EXPECT_EQ(w->router().active_requests(), 0u);
  EXPECT_EQ(w->router().open_leases(), 0u);
  for (Fleet::Slot s : w->router().fleet().present())
    EXPECT_EQ(w->router().fleet().at(s).own.inflight, 0) << w->router().fleet().at(s).info.name;
  for (const RequestRecord& r : w->records()) {
    if (!r.failed) {
      EXPECT_EQ(r.output_tokens, 30);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPolicy, InSimulator, ::testing::ValuesIn(all_policies()),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(InSimulatorShape, HeldRequestsAreAnsweredOutOfOrder) {
  const auto w = run(sim::testing::config_of(1, std::string(kHoldReorder)), 40, 4);
  int overtaken = 0;
  for (std::size_t i = 1; i < w->records().size(); ++i)
    overtaken += w->records()[i].first_token < w->records()[i - 1].first_token;
  EXPECT_GT(overtaken, 10);
  EXPECT_GT(w->router().counters().held, 30u);
}

TEST(InSimulatorShape, PairsRunThePromptTwiceAndAnswerFromTheSecondInstance) {
  const auto w = run(sim::testing::config_of(3, std::string(kPair)), 30, 200);
  const sim::CellResult cell = w->result();
  EXPECT_EQ(cell.failed, 0u);
  EXPECT_EQ(w->router().counters().ended, 60u);  // two leases per request
  // Two prefills in sequence: about twice the TTFT of one.
  const auto one = run(sim::testing::config_of(3, "round-robin"), 30, 200);
  EXPECT_GT(*cell.ttft_ms.p50, 1.6 * *one->result().ttft_ms.p50);
}

}  // namespace
}  // namespace lodestar::testing
