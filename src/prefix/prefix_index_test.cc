// SPDX-License-Identifier: Apache-2.0
#include "prefix/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"

namespace lodestar {
namespace {

using Chain = std::vector<std::uint64_t>;
constexpr DurationNs kTick = 10 * kMillisecond;  // resolution of last_use

Chain chain_of(std::uint64_t tag, std::size_t length) {
  Chain chain;
  std::uint64_t h = mix64(tag + 77);
  for (std::size_t i = 0; i < length; ++i) chain.push_back(h = hash_combine(h, 3));
  return chain;
}

// Extends a chain as a hasher does: each hash covers all before it.
void extend(Chain& chain, std::uint64_t what, std::size_t length) {
  for (std::size_t i = 0; i < length; ++i)
    chain.push_back(hash_combine(chain.empty() ? 77 : chain.back(), what));
}

// Only a collision can make chains that contradict each other. The index may then
// answer anything, but keeps its bounds and forgets all when told to.
TEST(PrefixIndex, ChainsThatContradictEachOtherBreakNothing) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    PrefixIndex index;
    PrefixIndex::Match match;
    for (PrefixIndex::Slot s = 0; s < 4; ++s) index.open_slot(s, 30);
    for (int step = 0; step < 2000; ++step) {
      Chain chain(rng.below(20));
      for (std::uint64_t& hash : chain) hash = mix64(rng.below(25));
      const auto slot = static_cast<PrefixIndex::Slot>(rng.below(4));
      index.insert(slot, chain, step);
      index.match(chain, match);
      ASSERT_EQ(match.depth[slot], chain.size());
      ASSERT_LE(index.holdings(slot), 30u);
      if (rng.below(3) == 0) index.erase(slot, mix64(rng.below(25)));
    }
    for (PrefixIndex::Slot s = 0; s < 4; ++s) index.clear_slot(s);
    ASSERT_EQ(index.blocks(), 0u);
    ASSERT_EQ(index.nodes(), 0u);
  }
}

