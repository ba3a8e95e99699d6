// SPDX-License-Identifier: Apache-2.0
// Golden decisions of the policies that look for a prefix, a session or a key.
#include "golden/policies_golden.h"

namespace lodestar::testing {
namespace {

// r = own in flight, hit in per cent of the blocks.
FeatureRow row(double inflight, double hit_percent) {
  FeatureRow r;
  r.inflight = inflight;
  r.prompt_tokens = 1000;
  r.hit_ratio = hit_percent / 100;
  r.hit_tokens = 10 * hit_percent;
  return r;
}
std::vector<FeatureRow> five(std::vector<double> inflight) {
  std::vector<FeatureRow> rows;
  for (double r : inflight) rows.push_back(row(r, 0));
  return rows;
}

// Rendezvous order of ids 1..5, computed apart from this code base:
//   "alice" 2 5 3 1 4      "bob" 1 4 3 2 5      prefix group 0xabc 4 3 5 1 2
TEST(Golden, ConsistentHash) {
  const auto pick = [](std::string session, std::vector<std::uint32_t> ids,
                       std::vector<double> load) {
    DecisionBench bench("consistent-hash");
    bench.request.session_key = std::move(session);
    bench.candidates(ids, five(std::move(load)));
    return ids[bench.pick()];
  };
  const std::vector<std::uint32_t> all = {1, 2, 3, 4, 5};
  // bound = ceil(1.25 * 1 / 5) = 1: the idle first choice may take one.
  EXPECT_EQ(pick("alice", all, {0, 0, 0, 0, 0}), 2u);
  // bound = ceil(1.25 * 2 / 5) = 1: instance 2 is full, next in order is 5.
  EXPECT_EQ(pick("alice", all, {0, 1, 0, 0, 0}), 5u);
  // bound = ceil(1.25 * 17 / 5) = ceil(4.25) = 5 and 4 + 1 <= 5.
  EXPECT_EQ(pick("alice", all, {3, 4, 3, 3, 3}), 2u);
  // bound = ceil(1.25 * 14 / 5) = ceil(3.5) = 4: 4 + 1 > 4 for 2 and for 5; 3 has 2.
  EXPECT_EQ(pick("alice", all, {1, 4, 2, 2, 4}), 3u);
  // Instance 2 leaves: alice moves to her second choice, bob stays.
  EXPECT_EQ(pick("alice", {1, 3, 4, 5}, {0, 0, 0, 0}), 5u);
  EXPECT_EQ(pick("bob", all, {0, 0, 0, 0, 0}), 1u);
  EXPECT_EQ(pick("bob", {1, 3, 4, 5}, {0, 0, 0, 0}), 1u);
  // No session: 256 tokens / 16 = block 16, whose chained hash names the group.
  DecisionBench bench("consistent-hash");
  bench.request.block_tokens = 16;
  bench.request.block_hashes.assign(40, 0x111);
  bench.request.block_hashes[15] = 0xabc;
  bench.rows(five({0, 0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 3u);  // id 4
  // Neither: the least loaded, as a fallback.
  bench.request.block_hashes.clear();
  bench.rows(five({3, 2, 2.5, 1, 4}));
  EXPECT_EQ(bench.pick(), 3u);
  EXPECT_TRUE(bench.decide().fallback);
}

TEST(Golden, SessionAffinity) {
  DecisionBench bench("session-affinity");
  bench.request.session_key = "alice";
  bench.rows(five({0, 0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 1u) << "never seen: first by hash is id 2";
  bench.placed(3, {});  // it was served by id 4, say after a retry
  bench.rows(five({0, 0, 0, 90, 0}));
  EXPECT_EQ(bench.pick(), 3u) << "id 4 again, whatever its load";
  bench.candidates({1, 2, 3, 5}, five({0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 1u) << "id 4 is away: id 2 by hash";
  bench.incarnation = 2;
  bench.rows(five({0, 0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 1u) << "id 4 restarted: it owns nothing";
  bench.incarnation = 1;
  bench.rows(five({0, 0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 3u) << "and the life that served her still would";
  bench.now += 7201 * kSecond;
  EXPECT_EQ(bench.pick(), 1u) << "forgotten after two hours of quiet";
  bench.request.session_key.clear();
  bench.rows(five({0, 0, 0, 0}));
  EXPECT_EQ(bench.pick(), 3u) << "no key: random, Rng(1).below(4) = 3";
}

TEST(Golden, PrefixCache) {
  const double inf = std::numeric_limits<double>::infinity();
  expect_golden(
      "prefix-cache",
      {{"all idle: mean = sd = 0, everybody is within: best hit",
        {row(0, 10), row(0, 80), row(0, 30), row(0, 0)},
        {-10, -80, -30, 0},
        1,
        1},
       // mean 2, squares 1 + 1, sd = sqrt(2 / 3) = .816, bound 2.816: the 3 is out. Hits
       // 50 and 50 at r = 2: equal, below(2) = 1.
       {"best hit is too busy",
        {row(3, 90), row(1, 20), row(2, 50), row(2, 50)},
        {inf, -20, -50, -50},
        3,
        0.5},
       {"9 - 0 > 8: least loaded", {row(9, 100), row(0, 0), row(1, 90)}, {9, 0, 1}, 1, 1},
       // 8 - 0 is not > 8. mean 2, squares 36 + 3 * 4 = 48, sd = sqrt(48 / 3) = 4, bound 6.
       {"8 - 0: no gate, but beyond the bound",
        {row(8, 100), row(0, 0), row(0, 40), row(0, 20)},
        {inf, 0, -40, -20},
        2,
        1},
       // mean 1.5, sd .707, bound 2.207: both. Equal hits: lower r.
       {"equal hits: fewer in flight", {row(2, 60), row(1, 60)}, {-60, -60}, 1, 1},
       // 33.6 % and 33.9 % are both 33 whole per cent.
       {"whole per cent", {row(1, 33.9), row(0.9, 33.6)}, {-33, -33}, 1, 1}});
}

TEST(Golden, PrefixCache162) {
  const double inf = std::numeric_limits<double>::infinity();
  expect_golden(
      "prefix-cache-16-2",
      {// mean 3.33, squares 32.11 + 11.11 + 5.44 = 48.67, sd = sqrt(24.33) = 4.93, bound 13.2.
       {"9 - 0 <= 16", {row(9, 50), row(0, 0), row(1, 0)}, {-50, 0, 0}, 0, 1},
       {"17 - 0 > 16", {row(17, 50), row(0, 0), row(5, 99)}, {17, 0, 5}, 1, 1},
       // mean 4, squares 144 + 3 * 16 = 192, sd = 8, bound 20.
       {"16 within two sd", {row(16, 10), row(0, 0), row(0, 0), row(0, 0)}, {-10, 0, 0, 0}, 0, 1},
       // mean .75, squares 27.56 + 7 * .5625 = 31.5, sd = sqrt(4.5) = 2.12, bound 4.99 < 6.
       {"6 of eight is beyond two sd",
        {row(6, 100), row(0, 0), row(0, 0), row(0, 25), row(0, 0), row(0, 0), row(0, 0), row(0, 0)},
        {inf, 0, 0, -25, 0, 0, 0, 0},
        3,
        1},
       {"one candidate: sd 0", {row(30, 0)}, {0}, 0, 1}});
}

TEST(Golden, PrefixHitThreshold) {
  expect_golden("prefix-hit-threshold",
                {{"51 > 50: whatever the load", {row(9, 51), row(0, 20)}, {-51, -20}, 0, 1},
                 {"50 is not above 50", {row(9, 50), row(0, 20)}, {9, 0}, 1, 1},
                 {"equal hits: fewer in flight", {row(3, 80), row(2, 80)}, {-80, -80}, 1, 1},
                 {"no hits: least request", {row(2, 0), row(2, 0), row(1, 0)}, {2, 2, 1}, 2, 1},
                 {"50.6 % is 50 whole per cent", {row(4, 50.6), row(3, 0)}, {4, 3}, 1, 1}});
  expect_golden("prefix-hit-threshold:threshold=20",
                {{"swept to 20", {row(9, 21), row(0, 0)}, {-21, 0}, 0, 1}});
}

TEST(Golden, CacheAware) {
  const double inf = std::numeric_limits<double>::infinity();
  expect_golden(
      "cache-aware",
      {{".4 > .3: longest match", {row(5, 40), row(0, 31), row(0, 0)}, {-.4, -.31, 0}, 0, 1},
       {".3 is not above .3: least loaded", {row(5, 30), row(2, 0), row(3, 0)}, {5, 2, 3}, 1, 1},
                 // 70 - 5 = 65 > 64 and 70 > 1.5 * 5.
       {"gate", {row(70, 100), row(5, 0), row(6, 90)}, {70, 5, 6}, 1, 1},
       {"200 - 136 = 64 is not above 64",
        {row(200, 50), row(136, 0), row(140, 0)},
        {-.5, 0, 0},
        0,
        1},
       {"300 - 210 > 64 but 300 < 1.5 * 210", {row(300, 50), row(210, 0)}, {-.5, 0}, 0, 1}});
  // Only the overloaded holder loses its affinity; the other holder keeps its own.
  expect_golden("cache-aware:per_request=1",
                {{"gate", {row(70, 100), row(5, 0), row(6, 90)}, {inf, 0, -.9}, 2, 1}});
}

FeatureRow fast(double inflight, double hit_percent, double rate) {
  FeatureRow r = row(inflight, hit_percent);
  r.told_prefill_tokens_per_s = rate;
  return r;
}

// w = (r + 1) * mean rate / rate.
TEST(Golden, PrefixCacheSpeeds) {
  const double inf = std::numeric_limits<double>::infinity();
  expect_golden(
      "prefix-cache-speeds",
      {// mean rate 2000: w = 1 * 2 and 2 * .667 = 1.333. mean 1.667, sd .471, bound 2.138: both.
       {"one in flight on the fast one is less than none on the slow",
        {fast(0, 0, 1000), fast(1, 0, 3000)},
        {0, 0},
        1,
        1},
       // w = 2 and 4 * .667 = 2.667; mean 2.333, sd .471, bound 2.805: the hit is within.
       {"a hit within the bound", {fast(0, 0, 1000), fast(3, 50, 3000)}, {0, -50}, 1, 1},
       // w = 6 * 2 = 12 and 1.333: 10.67 > 8, though the counts differ by 4 only.
       {"weighted imbalance", {fast(5, 90, 1000), fast(1, 0, 3000)}, {12, 4.0 / 3}, 1, 1},
       // No rate for the first: it counts as average, 2000. w = 2, 2 * 2 = 4, 6 * .667 = 4; mean
       // 3.333, squares 1.778 + .444 + .444, sd 1.155, bound 4.488: all; the 40 % wins.
       {"unknown rate is average",
        {fast(1, 10, 0), fast(1, 40, 1000), fast(5, 20, 3000)},
        {-10, -40, -20},
        1,
        1},
       {"equal rates: as prefix-cache",
        {fast(8, 100, 7), fast(0, 0, 7), fast(0, 40, 7), fast(0, 20, 7)},
        {inf, 0, -40, -20},
        2,
        1}});
}

}  // namespace
}  // namespace lodestar::testing
