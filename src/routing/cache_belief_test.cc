// SPDX-License-Identifier: Apache-2.0
// The belief against a pretended engine: a set of cached blocks that the test loses,
// shrinks or never fills. How fast it works in a fleet is in tests/scenarios.
#include "routing/cache_belief.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "base/hash.h"
#include "base/rng.h"

namespace lodestar {
namespace {

constexpr double kBlock = 16;

class CacheBeliefTest : public ::testing::Test {
 protected:
  CacheBeliefTest() { open(10'000); }
  void open(std::size_t told) {
    told_ = told;
    index.open_slot(0, told);
    belief.open(0, InstanceId(7), told);
  }
  static std::vector<std::uint64_t> chain(std::uint64_t tag, std::size_t blocks = 100) {
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; i < blocks; ++i) out.push_back(hash_combine(mix64(tag), i));
    return out;
  }
  struct Placed {
    LeaseId lease;
    CacheClaim claim;
    std::vector<std::uint64_t> blocks;
  };
  // As the router does it: look, claim, insert.
  Placed place(std::vector<std::uint64_t> blocks) {
    PrefixIndex::Match match;
    index.match(blocks, match);
    const double prompt = kBlock * static_cast<double>(blocks.size()) + 5;
    const LeaseId lease{++last_lease_};
    const CacheClaim claim = belief.claim(now, 0, lease,
                                          {.chain = blocks,
                                           .depth = match.depth[0],
                                           .last_use = match.last_use[0],
                                           .hit_tokens = match.depth[0] * kBlock,
                                           .prompt_tokens = prompt,
                                           .used_blocks = 0},
                                          index);
    index.insert(0, blocks, now);
    return {lease, claim, std::move(blocks)};
  }
  // The answer: `cached` tokens, or none reported.
  std::optional<CacheBelief::Loss> end(Placed& p, std::optional<std::int64_t> cached) {
    now += 200 * kMillisecond;
    belief.computed(now, 0, p.lease, p.claim, true);
    now += 800 * kMillisecond;
    Usage usage;
    usage.prompt_tokens = static_cast<std::int64_t>(p.claim.prompt_tokens);
    usage.cached_tokens = cached;
    auto loss = belief.ended(now, 0, p.claim, usage, p.blocks, index);
    if (loss) {  // as the router answers it
      index.clear_slot(0);
      for (const auto& kept : loss->kept) index.insert(0, kept, now);
      belief.forgot(now, 0, loss->kind, 1);
    }
    return loss;
  }
  std::optional<CacheBelief::Loss> serve(std::vector<std::uint64_t> blocks,
                                         std::optional<std::int64_t> cached) {
    Placed p = place(std::move(blocks));
    return end(p, cached);
  }
  // As an engine that has everything that we placed.
  void serve_truly(std::uint64_t tag) {
    Placed p = place(chain(tag));
    const auto cached = static_cast<std::int64_t>(p.claim.believed_tokens);
    EXPECT_FALSE(end(p, cached).has_value());
  }
  std::uint64_t repairs(CacheRepair::Kind kind) const {
    return belief.report(0).repairs[static_cast<std::size_t>(kind)];
  }
  std::uint32_t believed(std::uint64_t tag) {
    PrefixIndex::Match match;
    index.match(chain(tag), match);
    return match.depth[0];
  }

  PrefixIndex index;
  CacheBelief belief{kBlock};
  TimeNs now = kSecond;
  std::size_t told_ = 0;

 private:
  std::uint64_t last_lease_ = 0;
};

TEST_F(CacheBeliefTest, UnknownIsOneAndTruthKeepsIt) {
  EXPECT_EQ(belief.correction(0), 1);
  EXPECT_EQ(belief.correction(99), 1) << "a slot nobody opened";
  for (int i = 0; i < 40; ++i) serve_truly(1 + i % 4);
  EXPECT_NEAR(belief.correction(0), 1, 1e-9);
  EXPECT_EQ(belief.repairs_total(), 0u);
  const auto report = belief.report(0);
  EXPECT_EQ(report.believed_tokens, 36 * 1600);
  EXPECT_EQ(report.confirmed_tokens, report.believed_tokens);
  EXPECT_EQ(report.unexpected_tokens, 0);
}

TEST_F(CacheBeliefTest, AbsentUsageIsUnknownNotZero) {
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(serve(chain(1), std::nullopt).has_value());
  EXPECT_EQ(belief.correction(0), 1);
  EXPECT_EQ(belief.report(0).believed_tokens, 0);
  EXPECT_EQ(believed(1), 100u);
}

TEST_F(CacheBeliefTest, AbsentIsZeroFromAnEngineThatLeavesZerosOut) {
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve(chain(tag), std::nullopt);
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve_truly(tag);
  EXPECT_FALSE(serve(chain(19), std::nullopt).has_value());
  EXPECT_TRUE(serve(chain(20), std::nullopt).has_value()) << "as vLLM says that it has nothing";
  // One that writes zeros means by absent what it says: nothing.
  serve(chain(99), 0);
  for (std::uint64_t tag = 200; tag <= 220; ++tag) serve(chain(tag), 0);
  for (std::uint64_t tag = 200; tag <= 220; ++tag) serve_truly(tag);
  for (std::uint64_t tag = 200; tag <= 210; ++tag)
    EXPECT_FALSE(serve(chain(tag), std::nullopt).has_value());
  EXPECT_EQ(repairs(CacheRepair::Kind::kLost), 1u);
}

TEST_F(CacheBeliefTest, LearnsThePartThatIsThere) {
  serve(chain(1), 0);
  for (int i = 0; i < 120; ++i) serve(chain(1), 1280);  // 80 % of what we believe
  EXPECT_NEAR(belief.correction(0), 0.8, 0.03);
  for (int i = 0; i < 120; ++i) serve(chain(1), 1600);
  EXPECT_NEAR(belief.correction(0), 1, 0.03) << "and forgets it again";
  EXPECT_EQ(belief.repairs_total(), 0u);
}

TEST_F(CacheBeliefTest, SilentLossClearsAllButWhatWasPlacedSince) {
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve_truly(tag);
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve_truly(tag);
  // The engine forgets. Two prompts, used moments ago, are not there any more.
  EXPECT_FALSE(serve(chain(19), 0).has_value());
  const auto loss = serve(chain(20), 0);
  ASSERT_TRUE(loss.has_value());
  EXPECT_EQ(loss->kind, CacheRepair::Kind::kLost);
  EXPECT_EQ(believed(5), 0u);
  EXPECT_EQ(believed(19), 100u) << "computed again since";
  EXPECT_EQ(believed(20), 100u);
  EXPECT_NEAR(belief.correction(0), 1, 1e-9) << "what we believe now is right again";
  ASSERT_EQ(belief.repairs().size(), 1u);
  EXPECT_EQ(belief.repairs()[0].instance, InstanceId(7));
}

TEST_F(CacheBeliefTest, OneMissAmongHitsIsNoLoss) {
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve_truly(tag);
  for (int round = 0; round < 3; ++round) {
    serve(chain(1 + round), 0);
    for (std::uint64_t tag = 10; tag <= 20; ++tag) serve_truly(tag);
  }
  EXPECT_EQ(repairs(CacheRepair::Kind::kLost), 0u);
  EXPECT_EQ(believed(15), 100u);
}

TEST_F(CacheBeliefTest, ABeliefThatWasStillBeingComputedProvesNothing) {
  for (std::uint64_t tag = 1; tag <= 5; ++tag) serve_truly(tag);
  // Ten at once with the same new prompt: the engine computes some of them twice.
  std::vector<Placed> burst;
  for (int i = 0; i < 10; ++i) burst.push_back(place(chain(50)));
  EXPECT_EQ(burst[0].claim.believed_tokens, 0);
  EXPECT_EQ(burst[9].claim.believed_tokens, 1600);
  EXPECT_EQ(burst[9].claim.certain_tokens, 0);
  for (Placed& p : burst) EXPECT_FALSE(end(p, 0).has_value());
  EXPECT_EQ(belief.correction(0), 1);
  EXPECT_EQ(belief.repairs_total(), 0u);
  // Its parts that were there before are certain.
  auto longer = chain(1);
  const auto more = chain(60);
  longer.insert(longer.end(), more.begin(), more.end());
  place(longer);
  const Placed second = place(longer);
  EXPECT_EQ(second.claim.believed_tokens, 3200);
  EXPECT_EQ(second.claim.certain_tokens, 1600);
}

TEST_F(CacheBeliefTest, AnEngineThatNeverCachesIsFoundOutAndForgivenOnAHit) {
  for (int i = 0; i < 30; ++i) serve(chain(1 + i % 3), 0);
  EXPECT_EQ(repairs(CacheRepair::Kind::kNotCaching), 1u);
  EXPECT_EQ(belief.correction(0), 0);
  EXPECT_LE(believed(1), 1u);
  serve(chain(1), 1600);
  EXPECT_EQ(belief.correction(0), 1);
  EXPECT_EQ(belief.report(0).capacity_blocks, told_);
}

// An LRU cache of `room` chains behind the belief; returns the share of believed
// tokens that came, over the last 100 of `rounds` requests on `tags` chains.
class LruEngine {
 public:
  explicit LruEngine(std::size_t room) : room_(room) {}
  std::int64_t use(std::uint64_t tag) {
    const bool hit = used_.contains(tag);
    used_[tag] = ++clock_;
    if (used_.size() > room_) {
      auto oldest = used_.begin();
      for (auto it = used_.begin(); it != used_.end(); ++it)
        if (it->second < oldest->second) oldest = it;
      used_.erase(oldest);
    }
    return hit ? 1600 : 0;
  }
  void resize(std::size_t room) {
    room_ = room;
    used_.clear();
  }

