// SPDX-License-Identifier: Apache-2.0
// Golden decisions of the policies that look at load alone.
#include <cmath>

#include "golden/policies_golden.h"

namespace lodestar::testing {
namespace {

std::vector<FeatureRow> loads(std::vector<double> inflight) {
  std::vector<FeatureRow> rows(inflight.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].inflight = inflight[i];
  return rows;
}

// Rng(1): five draws of below(4) are 3, 2, 0, 2, 0.
TEST(Golden, Random) {
  DecisionBench bench("random");
  bench.rows(loads({9, 0, 4, 2}));
  for (std::size_t expected : {3, 2, 0, 2, 0}) {
    const Decision& d = bench.decide();
    EXPECT_EQ(d.choices.at(0).candidate, expected);
    EXPECT_EQ(d.propensity, 0.25);
  }
}

// By id: 10, 20, 30, 10 again; then 20 is away, so 30 follows 10.
TEST(Golden, RoundRobin) {
  DecisionBench bench("round-robin");
  bench.candidates({10, 20, 30}, loads({0, 0, 0}));
  EXPECT_EQ(bench.pick(), 0u);
  EXPECT_EQ(bench.pick(), 1u);
  EXPECT_EQ(bench.pick(), 2u);
  EXPECT_EQ(bench.pick(), 0u);
  bench.candidates({10, 30}, loads({0, 0}));
  EXPECT_EQ(bench.pick(), 1u);
  bench.candidates({10, 20, 30}, loads({0, 0, 0}));
  EXPECT_EQ(bench.pick(), 0u);
}

TEST(Golden, LeastRequest) {
  expect_golden("least-request",
                {{"3 1 2: the 1", loads({3, 1, 2}), {3, 1, 2}, 1, 1},
                 // Two equals, below(2) = 1: the second of them.
                 {"5 4 4: one of two", loads({5, 4, 4}), {5, 4, 4}, 2, 0.5},
                 {"one candidate", loads({8}), {8}, 0, 1},
                 // Four equals, below(4) = 3.
                 {"all idle", loads({0, 0, 0, 0}), {0, 0, 0, 0}, 3, 0.25},
                 {"a prefix hit changes nothing",
                  {{.hit_tokens = 90, .hit_ratio = 0.9, .inflight = 7}, {.inflight = 6}},
                  {7, 6},
                  1,
                  1}});
}

// Rng(1), n = 4: below(4) = 3, below(3) = 2, so the pair is {3, 2}; with equal loads
// below(2) = 0 takes the first drawn. Propensity of i: (2 * busier + equal) / (n (n - 1)).
TEST(Golden, PowerOfTwo) {
  expect_golden("power-of-two",
                {{"of 5 and 9 the 5; beats one of 12 ordered pairs twice",
                  loads({0, 0, 5, 9}),
                  {},
                  2,
                  2.0 / 12},
                 {"of 9 and 5 the 5", loads({0, 0, 9, 5}), {}, 3, 2.0 / 12},
                 {"all equal: first drawn; 3 equals", loads({1, 1, 1, 1}), {}, 3, 3.0 / 12},
                 {"one candidate", loads({4}), {}, 0, 1},
                 {"two candidates: always both, so the lower", loads({3, 4}), {}, 0, 1}});
}

TEST(Golden, LeastPrefillTokens) {
  expect_golden(
      "least-prefill-tokens",
      {{"1000 200 600",
        {{.pending_prompt_tokens = 1000},
         {.pending_prompt_tokens = 200},
         {.pending_prompt_tokens = 600}},
        {1000, 200, 600},
        1,
        1},
       {"whole prompts count, not their uncached part",
        {{.pending_prompt_tokens = 500, .pending_uncached_tokens = 10},
         {.pending_prompt_tokens = 400, .pending_uncached_tokens = 400}},
        {500, 400},
        1,
        1},
       {"equal: fewer in flight",
        {{.inflight = 2, .pending_prompt_tokens = 300},
         {.inflight = 1, .pending_prompt_tokens = 300}},
        {300, 300},
        1,
        1},
       {"decoding requests do not count",
        {{.inflight = 50, .inflight_decode = 50}, {.inflight = 1, .pending_prompt_tokens = 1}},
        {0, 1},
        0,
        1},
       {"one candidate", {{.pending_prompt_tokens = 7}}, {7}, 0, 1}});
}

TEST(Golden, LeastKvCache) {
  const double nan = std::nan("");
  expect_golden("least-kv-cache",
                {{"gauges .5 .2 .9",
                  {{.kv_usage = 0.5, .scrape_known = 1},
                   {.kv_usage = 0.2, .scrape_known = 1},
                   {.kv_usage = 0.9, .scrape_known = 1}},
                  {0.5, 0.2, 0.9},
                  1,
                  1},
                 {"unknown gauge: own books over the capacity (the row's stand-in)",
                  {{.kv_usage = 0.1, .scrape_known = 0, .kv_capacity_tokens = 1000},
                   {.kv_usage = 0.2, .scrape_known = 1}},
                  {0.1, 0.2},
                  0,
                  1},
                 {"nothing known: no score, so the full one that is known",
                  {{.inflight = 0}, {.inflight = 9, .kv_usage = 0.99, .scrape_known = 1}},
                  {},
                  1,
                  1},
                 {"a gauge of 7 cannot be: (400 + 100) / 1000",
                  {{.pending_prompt_tokens = 100,
                    .decode_context_tokens = 400,
                    .kv_usage = 7,
                    .scrape_known = 1,
                    .kv_capacity_tokens = 1000},
                   {.kv_usage = 0.6, .scrape_known = 1}},
                  {0.5, 0.6},
                  0,
                  1},
                 {"equal: fewer in flight",
                  {{.inflight = 3, .kv_usage = 0.3, .scrape_known = 1},
                   {.inflight = 1, .kv_usage = 0.3, .scrape_known = 1}},
                  {0.3, 0.3},
                  1,
                  1}});
  // With reserve: .3 + 5000 / 10000 against .7.
  expect_golden("least-kv-cache:reserve=1",
                {{"prompts in prefill count",
                  {{.pending_prompt_tokens = 5000,
                    .kv_usage = 0.3,
                    .scrape_known = 1,
                    .kv_capacity_tokens = 10000},
                   {.kv_usage = 0.7, .scrape_known = 1, .kv_capacity_tokens = 10000}},
                  {0.8, 0.7},
                  1,
                  1}});
  DecisionBench bench("least-kv-cache");
  bench.rows({{.inflight = 4, .kv_usage = nan}, {.inflight = 2, .kv_usage = nan}});
  const Decision& d = bench.decide();
  EXPECT_TRUE(d.fallback) << "nobody has a score: least request, and it says so";
  EXPECT_EQ(d.choices[0].candidate, 1u);
}

}  // namespace
}  // namespace lodestar::testing
