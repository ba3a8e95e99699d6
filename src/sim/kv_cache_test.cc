// SPDX-License-Identifier: Apache-2.0
#include "sim/kv_cache.h"

#include <deque>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace lodestar::sim {
namespace {

TEST(KvCache, BlockZeroIsNeverHandedOut) {
  KvCache kv(4);
  EXPECT_EQ(kv.usable_blocks(), 3);
  EXPECT_EQ(kv.usage(), 0.0);
  EXPECT_EQ(kv.allocate(), 1u);
  EXPECT_EQ(kv.allocate(), 2u);
  EXPECT_EQ(kv.allocate(), 3u);
  EXPECT_EQ(kv.free_blocks(), 0);
  EXPECT_EQ(kv.usage(), 1.0);
}

TEST(KvCache, ForgottenIdentitiesLeaveTheUsersTheirBlocks) {
  KvCache kv(6);
  const std::uint32_t used[] = {kv.allocate(), kv.allocate()};
  const std::uint32_t freed[] = {kv.allocate()};
  kv.set_hash(used[0], 1);
  kv.set_hash(freed[0], 2);
  kv.release(freed);
  kv.forget_identities();
  EXPECT_EQ(kv.find(1), KvCache::kNullBlock);
  EXPECT_EQ(kv.find(2), KvCache::kNullBlock);
  EXPECT_EQ(kv.refs(used[0]), 1u);
  EXPECT_EQ(kv.free_blocks(), 3);
  kv.set_hash(used[0], 1);
  EXPECT_EQ(kv.find(1), used[0]);
  kv.release(used);
  kv.check_invariants();
}

TEST(KvCache, WithheldBlocksComeOutOfUseAsTheyAreFreed) {
  KvCache kv(11);
  std::vector<std::uint32_t> chain;
  for (int i = 0; i < 6; ++i) chain.push_back(kv.allocate());
  for (std::uint32_t i = 0; i < 6; ++i) kv.set_hash(chain[i], 100 + i);
  kv.withhold(7);  // four are free
  EXPECT_EQ(kv.withheld(), 4);
  EXPECT_EQ(kv.free_blocks(), 0);
  EXPECT_EQ(kv.usage(), 1.0);
  kv.release(chain);
  EXPECT_EQ(kv.withheld(), 7);
  EXPECT_EQ(kv.free_blocks(), 3);
  EXPECT_EQ(kv.usage(), 0.0) << "of what is there";
  EXPECT_NE(kv.find(100), KvCache::kNullBlock) << "the head was freed last";
  EXPECT_EQ(kv.find(105), KvCache::kNullBlock);
  kv.check_invariants();
  kv.lend_withheld();
  EXPECT_EQ(kv.free_blocks(), 10);
  const std::uint32_t one[] = {kv.allocate()};
  kv.release(one);
  EXPECT_EQ(kv.withheld(), 7) << "taken back";
  kv.withhold(0);
  EXPECT_EQ(kv.free_blocks(), 10);
  kv.check_invariants();
}

TEST(KvCache, FreesInReverseSoTheTailOfAChainGoesFirst) {
  KvCache kv(4);
  const std::uint32_t chain[] = {kv.allocate(), kv.allocate(), kv.allocate()};
  for (std::uint32_t i = 0; i < 3; ++i) kv.set_hash(chain[i], 100 + i);
  kv.release(chain);
  EXPECT_EQ(kv.free_blocks(), 3);
  EXPECT_EQ(kv.usage(), 0.0) << "cached but unreferenced counts as free";
  EXPECT_EQ(kv.allocate(), chain[2]);
  EXPECT_EQ(kv.find(102), KvCache::kNullBlock);
  EXPECT_EQ(kv.find(101), chain[1]) << "stays findable until popped";
  EXPECT_EQ(kv.allocate(), chain[1]);
  EXPECT_EQ(kv.find(100), chain[0]);
  EXPECT_EQ(kv.evictions(), 2);
}

TEST(KvCache, TouchTakesAHitOffTheFreeList) {
  KvCache kv(3);
  const std::uint32_t a[] = {kv.allocate()};
  kv.set_hash(a[0], 7);
  kv.release(a);
  kv.touch(kv.find(7));
  EXPECT_EQ(kv.free_blocks(), 1);
  EXPECT_NE(kv.allocate(), a[0]);
  kv.touch(a[0]);
  kv.release(a);
  EXPECT_EQ(kv.free_blocks(), 0) << "one of two users left";
  kv.release(a);
  EXPECT_EQ(kv.free_blocks(), 1);
}

TEST(KvCache, CopiesAreNotMergedAndTheOldestIsFound) {
  KvCache kv(5);
  const std::uint32_t a[] = {kv.allocate()}, b[] = {kv.allocate()}, c[] = {kv.allocate()};
  kv.set_hash(a[0], 7);
  kv.set_hash(b[0], 7);
  kv.set_hash(c[0], 7);
  EXPECT_EQ(kv.find(7), a[0]);
  EXPECT_EQ(kv.hashed_blocks(), 3);
  kv.release(b);
  kv.release(a);
  EXPECT_EQ(kv.allocate(), 4u);
  EXPECT_EQ(kv.allocate(), b[0]);
  EXPECT_EQ(kv.find(7), a[0]);
  EXPECT_EQ(kv.allocate(), a[0]);
  EXPECT_EQ(kv.find(7), c[0]) << "a younger copy takes over";
  kv.check_invariants();
}

// The same rules in the plainest data structures.
struct Reference {
  std::deque<std::uint32_t> free;
  std::map<std::uint32_t, int> refs;
  std::map<std::uint32_t, std::uint64_t> hash;
  std::map<std::uint64_t, std::vector<std::uint32_t>> copies;  // oldest first
  std::uint32_t allocate() {
    const std::uint32_t b = free.front();
    free.pop_front();
    if (hash.contains(b)) {
      std::erase(copies[hash[b]], b);
      hash.erase(b);
    }
    refs[b] = 1;
    return b;
  }
  std::uint32_t find(std::uint64_t h) {
    return copies[h].empty() ? KvCache::kNullBlock : copies[h].front();
  }
};

TEST(KvCache, RandomOperationsAgreeWithAPlainModel) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    const auto n = static_cast<std::uint32_t>(rng.between(2, 40));
    KvCache kv(n);
    Reference plain;
    for (std::uint32_t b = 1; b < n; ++b) plain.free.push_back(b);
    std::vector<std::vector<std::uint32_t>> held;
    for (int step = 0; step < 2000; ++step) {
      const std::uint64_t pick = rng.below(10);
      if (pick < 5) {  // a new chain: hits of a prefix, then fresh blocks
        std::vector<std::uint32_t> chain;
        const std::uint64_t root = rng.below(4) * 100, wanted = 1 + rng.below(6);
        while (chain.size() < wanted) {
          const std::uint32_t hit = kv.find(root + chain.size());
          ASSERT_EQ(hit, plain.find(root + chain.size()));
          if (hit == KvCache::kNullBlock || rng.below(5) == 0) break;
          kv.touch(hit);
          if (plain.refs[hit]++ == 0) std::erase(plain.free, hit);
          chain.push_back(hit);
        }
        while (chain.size() < wanted && kv.free_blocks() > 0) {
          const std::uint32_t b = kv.allocate();
          ASSERT_EQ(b, plain.allocate());
          if (rng.below(4) != 0) {
            const std::uint64_t h = root + chain.size();
            kv.set_hash(b, h);
            plain.hash[b] = h;
            plain.copies[h].push_back(b);
          }
          chain.push_back(b);
        }
        if (!chain.empty()) held.push_back(std::move(chain));
      } else if (!held.empty()) {
        const std::size_t which = rng.below(held.size());
        kv.release(held[which]);
        for (std::size_t i = held[which].size(); i-- > 0;)
          if (--plain.refs[held[which][i]] == 0) plain.free.push_back(held[which][i]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
      }
      ASSERT_EQ(kv.free_blocks(), static_cast<std::int64_t>(plain.free.size()));
      for (auto [b, refs] : plain.refs) ASSERT_EQ(kv.refs(b), static_cast<std::uint32_t>(refs));
      kv.check_invariants();
    }
  }
}

}  // namespace
}  // namespace lodestar::sim
