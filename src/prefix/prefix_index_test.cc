// SPDX-License-Identifier: Apache-2.0
#include "prefix/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <string>
#include <unordered_set>
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

// What the index must do, written as plainly as possible: per slot a list of
// (block, last use), newest last.
class NaiveIndex {
 public:
  explicit NaiveIndex(std::size_t slots) : slots_(slots) {}
  void open(std::size_t slot, std::size_t capacity) { slots_[slot] = {{}, capacity}; }
  void clear(std::size_t slot) { slots_[slot].blocks.clear(); }
  void set_capacity(std::size_t slot, std::size_t capacity) {
    slots_[slot].capacity = capacity;
    shrink(slot);
  }
  void insert(std::size_t slot, const Chain& chain, TimeNs now) {
    const std::size_t capacity = slots_[slot].capacity;
    const std::size_t n = capacity == 0 ? chain.size() : std::min(chain.size(), capacity);
    for (std::size_t i = n; i-- > 0;) {
      erase(slot, chain[i]);
      slots_[slot].blocks.push_back({chain[i], now / kTick * kTick});
    }
    shrink(slot);
  }
  void erase(std::size_t slot, std::uint64_t hash) {
    slots_[slot].blocks.remove_if([&](const Held& h) { return h.hash == hash; });
  }
  std::size_t depth(std::size_t slot, const Chain& chain, TimeNs* last_use) const {
    std::size_t depth = 0;
    *last_use = kNever;
    for (; depth < chain.size(); ++depth) {
      const auto& blocks = slots_[slot].blocks;
      const auto it = std::find_if(blocks.begin(), blocks.end(),
                                   [&](const Held& h) { return h.hash == chain[depth]; });
      if (it == blocks.end()) break;
      *last_use = it->used;
    }
    return depth;
  }
  std::size_t holdings(std::size_t slot) const { return slots_[slot].blocks.size(); }
  std::size_t blocks() const {
    std::unordered_set<std::uint64_t> all;
    for (const Slot& slot : slots_)
      for (const Held& h : slot.blocks) all.insert(h.hash);
    return all.size();
  }

 private:
  struct Held {
    std::uint64_t hash;
    TimeNs used;
  };
  struct Slot {
    std::list<Held> blocks;
    std::size_t capacity = 0;
  };
  void shrink(std::size_t slot) {
    Slot& s = slots_[slot];
    while (s.capacity != 0 && s.blocks.size() > s.capacity) s.blocks.pop_front();
  }
  std::vector<Slot> slots_;
};

// A chain that shares a prefix of random length with others; now and then one that
// names a block twice, as a collision or a broken client would.
Chain random_chain(Rng& rng) {
  Chain chain = chain_of(rng.below(4), rng.below(12));
  const Chain tail = chain_of(100 + rng.below(6), rng.below(8));
  chain.insert(chain.end(), tail.begin(), tail.end());
  if (!chain.empty() && rng.below(20) == 0) chain.push_back(chain[rng.below(chain.size())]);
  return chain;
}

void compare(const PrefixIndex& index, const NaiveIndex& naive, std::size_t slots,
             const Chain& probe, PrefixIndex::Match& match) {
  index.match(probe, match);
  for (std::size_t s = 0; s < slots; ++s) {
    TimeNs last_use = 0;
    ASSERT_EQ(match.depth.at(s), naive.depth(s, probe, &last_use)) << "slot " << s;
    ASSERT_EQ(match.last_use.at(s), last_use) << "slot " << s;
    ASSERT_EQ(index.holdings(static_cast<PrefixIndex::Slot>(s)), naive.holdings(s)) << "slot " << s;
  }
  ASSERT_EQ(index.blocks(), naive.blocks());
}

TEST(PrefixIndex, AgreesWithANaiveModelUnderRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    // Beyond 64 slots a block's holders need a second word.
    const std::size_t slots = seed % 3 == 0 ? 70 : 5;
    PrefixIndex index;
    NaiveIndex naive(slots);
    PrefixIndex::Match match;
    for (PrefixIndex::Slot s = 0; s < slots; ++s) {
      const std::size_t capacity = rng.below(3) == 0 ? 0 : rng.below(25) + 1;
      index.open_slot(s, capacity);
      naive.open(s, capacity);
    }
    TimeNs now = kSecond;
    for (int step = 0; step < 400; ++step) {
      now += static_cast<DurationNs>(rng.below(30 * kMillisecond));
      const auto slot = static_cast<PrefixIndex::Slot>(rng.below(slots));
      const Chain chain = random_chain(rng);
      const std::uint64_t what = rng.below(20);
      if (what < 14) {
        index.insert(slot, chain, now);
        naive.insert(slot, chain, now);
      } else if (what < 17 && !chain.empty()) {
        const std::uint64_t hash = chain[rng.below(chain.size())];
        index.erase(slot, hash);
        naive.erase(slot, hash);
      } else if (what == 17) {
        index.clear_slot(slot);
        naive.clear(slot);
      } else if (what == 18) {
        const std::size_t capacity = rng.below(20) + 1;
        index.set_capacity(slot, capacity);
        naive.set_capacity(slot, capacity);
      } else if (what == 19) {
        index.open_slot(slot, 9);
        naive.open(slot, 9);
      }
      compare(index, naive, slots, random_chain(rng), match);
      if (HasFatalFailure()) return;
    }
  }
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
