// SPDX-License-Identifier: Apache-2.0
// lodestar-paper: decisions worked out by hand, with a predictor that is one
// formula (policies/lodestar_paper_testing.h):
//   TTFT = max(0, 0.2 + prefill_tokens / 10000 + waiting / 10 - hit% / 500)   [s]
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "policies/hash_ring.h"
#include "policies/lodestar_paper.h"
#include "policies/lodestar_paper_testing.h"

namespace lodestar {
namespace {

using paper_testing::Bench;
using paper_testing::handmade_predictor;

class LodestarPaperGolden : public ::testing::Test {
 protected:
  explicit LodestarPaperGolden(const PolicyParams& params = {{"range_margin", 0}})
      : policy(make_lodestar_paper(params, false)) {}
  void publish() {
    PolicyActions actions;
    policy->on_predictor(0, handmade_predictor(), actions);
  }
  std::unique_ptr<Policy> policy;
};

// i   prefill  waiting  hit    TTFT
// 0      3000        1    0 %  0.2 + 0.3 + 0.1 - 0.00 = 0.60
// 1      1000        2    0 %  0.2 + 0.1 + 0.2 - 0.00 = 0.50   <- least
// 2      6000        0   50 %  0.2 + 0.6 + 0.0 - 0.10 = 0.70
TEST_F(LodestarPaperGolden, LeastPredictedTtftWins) {
  publish();
  Bench b(3);
  b.rows[0].pending_prompt_tokens = 3000;
  b.rows[0].waiting = 1;
  b.rows[1].pending_prompt_tokens = 1000;
  b.rows[1].waiting = 2;
  b.rows[2].pending_prompt_tokens = 6000;
  b.rows[2].hit_ratio = 0.5;
  const Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices.at(0).candidate, 1u);
  EXPECT_FALSE(d.fallback);
  EXPECT_EQ(d.reason, "least predicted TTFT");
  EXPECT_DOUBLE_EQ(d.propensity, 1.0);
}

// i   prefill  waiting  hit ratio  hit%   TTFT
// 0         0        1     0         0    0.2 + 0.1            = 0.300
// 1      2000        0     0.759    75    0.2 + 0.2   - 0.150  = 0.250
// 2      1490        0     0.5      50    0.2 + 0.149 - 0.100  = 0.249   <- least
// Were the ratio not cut to whole per cent, 1 would be 0.2482 and win.
TEST_F(LodestarPaperGolden, APrefixHitCanBeatAnEmptyQueue) {
  publish();
  Bench b(3);
  b.rows[0].waiting = 1;
  b.rows[1].pending_prompt_tokens = 2000;
  b.rows[1].hit_ratio = 0.759;
  b.rows[2].pending_prompt_tokens = 1490;
  b.rows[2].hit_ratio = 0.5;
  EXPECT_EQ(b.pick(*policy), 2u);
}

// Both answer 0 (0.2 - 100 / 500 and less): the network's output is clipped by its
// last ReLU, so the one with fewer of our requests in flight takes it.
TEST_F(LodestarPaperGolden, EqualPredictionsGoToTheLessLoaded) {
  publish();
  Bench b(2);
  for (FeatureRow& row : b.rows) row.hit_ratio = 1;
  b.rows[0].inflight = 4;
  b.rows[1].inflight = 3;
  EXPECT_EQ(b.pick(*policy), 1u);
}

// No predictor yet: prefix-cache (8, 1) decides. r = 4, 5, 6, 9: max - min = 5 <= 8;
// mean 6, sd = sqrt((4 + 1 + 0 + 9) / 3) = 2.16, bound 8.16: instance 3 is out.
// Hits 0, 20, 60, 100 %: the best within the bound is instance 2.
TEST_F(LodestarPaperGolden, ColdIsPrefixCache) {
  Bench b(4);
  const double load[] = {4, 5, 6, 9}, hit[] = {0, 0.2, 0.6, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    b.rows[i].inflight = load[i];
    b.rows[i].hit_ratio = hit[i];
  }
  const Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices.at(0).candidate, 2u);
  EXPECT_TRUE(d.fallback);
  EXPECT_EQ(d.reason, "cold");
}

// Instance 1 waits with 51, the training set never saw more than 50: prefix-cache
// decides for all. r = 1, 10, 3: max - min = 9 > 8, so the least loaded, 0. (The
// predictor would have said 0: 0.2 + 0.5 = 0.7 s, 2: 0.2 s.)
TEST_F(LodestarPaperGolden, OutOfRangeIsPrefixCache) {
  publish();
  Bench b(3);
  const double load[] = {1, 10, 3};
  for (std::size_t i = 0; i < 3; ++i) b.rows[i].inflight = load[i];
  b.rows[0].pending_prompt_tokens = 5000;
  b.rows[1].waiting = 51;
  Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices.at(0).candidate, 0u);
  EXPECT_EQ(d.reason, "out-of-range");
  b.rows[1].waiting = 50;
  d = b.decide(*policy);
  EXPECT_EQ(d.choices.at(0).candidate, 2u);
  EXPECT_FALSE(d.fallback);
}

// A gauge that is not a number: prefix-cache. r = 2, 2, 0; mean 1.33, sd 1.15,
// bound 2.49: all within; best hit is instance 1.
TEST_F(LodestarPaperGolden, NotANumberIsPrefixCache) {
  publish();
  Bench b(3);
  b.rows[0].inflight = b.rows[1].inflight = 2;
  b.rows[1].hit_ratio = 0.4;
  b.rows[2].running = std::nan("");
  const Decision d = b.decide(*policy);
  EXPECT_EQ(d.choices.at(0).candidate, 1u);
  EXPECT_EQ(d.reason, "nan");
}

// Full caches (mean usage 0.9 > 0.8) and a hit of 400 tokens (> 100): only the two
// instances of the prefix group may take it, those with the largest rendezvous
// weight. TTFT rises with the index, so of the two the lower one is faster.
// Instance 0, free of load, would win without the filter, as it does at usage 0.8.
TEST_F(LodestarPaperGolden, FullCachesKeepAGroupOnItsTwoInstances) {
  constexpr std::uint64_t kGroup = 777;
  publish();
  Bench b(8);
  b.request.block_tokens = 16;
  b.request.block_hashes.assign(60, kGroup);
  for (std::size_t i = 0; i < 8; ++i) {
    b.rows[i].kv_usage = 0.9;
    b.rows[i].hit_tokens = 400;
    b.rows[i].pending_prompt_tokens = 1000 * static_cast<double>(i);
  }
  const Decision d = b.decide(*policy);
  std::vector<std::pair<std::uint64_t, std::size_t>> weights;
  for (std::uint32_t i = 0; i < 8; ++i)
    weights.emplace_back(rendezvous_weight(kGroup, InstanceId(i)), i);
  std::sort(weights.rbegin(), weights.rend());
  const std::size_t expected = std::min(weights[0].second, weights[1].second);
  ASSERT_NE(expected, 0u) << "choose a group that does not own instance 0";
  EXPECT_EQ(d.choices.at(0).candidate, expected);
  EXPECT_EQ(d.reason, "least predicted TTFT of the prefix group's instances");
  for (FeatureRow& row : b.rows) row.kv_usage = 0.8;
  EXPECT_EQ(b.pick(*policy), 0u);
}

}  // namespace
}  // namespace lodestar