 private:
  std::size_t room_;
  std::uint64_t clock_ = 0;
  std::map<std::uint64_t, std::uint64_t> used_;
};

TEST_F(CacheBeliefTest, AnEngineWithASmallerCacheShrinksTheCapacityAndGrowsBack) {
  // Told 100 chains, room for 40. Mostly recent chains come back, some old ones too.
  LruEngine engine(100);
  Rng rng(3);
  const auto traffic = [&](int requests) {
    const auto before = belief.report(0);
    for (int i = 0; i < requests; ++i) {
      const std::uint64_t tag = rng.below(rng.below(2) == 0 ? 20 : 95);
      serve(chain(tag), engine.use(tag));
    }
    const auto after = belief.report(0);
    return (after.confirmed_tokens - before.confirmed_tokens) /
           (after.believed_tokens - before.believed_tokens);
  };
  EXPECT_GT(traffic(400), 0.99);
  EXPECT_EQ(belief.report(0).capacity_blocks, told_);
  engine.resize(40);
  traffic(300);
  EXPECT_GT(traffic(300), 0.85);
  EXPECT_GE(repairs(CacheRepair::Kind::kShrunk), 1u);
  EXPECT_LT(belief.report(0).capacity_blocks, 8000u);
  EXPECT_GT(belief.report(0).capacity_blocks, 1500u);
  engine.resize(100);
  traffic(4000);
  EXPECT_EQ(belief.report(0).capacity_blocks, told_) << "slowly, but all the way";
}

TEST_F(CacheBeliefTest, UnboundedCapacityCanShrinkToo) {
  open(0);
  LruEngine engine(30);
  Rng rng(3);
  for (int i = 0; i < 800; ++i) {
    const std::uint64_t tag = rng.below(rng.below(2) == 0 ? 20 : 95);
    serve(chain(tag), engine.use(tag));
  }
  EXPECT_GT(belief.report(0).capacity_blocks, 0u);
  EXPECT_LT(belief.report(0).capacity_blocks, 7000u);
}

TEST_F(CacheBeliefTest, MoreHitsThanBelievedAreCountedAndBounded) {
  serve_truly(1);
  for (int i = 0; i < 200; ++i) {
    Placed p = place(chain(1));
    p.claim.prompt_tokens = 16'000;
    p.claim.certain_tokens = p.claim.believed_tokens = 800;
    end(p, 8000);
  }
  EXPECT_NEAR(belief.correction(0), 1.5, 1e-3);
  EXPECT_GT(belief.report(0).unexpected_tokens, 1e6);
}

LoadSnapshot counters(double queries, double hits, TimeNs at) {
  LoadSnapshot load;
  load.prefix_queries_tokens = queries;
  load.prefix_hits_tokens = hits;
  load.taken_at = at;
  return load;
}

TEST_F(CacheBeliefTest, CountersThatGoBackwardsMeanARestart) {
  EXPECT_FALSE(belief.scraped(now, 0, counters(5000, 100, kSecond), index).has_value());
  EXPECT_FALSE(belief.scraped(now, 0, counters(0, 0, 2 * kSecond), index).has_value())
      << "not exported, or nothing asked yet";
  EXPECT_FALSE(belief.scraped(now, 0, counters(6000, 100, 3 * kSecond), index).has_value());
  EXPECT_FALSE(belief.scraped(now, 0, counters(10, 0, 2 * kSecond), index).has_value())
      << "an old scrape that came late";
  const auto loss = belief.scraped(now, 0, counters(700, 0, 4 * kSecond), index);
  ASSERT_TRUE(loss.has_value());
  EXPECT_EQ(loss->kind, CacheRepair::Kind::kRestarted);
  EXPECT_EQ(loss->since, 3 * kSecond);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (double absurd : {nan, -1.0, std::numeric_limits<double>::infinity()})
    EXPECT_FALSE(belief.scraped(now, 0, counters(absurd, 1, 9 * kSecond), index).has_value());
}

TEST_F(CacheBeliefTest, WithoutUsageTheEnginesOwnCountersAreTheEvidence) {
  double queries = 1000, hits = 1000;
  bool empty = false;
  std::optional<CacheBelief::Loss> loss;
  int requests = 0;
  const auto step = [&](std::uint64_t tag) {
    Placed p = place(chain(tag));
    queries += p.claim.prompt_tokens;
    if (!empty) hits += p.claim.believed_tokens;
    end(p, std::nullopt);
    loss = belief.scraped(now, 0, counters(queries, hits, now), index);
    ++requests;
  };
  for (int i = 0; i < 60; ++i) step(1 + i % 20);
  EXPECT_NEAR(belief.correction(0), 1, 0.02);
  EXPECT_EQ(belief.repairs_total(), 0u);
  EXPECT_GT(belief.report(0).believed_tokens, 0);
  empty = true;
  requests = 0;
  for (std::uint64_t tag = 1; tag <= 20 && !loss; ++tag) step(tag);
  ASSERT_TRUE(loss.has_value());
  EXPECT_EQ(loss->kind, CacheRepair::Kind::kLost);
  EXPECT_LE(requests, 16);
}

TEST_F(CacheBeliefTest, AbsurdUsageIsIgnored) {
  serve_truly(1);
  for (std::int64_t cached : {std::int64_t{-5}, std::int64_t{1} << 62}) {
    Placed p = place(chain(1));
    EXPECT_FALSE(end(p, cached).has_value());
  }
  EXPECT_GE(belief.correction(0), 1);
  EXPECT_LE(belief.correction(0), 1.5);
}

TEST_F(CacheBeliefTest, BetterFactsKeepWhatWasLearned) {
  EXPECT_EQ(belief.retell(0, 500), 500u);
  EXPECT_EQ(belief.report(0).told_blocks, 500u);
}

}  // namespace
}  // namespace lodestar
