// SPDX-License-Identifier: Apache-2.0
// What every policy must do, run over every catalog row and the two test-only
// policies through the real router. The lab (lab.h) checks the rest of the
// contract on each event: valid placements, propensities, exact books.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "conformance/allocations.h"
#include "conformance/lab.h"
#include "conformance/rows.h"
#include "policies/scored_policy.h"

namespace lodestar::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

class Conformance : public ::testing::TestWithParam<std::string> {
 protected:
  const CatalogRow* row() const { return catalog_row(GetParam()); }
  bool randomized() const { return row() != nullptr && row()->randomized; }
};

TEST_P(Conformance, NoCandidateIsAClearRejection) {
  Lab lab(GetParam());
  const RequestId early = lab.arrive(100);
  EXPECT_EQ(lab.fate(early), Lab::Fate::kRejected);
  lab.up(1);
  lab.send(InstanceChanged{InstanceId(1), Health::kUnhealthy});
  const RequestId unhealthy = lab.arrive(100);
  EXPECT_EQ(lab.fate(unhealthy), Lab::Fate::kRejected);
  lab.send(InstanceChanged{InstanceId(1), Health::kUp});
  const RequestId fine = lab.arrive(100);
  lab.finish_all();
  EXPECT_EQ(lab.fate(fine), Lab::Fate::kPlaced);
}

TEST_P(Conformance, OneCandidateTakesEverything) {
  Lab lab(GetParam());
  lab.up(7);
  for (int i = 0; i < 40; ++i) {
    lab.arrive(50 + i, blocks_of(static_cast<std::uint64_t>(i % 3), 5), i % 2 ? "s" : "");
    lab.advance(kMillisecond);
  }
  lab.finish_all();
  EXPECT_EQ(lab.picks().size(), 40u);
  EXPECT_EQ(lab.router().counters().invalid_decisions, 0u);
}

// A thousand requests of all kinds over many instances: each answered once.
TEST_P(Conformance, ManyCandidatesEveryRequestIsAnswered) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 40; ++id) lab.up(id);
  Rng rng(11);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t group = rng.below(30);
    lab.arrive(static_cast<double>(rng.between(1, 4000)), blocks_of(group, rng.below(60)),
               rng.below(3) == 0 ? "session" + std::to_string(group) : "");
    lab.advance(static_cast<DurationNs>(rng.below(10 * kMillisecond)));
    if (rng.below(3) == 0 && !lab.open().empty()) {
      Ended end;
      end.lease = LeaseId(lab.open().begin()->first);
      end.output_tokens = 5;
      lab.send(end);
    }
  }
  lab.finish_all();
  EXPECT_EQ(lab.picks().size(), 1000u);
  EXPECT_EQ(lab.router().counters().invalid_decisions, 0u);
}

// An engine may export anything, a client may ask for anything.
TEST_P(Conformance, NanAndHugeInputsNeverLoseARequest) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 6; ++id) lab.up(id, 1, id == 6 ? 0 : 100000);
  const double wild[] = {kNan, kInf, -kInf, -5, 1e300, 0, 1e18, -0.0, 5e-324};
  constexpr std::size_t kWild = std::size(wild);
  std::size_t sent = 0;
  for (std::size_t k = 0; k < 3 * kWild; ++k) {
    for (std::uint32_t id = 1; id <= 6; ++id) {
      LoadSnapshot load;
      load.running = wild[(k + id) % kWild];
      load.waiting = wild[(k * 2 + id) % kWild];
      load.kv_usage = wild[(k * 5 + id * 3) % kWild];
      lab.scrape(id, load);
    }
    for (double tokens : {0.0, 1.0, 1e9}) {
      lab.arrive(tokens, blocks_of(k % 2, k % 4), k % 3 == 0 ? "s" : "");
      ++sent;
    }
    lab.advance(kMillisecond);
  }
  lab.finish_all();
  EXPECT_EQ(lab.picks().size(), sent);
  EXPECT_EQ(lab.router().counters().invalid_decisions, 0u);
}

TEST_P(Conformance, NoInstanceStarvesUnderBrokenGaugesOfAllEngines) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 4; ++id) lab.up(id, 1, 0);
  for (std::uint32_t id = 1; id <= 4; ++id) {
    LoadSnapshot load;
    load.running = load.waiting = load.kv_usage = kNan;
    lab.scrape(id, load);
  }
  for (std::uint64_t i = 0; i < 80; ++i) lab.arrive(500, blocks_of(i, 30), "s" + std::to_string(i));
  lab.finish_all();
  const auto count = lab.placements_by_instance(4);
  for (std::uint32_t id = 1; id <= 4; ++id) EXPECT_GE(count[id], 5u) << "instance " << id;
}