TEST(PrefixIndex, AConversationIsAFewNodesHoweverLong) {
  PrefixIndex index;
  index.open_slot(0, 0);
  index.open_slot(1, 0);
  Chain one, two;
  extend(one, 1, 32);
  two = one;
  extend(two, 3, 400);
  for (std::uint64_t turn = 0; turn < 20; ++turn) {
    extend(one, 10 + turn, 50);
    index.insert(0, one, static_cast<TimeNs>(turn) * kSecond);
  }
  index.insert(1, two, 30 * kSecond);
  EXPECT_EQ(index.blocks(), 32u + 20 * 50 + 400);
  EXPECT_EQ(index.nodes(), 3u);
  EXPECT_LT(index.bytes(), 20'000u + index.blocks() * 20);
}

TEST(PrefixIndex, AnErasedBlockEndsTheMatchUntilItIsBack) {
  PrefixIndex index;
  PrefixIndex::Match match;
  const Chain chain = chain_of(1, 100);
  for (PrefixIndex::Slot s : {0u, 1u}) {
    index.open_slot(s, 0);
    index.insert(s, chain, 0);
  }
  index.erase(0, chain[40]);
  index.erase(0, chain[99]);
  index.erase(0, chain[99]);
  index.erase(0, 12345);
  index.erase(7, chain[1]);
  index.match(chain, match);
  EXPECT_EQ(match.depth, (std::vector<std::uint32_t>{40, 100}));
  EXPECT_EQ(index.holdings(0), 98u);
  EXPECT_EQ(index.blocks(), 100u);
  index.insert(0, std::span(chain).first(41), kSecond);
  index.match(chain, match);
  EXPECT_EQ(match.depth[0], 99u) << "what lay behind the hole was still there";
  EXPECT_EQ(match.last_use[0], 0);
}

TEST(PrefixIndex, EvictsAChainFromItsTail) {
  PrefixIndex index;
  index.open_slot(0, 10);
  const Chain old = chain_of(1, 10);
  index.insert(0, old, 0);
  PrefixIndex::Match match;
  for (std::size_t i = 1; i <= 10; ++i) {
    index.insert(0, chain_of(100 + i, 1), kSecond);
    index.match(old, match);
    EXPECT_EQ(match.depth[0], 10 - i);
    EXPECT_EQ(index.holdings(0), 10u);
  }
  EXPECT_EQ(index.evictions(), 10u);
}

TEST(PrefixIndex, AMatchDoesNotMakeAChainRecent) {
  PrefixIndex index;
  index.open_slot(0, 4);
  const Chain a = chain_of(1, 2), b = chain_of(2, 2);
  index.insert(0, a, 0);
  index.insert(0, b, kSecond);
  PrefixIndex::Match match;
  for (int i = 0; i < 10; ++i) index.match(a, match);
  index.insert(0, chain_of(3, 2), 2 * kSecond);
  index.match(a, match);
  EXPECT_EQ(match.depth[0], 0u);
  index.match(b, match);
  EXPECT_EQ(match.depth[0], 2u);
}

TEST(PrefixIndex, PlacingAgainMakesAChainRecentOnThatInstanceOnly) {
  PrefixIndex index;
  PrefixIndex::Match match;
  const Chain a = chain_of(1, 2), b = chain_of(2, 2);
  for (PrefixIndex::Slot s : {0u, 1u}) {
    index.open_slot(s, 4);
    index.insert(s, a, 0);
    index.insert(s, b, kSecond);
  }
  index.insert(0, a, 2 * kSecond);
  for (PrefixIndex::Slot s : {0u, 1u}) index.insert(s, chain_of(3, 2), 3 * kSecond);
  index.match(a, match);
  EXPECT_EQ(match.depth[0], 2u);
  EXPECT_EQ(match.depth[1], 0u);
  EXPECT_EQ(match.last_use[0], 2 * kSecond);
}

TEST(PrefixIndex, AChainLongerThanTheCapacityKeepsItsHead) {
  PrefixIndex index;
  index.open_slot(0, 8);
  const Chain chain = chain_of(1, 100);
  index.insert(0, chain, 0);
  PrefixIndex::Match match;
  index.match(chain, match);
  EXPECT_EQ(match.depth[0], 8u);
  EXPECT_EQ(index.holdings(0), 8u);
}

TEST(PrefixIndex, AClearedSlotStartsCold) {
  PrefixIndex index;
  PrefixIndex::Match match;
  const Chain chain = chain_of(1, 20);
  index.open_slot(0, 0);
  index.open_slot(1, 0);
  index.insert(0, chain, 0);
  index.insert(1, chain, 0);
  index.clear_slot(0);
  index.match(chain, match);
  EXPECT_EQ(match.depth[0], 0u);
  EXPECT_EQ(match.depth[1], 20u);
  index.clear_slot(1);
  EXPECT_EQ(index.blocks(), 0u);
  EXPECT_EQ(index.holdings(), 0u);
  index.clear_slot(99);  // unknown: nothing happens
}

TEST(PrefixIndex, EmptyIndexAndEmptyChain) {
  PrefixIndex index;
  PrefixIndex::Match match;
  index.match(chain_of(1, 5), match);
  EXPECT_TRUE(match.depth.empty());
  index.open_slot(3, 10);
  index.insert(3, {}, 0);
  index.match({}, match);
  EXPECT_EQ(match.depth, (std::vector<std::uint32_t>{0, 0, 0, 0}));
  EXPECT_EQ(match.last_use[3], kNever);
}

// A trie without a bound ran a peer out of memory (production-stack #687).
TEST(PrefixIndex, Trap10_AMillionUniquePromptsStayWithinTheBytes) {
  constexpr std::size_t kMax = std::size_t{32} << 20;
  PrefixIndex index({.max_bytes = kMax});
  for (PrefixIndex::Slot s = 0; s < 4; ++s) index.open_slot(s, 0);
  std::size_t worst = 0;
  for (std::uint64_t i = 0; i < 1'000'000; ++i) {
    index.insert(static_cast<PrefixIndex::Slot>(i % 4), chain_of(i, 3),
                 static_cast<TimeNs>(i) * 1000);
    if (i % 1024 == 0) worst = std::max(worst, index.bytes());
  }
  EXPECT_LE(std::max(worst, index.bytes()), kMax);
  EXPECT_GT(index.holdings(), kMax / 1000) << "the bound must be used, not hidden from";
  EXPECT_GT(index.evictions(), 2'000'000u);
  PrefixIndex::Match match;
  index.match(chain_of(999'999, 3), match);
  EXPECT_EQ(match.depth[3], 3u) << "the newest prompt is there";
}

// Bytes are bounded too when few blocks have very many holders.
TEST(PrefixIndex, ManyHoldersStayWithinTheBytes) {
  constexpr std::size_t kMax = std::size_t{8} << 20;
  PrefixIndex index({.max_bytes = kMax});
  for (PrefixIndex::Slot s = 0; s < 1000; ++s) index.open_slot(s, 0);
  for (std::uint64_t i = 0; i < 300; ++i)
    for (PrefixIndex::Slot s = 0; s < 1000; ++s)
      index.insert(s, chain_of(i, 2), static_cast<TimeNs>(i) * kSecond);
  EXPECT_LE(index.bytes(), kMax);
}

// The map of all blocks, which KV events need, counts as well.
TEST(PrefixIndex, KvEventsStayWithinTheBytes) {
  constexpr std::size_t kMax = std::size_t{8} << 20;
  PrefixIndex index({.max_bytes = kMax});
  for (PrefixIndex::Slot s = 0; s < 8; ++s) index.open_slot(s, 0);
  std::size_t worst = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    // Long chains fill the runs, then short ones the nodes.
    const Chain chain = chain_of(i, i < 1500 ? 700 : 2);
    const auto slot = static_cast<PrefixIndex::Slot>(i % 8);
    index.insert(slot, chain, static_cast<TimeNs>(i) * kSecond);
    if (i >= 700) index.erase(slot, chain[chain.size() / 2]);
    worst = std::max(worst, index.bytes());
  }
  EXPECT_LE(worst, kMax);
  EXPECT_GT(index.holdings(), 10'000u);
}

TEST(PrefixIndex, ATemplateHeldByAThousandInstances) {
  PrefixIndex index;
  const Chain head = chain_of(1, 512);
  for (PrefixIndex::Slot s = 0; s < 1000; ++s) {
    index.open_slot(s, 4096);
    index.insert(s, head, static_cast<TimeNs>(s) * kTick);
  }
  EXPECT_EQ(index.blocks(), 512u);
  EXPECT_EQ(index.holdings(), 512'000u);
  Chain longer = head;
  for (std::uint64_t h : chain_of(2, 100)) longer.push_back(h);
  index.insert(17, longer, 20 * kSecond);
  PrefixIndex::Match match;
  index.match(longer, match);
  for (std::size_t s = 0; s < 1000; ++s) {
    ASSERT_EQ(match.depth[s], s == 17 ? 612u : 512u);
    ASSERT_EQ(match.last_use[s], s == 17 ? 20 * kSecond : static_cast<TimeNs>(s) * kTick);
  }
}

}  // namespace
}  // namespace lodestar
