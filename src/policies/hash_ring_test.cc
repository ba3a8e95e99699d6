// SPDX-License-Identifier: Apache-2.0
#include "policies/hash_ring.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"

namespace lodestar {
namespace {

class HashRing : public ::testing::Test {
 protected:
  void instances(const std::vector<std::uint32_t>& ids) {
    fleet_ = Fleet();
    slots_.clear();
    for (std::uint32_t id : ids) {
      InstanceInfo info;
      info.id = InstanceId(id);
      fleet_.add(info);
    }
    slots_.assign(fleet_.present().begin(), fleet_.present().end());
    rows_.assign(slots_.size(), FeatureRow{});
  }
  std::vector<std::uint32_t> top(std::uint64_t key, std::size_t k) {
    const DecisionContext context{0, request_, RequestId(1), slots_, rows_, fleet_, rng_, false};
    std::vector<std::size_t> out(k);
    out.resize(rendezvous_top(key, context, out));
    std::vector<std::uint32_t> ids;
    for (std::size_t i : out) ids.push_back(context.instance(i).info.id.value);
    return ids;
  }
  static std::vector<std::uint32_t> upto(std::uint32_t n) {
    std::vector<std::uint32_t> ids;
    for (std::uint32_t i = 1; i <= n; ++i) ids.push_back(i);
    return ids;
  }

  Fleet fleet_;
  std::vector<Fleet::Slot> slots_;
  std::vector<FeatureRow> rows_;
  RequestInfo request_;
  Rng rng_{1};
};

constexpr std::uint64_t kKeys = 20000;
std::uint64_t key(std::uint64_t i) { return hash_string("session " + std::to_string(i)); }

TEST_F(HashRing, NinthInstanceMovesOneNinthOfTheKeysAndOnlyToItself) {
  std::vector<std::uint32_t> before(kKeys);
  instances(upto(8));
  for (std::uint64_t i = 0; i < kKeys; ++i) before[i] = top(key(i), 1)[0];
  instances(upto(9));
  std::uint64_t moved = 0;
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    const std::uint32_t now = top(key(i), 1)[0];
    if (now == before[i]) continue;
    ++moved;
    ASSERT_EQ(now, 9u);
  }
  const double share = static_cast<double>(moved) / kKeys;
  EXPECT_LE(share, 0.15);
  EXPECT_NEAR(share, 1.0 / 9, 0.01);
}

TEST_F(HashRing, ALeavingInstanceGivesUpItsOwnKeysOnly) {
  std::vector<std::uint32_t> before(kKeys);
  instances(upto(8));
  for (std::uint64_t i = 0; i < kKeys; ++i) before[i] = top(key(i), 1)[0];
  instances({1, 2, 3, 5, 6, 7, 8});
  for (std::uint64_t i = 0; i < kKeys; ++i)
    if (before[i] != 4) {
      ASSERT_EQ(top(key(i), 1)[0], before[i]);
    }
}

TEST_F(HashRing, KeysSpreadEvenly) {
  for (std::uint32_t n : {2u, 8u, 50u}) {
    instances(upto(n));
    std::vector<double> count(n + 1, 0);
    for (std::uint64_t i = 0; i < kKeys; ++i) count[top(key(i), 1)[0]] += 1;
    const double mean = static_cast<double>(kKeys) / n;
    for (std::uint32_t id = 1; id <= n; ++id)
      EXPECT_NEAR(count[id], mean, 5 * std::sqrt(mean)) << n;
  }
}

// With K = 2 of 7 -> 8 an ideal hash keeps 1.75 of 2 choices; modulo keeps 0.25.
TEST_F(HashRing, TheTopTwoHardlyChangeEither) {
  std::vector<std::vector<std::uint32_t>> before(kKeys);
  instances(upto(7));
  for (std::uint64_t i = 0; i < kKeys; ++i) before[i] = top(key(i), 2);
  instances(upto(8));
  double kept = 0;
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    const auto now = top(key(i), 2);
    for (std::uint32_t id : now) kept += id == before[i][0] || id == before[i][1];
  }
  EXPECT_NEAR(kept / kKeys, 1.75, 0.02);
}

TEST_F(HashRing, TopIsOrderedDistinctAndNeverLongerThanTheFleet) {
  instances(upto(5));
  const auto five = top(key(1), 9);
  EXPECT_EQ(std::set<std::uint32_t>(five.begin(), five.end()).size(), 5u);
  for (std::size_t k = 1; k <= 5; ++k)
    EXPECT_EQ(top(key(1), k), std::vector<std::uint32_t>(
                                  five.begin(), five.begin() + static_cast<std::ptrdiff_t>(k)));
}

TEST(PrefixGroup, IsTheBlockAtTheDepthOrTheLast) {
  RequestInfo r;
  EXPECT_EQ(prefix_group(r, 256), 0u);
  r.block_hashes = {11, 12, 13, 14};
  r.block_tokens = 16;
  EXPECT_EQ(prefix_group(r, 48), 13u);
  EXPECT_EQ(prefix_group(r, 256), 14u) << "a shorter prompt: its last full block";
  EXPECT_EQ(prefix_group(r, 1), 11u);
  r.block_tokens = 512;
  EXPECT_EQ(prefix_group(r, 256), 11u) << "at least one block";
  r.block_tokens = 0;
  r.block_bytes = 256;  // the live view: 64 tokens or so
  EXPECT_EQ(prefix_group(r, 128), 12u);
  r.block_bytes = 0;
  EXPECT_EQ(prefix_group(r, 128), 11u);
}

TEST(AffinityKey, TheSessionComesFirst) {
  RequestInfo r;
  EXPECT_EQ(affinity_key(r, 256), 0u);
  r.block_hashes = {11};
  r.block_tokens = 16;
  EXPECT_EQ(affinity_key(r, 256), 11u);
  r.session_key = "me";
  EXPECT_EQ(affinity_key(r, 256), hash_string("me"));
}

}  // namespace
}  // namespace lodestar
