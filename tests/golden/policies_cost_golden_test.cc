// SPDX-License-Identifier: Apache-2.0
// Golden decisions of the policies that are one cost formula.
#include <cmath>

#include "golden/policies_golden.h"

namespace lodestar::testing {
namespace {

// L = prompt, hit in per cent, A = uncached tokens waiting there, gauges.
FeatureRow lm(double prompt, double hit_percent, double pending, double running, double waiting,
              double rate = 0) {
  FeatureRow r;
  r.prompt_tokens = prompt;
  r.hit_ratio = hit_percent / 100;
  r.hit_tokens = prompt * hit_percent / 100;
  r.pending_uncached_tokens = pending;
  r.running = running;
  r.waiting = waiting;
  r.scrape_known = 1;
  r.told_prefill_tokens_per_s = rate;
  return r;
}

// (A + L * (100 - hit) / 100) * (running + waiting + 1), in integers.
TEST(Golden, LMetric) {
  FeatureRow broken = lm(1000, 0, 0, std::nan(""), 0);
  broken.inflight = 4;
  expect_golden(
      "lmetric",
      {// 1000 * 4; (2000 + 500) * 2; 200 * 13
       {"a hit beats a small batch",
        {lm(1000, 0, 0, 3, 0), lm(1000, 50, 2000, 1, 0), lm(1000, 80, 0, 10, 2)},
        {4000, 5000, 2600},
        2,
        1},
       // hit 100/3 -> 33: 999 * 67 / 100 = 669.33 -> 669, * 2; 100.9 -> 100, 66: 339.66 -> 339, * 3
       {"quotients are rounded down",
        {lm(999, 100.0 / 3, 0, 1, 0), lm(999, 200.0 / 3, 100.9, 2, 0)},
        {1338, 1317},
        1,
        1},
       // 500 * 2 = 1000 * 1: equal, the smaller batch
       {"tie: lower batch", {lm(1000, 50, 0, 1, 0), lm(1000, 0, 0, 0, 0)}, {1000, 1000}, 1, 1},
       {"a full hit costs nothing",
        {lm(1000, 100, 0, 50, 9), lm(1000, 0, 0, 0, 0)},
        {0, 1000},
        0,
        1},
       // a gauge of NaN: own in-flight 4 stands in, 1000 * 5 against 1000 * 4
       {"broken gauge", {broken, lm(1000, 0, 0, 3, 0)}, {5000, 4000}, 1, 1}});
}

// The same over the told rate.
TEST(Golden, LMetricSpeeds) {
  expect_golden(
      "lmetric-speeds",
      {{"1000 * 1 / 1000 and 1000 * 3 / 4000",
        {lm(1000, 0, 0, 0, 0, 1000), lm(1000, 0, 0, 2, 0, 4000)},
        {1, 0.75},
        1,
        1},
       {"1000 * 5 / 4000",
        {lm(1000, 0, 0, 0, 0, 1000), lm(1000, 0, 0, 4, 0, 4000)},
        {1, 1.25},
        0,
        1},
       // mean of 1000 and 3000 = 2000: 1000 / 2000; 1; 2000 / 3000
       {"unknown rate is average",
        {lm(1000, 0, 0, 0, 0, 0), lm(1000, 0, 0, 0, 0, 1000), lm(1000, 0, 0, 1, 0, 3000)},
        {0.5, 1, 2.0 / 3},
        0,
        1},
       {"no rate at all: lmetric",
        {lm(1000, 0, 0, 3, 0), lm(1000, 80, 0, 10, 2)},
        {4000, 2600},
        1,
        1},
       {"equal rates: lmetric's order",
        {lm(1000, 0, 0, 3, 0, 1000), lm(1000, 50, 2000, 1, 0, 1000), lm(1000, 80, 0, 10, 2, 1000)},
        {4, 5, 2.6},
        2,
        1}});
}

// Blocks of 16:
//   (max(pending uncached + prompt - hit, 0) + decode context + pending prompts + prompt) / 16.
TEST(Golden, DynamoKv) {
  expect_golden(
      "dynamo-kv",
      {{"(1600 + 1600) / 16; (800 + 1600) / 16",
        {{.prompt_tokens = 1600}, {.prompt_tokens = 1600, .hit_tokens = 800}},
        {200, 150},
        1,
        1},
       {"(800 + 3200 + 1600) / 16: decoding outweighs the overlap",
        {{.prompt_tokens = 1600},
         {.prompt_tokens = 1600, .hit_tokens = 800, .decode_context_tokens = 3200}},
        {200, 350},
        0,
        1},
       {"(1600 + 1600 + 1600 + 1600) / 16; (1600 + 4800 + 1600) / 16",
        {{.prompt_tokens = 1600, .pending_prompt_tokens = 1600, .pending_uncached_tokens = 1600},
         {.prompt_tokens = 1600, .decode_context_tokens = 4800}},
        {400, 500},
        0,
        1},
       {"a waiting prompt that is cached costs its blocks only: (0 + 1600 + 1600 + 1600) / 16",
        {{.prompt_tokens = 1600, .pending_prompt_tokens = 1600, .pending_uncached_tokens = 0},
         {.prompt_tokens = 1600, .decode_context_tokens = 1500}},
        {300, 293.75},
        1,
        1},
       {"tie: fewer in flight",
        {{.prompt_tokens = 1600, .inflight = 1}, {.prompt_tokens = 1600, .inflight = 0}},
        {200, 200},
        1,
        1}});
  // (2 * 1600 + 1600) / 16; (2 * 0 + 3000 + 1600) / 16
  expect_golden("dynamo-kv:prefill_load_scale=2",
                {{"scale 2",
                  {{.prompt_tokens = 1600},
                   {.prompt_tokens = 1600, .hit_tokens = 1600, .decode_context_tokens = 3000}},
                  {300, 287.5},
                  1,
                  1}});
}

FeatureRow gauges(double hit_ratio, double waiting, double kv) {
  FeatureRow r;
  r.prompt_tokens = 1600;
  r.hit_ratio = hit_ratio;
  r.hit_tokens = 1600 * hit_ratio;
  r.waiting = waiting;
  r.kv_usage = kv;
  r.scrape_known = 1;
  return r;
}

// cost = -(3 prefix + 2 queue + 2 (1 - kv) + 1 - tokens / 4194304).
TEST(Golden, LlmD) {
  const auto tokens = [](double t) { return 1 - t / 4194304; };
  FeatureRow busy = gauges(0, 0, 0);
  busy.pending_uncached_tokens = 3000;
  busy.decode_context_tokens = 2000;
  FeatureRow unknown;
  unknown.prompt_tokens = 1600;
  // The gauges say idle; 4 requests without a first token and 5000 of 10000 tokens do not.
  FeatureRow sent = gauges(0, 0, .1);
  sent.inflight_prefill = 4;
  sent.pending_prompt_tokens = 5000;
  sent.pending_uncached_tokens = 5000;
  sent.kv_capacity_tokens = 10000;
  expect_golden("llm-d:inflight=0", {{"as scraped: 2 + 1.8 and 2 + 1.2",
                                      {sent, gauges(0, 0, .4)},
                                      {-(3.8 + tokens(6600)), -(3.2 + tokens(1600))},
                                      0,
                                      1}});
  expect_golden("llm-d",
                {{"what is in flight corrects the gauges: 0 + 1 and 2 + 1.2",
                  {sent, gauges(0, 0, .4)},
                  {-(1 + tokens(6600)), -(3.2 + tokens(1600))},
                  1,
                  1},
                 // 1.5 + 0 + 1 against 0 + 2 + 1.6
                 {"half a hit against queue and cache",
                  {gauges(.5, 4, .5), gauges(0, 0, .2)},
                  {-(2.5 + tokens(800)), -(3.6 + tokens(1600))},
                  1,
                  1},
                 // 3 + 0 + 1
                 {"a full hit wins",
                  {gauges(1, 4, .5), gauges(0, 0, .2)},
                  {-(4 + tokens(0)), -(3.6 + tokens(1600))},
                  0,
                  1},
                 // queues equal: 1 each; 3000 + 2000 + 1600 in flight
                 {"tokens in flight decide between equals",
                  {busy, gauges(0, 0, 0)},
                  {-(4 + tokens(6600)), -(4 + tokens(1600))},
                  1,
                  1},
                 // usage of the first counts as (.4 + .8) / 2 = .6: 2 + .8, 2 + 1.2, 2 + .4
                 {"unknown usage is average",
                  {unknown, gauges(0, 0, .4), gauges(0, 0, .8)},
                  {-(2.8 + tokens(1600)), -(3.2 + tokens(1600)), -(2.4 + tokens(1600))},
                  1,
                  1},
                 // queue 1, .5, 0: 2 + .2, 1 + 1.6, 0 + 2
                 {"three queues",
                  {gauges(0, 0, .9), gauges(0, 5, .2), gauges(0, 10, 0)},
                  {-(2.2 + tokens(1600)), -(2.6 + tokens(1600)), -(2 + tokens(1600))},
                  1,
                  1}});
}

// T(n, c) = n / 10000 * (1 + (c + n / 2) / 30000).
TEST(Golden, Mooncake) {
  expect_golden(
      "mooncake",
      {{"T(6000, 0) = .6 * 1.1; T(3000, 3000) = .3 * 1.15",
        {{.prompt_tokens = 6000}, {.prompt_tokens = 6000, .hit_tokens = 3000}},
        {0.66, 0.345},
        1,
        1},
       {"two prompts of 6000 queue there: 2 * .66 + .345",
        {{.prompt_tokens = 6000},
         {.prompt_tokens = 6000,
          .hit_tokens = 3000,
          .inflight_prefill = 2,
          .pending_prompt_tokens = 12000,
          .pending_uncached_tokens = 12000}},
        {0.66, 1.665},
        0,
        1},
       {"T(3000, 6000) = .3 * 1.25 queues before .66; .66 before .345",
        {{.prompt_tokens = 6000,
          .inflight_prefill = 1,
          .pending_prompt_tokens = 9000,
          .pending_uncached_tokens = 3000},
         {.prompt_tokens = 6000,
          .hit_tokens = 3000,
          .inflight_prefill = 1,
          .pending_prompt_tokens = 6000,
          .pending_uncached_tokens = 6000}},
        {1.035, 1.005},
        1,
        1},
       {"a full hit takes no prefill; decoding is not in the estimate",
        {{.prompt_tokens = 6000, .hit_tokens = 6000, .inflight = 50, .inflight_decode = 50},
         {.prompt_tokens = 6000}},
        {0, 0.66},
        0,
        1},
       {"tie: fewer in flight",
        {{.prompt_tokens = 6000, .inflight = 2, .inflight_decode = 2}, {.prompt_tokens = 6000}},
        {0.66, 0.66},
        1,
        1}});
}

FeatureRow preble_row(double hit, double capacity = 0) {
  FeatureRow r;
  r.prompt_tokens = 1000;
  r.hit_tokens = hit;
  r.kv_capacity_tokens = capacity;
  return r;
}

// Prefill of n >= 384 tokens after c:
//   (.22064632 n + 8.56689631 + max(.448, 2.418e-4 c + .21465)) / .9 ms
//   (1000, 0)    229.66121631 / .9 = 255.179129 ms
//   (600, 400)   141.40268831 / .9 = 157.114098 ms
//   (1000, 1000) 229.66966631 / .9 = 255.188518 ms
// Decoding before any answer was seen: 45 * .15 = 6.75 s.
TEST(Golden, Preble) {
  expect_golden("preble", {{"400 of 1000 cached is a minority: explore",
                            {preble_row(400), preble_row(0)},
                            {0.157114098, 0.255179129},
                            0,
                            1},
                           {"500 of 1000: exploit",
                            {preble_row(0), preble_row(500)},
                            {std::numeric_limits<double>::infinity(), 0},
                            1,
                            1}});
  DecisionBench loaded("preble");
  loaded.rows({preble_row(400), preble_row(0)});
  loaded.placed(0, preble_row(0));  // L = .255179 + 6.75
  const auto costs = loaded.costs();
  EXPECT_NEAR(costs[0], 7.005179129 + 0.157114098, 1e-6);
  EXPECT_NEAR(costs[1], 0.255179129, 1e-6);
  EXPECT_EQ(loaded.pick(), 1u) << "explore: load outweighs a minority hit";

  // A slot that was left starts without a past.
  loaded.policy().on_instance_down(loaded.now, 0, loaded.fleet());
  EXPECT_NEAR(loaded.costs()[0], 0.157114098, 1e-6);

  // Eviction: 2 * 2000 prompt tokens, half from cache, fill the capacity of 2000; 600 new ones
  // evict 600, worth prefill (600, 0) = 157.114098 ms each time, half of the time.
  DecisionBench full("preble");
  full.rows({preble_row(400, 2000), preble_row(0)});
  FeatureRow half;
  half.prompt_tokens = 2000;
  half.hit_tokens = 1000;
  full.placed(0, half);
  full.placed(0, half);
  EXPECT_NEAR(full.costs()[0], 2 * 7.005188518 + 0.157114098 + 0.078557049, 1e-6);

  // Rebalance: after 50 requests per instance a holder beyond 1.5 x the lightest yields.
  DecisionBench hot("preble");
  hot.rows({preble_row(1000), preble_row(0)});
  for (int i = 0; i < 99; ++i) hot.placed(0, preble_row(1000));
  EXPECT_EQ(hot.pick(), 0u) << "99 requests: the window is too young to judge";
  hot.placed(0, preble_row(1000));
  EXPECT_EQ(hot.pick(), 1u) << "100 requests of 6.75 s against none";
  hot.now += 181 * kSecond;
  EXPECT_EQ(hot.pick(), 0u) << "three minutes later the load is history: exploit";
}

}  // namespace
}  // namespace lodestar::testing