// Drives one fixed story and returns the picks by instance id.
std::vector<InstanceId> story(const std::string& policy, std::uint64_t seed,
                              const std::vector<std::uint32_t>& order, std::uint64_t* state) {
  Lab lab(policy, seed);
  for (std::uint32_t id : order) lab.up(id);
  Rng rng(5);
  for (int i = 0; i < 200; ++i) {
    for (std::uint32_t id = 1; i % 10 == 0 && id <= 8; ++id) {
      LoadSnapshot load;
      load.running = static_cast<double>(rng.below(9));
      load.waiting = static_cast<double>(rng.below(3));
      load.kv_usage = rng.uniform();
      lab.scrape(id, load);
    }
    const std::uint64_t group = rng.below(12);
    lab.arrive(static_cast<double>(rng.between(100, 3000)), blocks_of(group, 3 + rng.below(40)),
               rng.below(2) == 0 ? "s" + std::to_string(group) : "");
    if (i % 3 == 2 && !lab.open().empty()) {
      const LeaseId lease(lab.open().begin()->first);
      lab.send(FirstToken{lease});
      Ended end;
      end.lease = lease;
      end.output_tokens = 9;
      if (rng.below(2) == 0) lab.send(end);
    }
    lab.advance(static_cast<DurationNs>(rng.below(20 * kMillisecond)));
  }
  lab.finish_all();
  if (state != nullptr) *state = lab.router().state_hash();
  return lab.picks();
}

TEST_P(Conformance, ListOrderIsIrrelevant) {
  std::uint64_t a = 0, b = 0, c = 0;
  const auto forward = story(GetParam(), 3, {1, 2, 3, 4, 5, 6, 7, 8}, &a);
  const auto backward = story(GetParam(), 3, {8, 7, 6, 5, 4, 3, 2, 1}, &b);
  const auto mixed = story(GetParam(), 3, {4, 8, 1, 6, 2, 7, 3, 5}, &c);
  EXPECT_EQ(forward, backward);
  EXPECT_EQ(forward, mixed);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, c);
}

TEST_P(Conformance, SameSeedSamePicks) {
  std::uint64_t a = 0, b = 0;
  EXPECT_EQ(story(GetParam(), 9, {1, 2, 3, 4, 5, 6, 7, 8}, &a),
            story(GetParam(), 9, {1, 2, 3, 4, 5, 6, 7, 8}, &b));
  EXPECT_EQ(a, b);
}

// With loads, gauges and hits all different there is no tie, so only a policy
// that declares itself randomized may answer differently under another seed.
TEST_P(Conformance, SeedsMatterOnlyToRandomizedPolicies) {
  if (GetParam() == kHoldReorder) GTEST_SKIP() << "places four at once, and so makes ties";
  std::vector<std::vector<InstanceId>> outcomes;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Lab lab("round-robin", seed);
    for (std::uint32_t id = 1; id <= 6; ++id) lab.up(id);
    RequestInfo info;
    info.policy = "round-robin";
    // Instance k ends up with k requests of distinct lengths and prefixes.
    std::uint64_t tag = 100;
    for (int lap = 0; lap < 6; ++lap) {
      for (std::uint32_t id = 1; id <= 6; ++id) {
        const RequestId r = lab.arrive(1000.0 * id + 10 * lap, blocks_of(tag++, 40));
        if (lap < static_cast<int>(id)) continue;
        Ended end;
        end.lease = lab.leases_of(r).at(0);
        lab.send(end);
      }
    }
    for (std::uint32_t id = 1; id <= 6; ++id) {
      LoadSnapshot load;
      load.running = id;
      load.waiting = 0.5 * id;
      load.kv_usage = 0.1 * id;
      lab.scrape(id, load);
    }
    info.policy = GetParam();
    info.prompt_tokens = 640;
    info.block_tokens = 16;
    info.session_key = "key";
    std::vector<InstanceId> picks;
    for (std::uint64_t k = 0; k < 8; ++k) {
      info.block_hashes = blocks_of(100 + 7 * k, 40);
      const RequestId r = lab.arrive(info);
      if (lab.fate(r) != Lab::Fate::kPlaced) continue;
      picks.push_back(lab.where(r));
      for (LeaseId lease : lab.leases_of(r)) {
        Ended end;
        end.lease = lease;
        lab.send(end);
      }
    }
    outcomes.push_back(picks);
  }
  bool differs = false;
  for (const auto& picks : outcomes) differs = differs || picks != outcomes[0];
  EXPECT_EQ(differs, randomized());
}

// Departed incarnations own nothing; whoever comes back starts cold.
TEST_P(Conformance, InstancesAppearAndVanish) {
  Lab lab(GetParam());
  Rng rng(21);
  std::vector<Incarnation> life(9, 0);
  std::vector<bool> present(9, false);
  std::uint64_t tag = 0;
  for (int i = 0; i < 600; ++i) {
    const auto id = static_cast<std::uint32_t>(rng.between(1, 8));
    const std::uint64_t what = rng.below(10);
    if (what == 0 && present[id]) {
      lab.down(id);
      present[id] = false;
    } else if (what <= 1) {
      lab.up(id, ++life[id]);
      present[id] = true;
      const Fleet& fleet = lab.router().fleet();
      const Fleet::Slot slot = fleet.find(InstanceId(id));
      ASSERT_NE(slot, Fleet::kNoSlot);
      EXPECT_EQ(fleet.at(slot).own.inflight, 0);
      EXPECT_TRUE(fleet.at(slot).residents.empty());
      EXPECT_FALSE(fleet.at(slot).load.has_value());
      EXPECT_EQ(lab.router().prefix().holdings(slot), 0u);
    } else {
      ++tag;
      lab.arrive(200, blocks_of(tag % 5, 12), "s" + std::to_string(tag % 7));
    }
    if (!lab.open().empty() && rng.below(2) == 0) {
      Ended end;
      end.lease = LeaseId(lab.open().rbegin()->first);
      end.output_tokens = 3;
      lab.send(end);
    }
    lab.advance(3 * kMillisecond);
  }
  lab.finish_all();
}

// After a warm-up, deciding allocates nothing: neither the score nor the pick.
TEST_P(Conformance, DecidingDoesNotAllocate) {
  if (row() == nullptr) GTEST_SKIP() << "a test-only policy that keeps a queue by design";
  auto policy = make_policy(GetParam());
  ASSERT_TRUE(policy.has_value());
  constexpr std::size_t kInstances = 64;
  Fleet fleet;
  std::vector<Fleet::Slot> candidates;
  std::vector<FeatureRow> rows(kInstances);
  for (std::uint32_t i = 0; i < kInstances; ++i) {
    InstanceInfo info;
    info.id = InstanceId(i + 1);
    candidates.push_back(fleet.add(info));
    rows[i].prompt_tokens = 1000;
    rows[i].hit_tokens = i * 10.0;
    rows[i].hit_ratio = i * 0.01;
    rows[i].inflight = i % 5;
    rows[i].running = i % 7;
    rows[i].scrape_known = 1;
    rows[i].kv_usage = 0.9;
    rows[i].kv_capacity_tokens = 1e5;
  }
  RequestInfo request;
  request.prompt_tokens = 1000;
  request.block_tokens = 16;
  request.block_hashes = blocks_of(1, 62);
  Rng rng(1);
  Decision out;
  PolicyActions actions;
  const auto decide = [&](TimeNs now) {
    const DecisionContext context{now, request, RequestId(1), candidates, rows, fleet, rng, false};
    out.clear();
    (*policy)->decide(context, out, actions);
  };
  for (int i = 0; i < 10; ++i) decide(i * kSecond);
  const std::uint64_t before = allocation_count();
  for (int i = 10; i < 200; ++i) decide(i * kMillisecond);
  EXPECT_EQ(allocation_count() - before, 0u);
}

// The learning row must really learn in here, or it tests the fallback only.
TEST(LearningRow, PublishesAndUsesAPredictor) {
  Lab lab{kLearning};
  for (std::uint32_t id = 1; id <= 4; ++id) lab.up(id);
  int predicted = 0;
  for (std::uint64_t i = 0; i < 120; ++i) {
    const RequestId r = lab.arrive(500 + static_cast<double>(i), blocks_of(i % 9, 30));
    predicted += lab.dispatch(r).fallback ? 0 : 1;
    lab.advance(20 * kMillisecond);
    lab.send(FirstToken{lab.leases_of(r)[0]});
    Ended end;
    end.lease = lab.leases_of(r)[0];
    end.output_tokens = 3;
    lab.send(end);
  }
  EXPECT_GE(lab.rounds(), 2);
  EXPECT_GE(predicted, 50);
}

INSTANTIATE_TEST_SUITE_P(Catalog, Conformance, ::testing::ValuesIn(all_rows()), row_test_name);

// The counter itself must be able to fail.
TEST(Allocations, AreCounted) {
  const std::uint64_t before = allocation_count();
  auto p = std::make_unique<std::vector<int>>(100);
  EXPECT_GE(allocation_count() - before, 2u);
}

}  // namespace
}  // namespace lodestar::testing
