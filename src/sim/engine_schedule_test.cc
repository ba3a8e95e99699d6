// SPDX-License-Identifier: Apache-2.0
// What a step holds, worked out by hand. Steps take 1 ms per scheduled token;
// small_engine() has 99 usable blocks of 4 tokens and 100 tokens per step.
#include <gtest/gtest.h>

#include "sim/engine_testing.h"

namespace lodestar::sim {
namespace {

TEST(Schedule, LongPromptsAreCutAndRunningGoesFirst) {
  Driver d(small_engine());
  d.submit(0, request(1, 250, 1));
  d.submit(0, request(2, 30, 2));
  d.run();
  // 100, 100, then 50 + 30 of request 2 in one step of 80 ms.
  EXPECT_EQ(d.event(1).time, from_ms(280));
  EXPECT_EQ(d.event(2).time, from_ms(280));
  EXPECT_EQ(d.last(2).time, from_ms(281));
}

TEST(Schedule, DecodesTakeTheirTokenBeforeAPrompt) {
  Driver d(small_engine());
  d.submit(0, request(1, 10, 5));
  d.submit(0, request(2, 95, 2));
  d.run();
  // Step 0: 10 + 90 of request 2. Step 1: one decode + the last 5.
  EXPECT_EQ(d.times(1)[1], from_ms(106));
  EXPECT_EQ(d.event(2).time, from_ms(106));
}

TEST(Schedule, SeatsAreLimited) {
  EngineConfig config = small_engine();
  config.max_num_seqs = 2;
  Driver d(config);
  for (std::uint64_t id : {1, 2, 3}) d.submit(0, request(id, 10, id == 1 ? 2 : 4));
  d.run();
  // 1 and 2 at 20 ms; 1 ends with the decode step at 22; then 3 with one decode.
  EXPECT_EQ(d.event(3).time, from_ms(22 + 11));
}

TEST(Schedule, FullReservationBlocksTheHeadAndAllBehindIt) {
  EngineConfig config = small_engine();
  config.max_num_batched_tokens = 400;
  Driver d(config);
  d.submit(0, request(1, 200, 3));  // 50 blocks
  d.submit(0, request(2, 240, 1));  // 60 blocks: does not fit beside it
  d.submit(0, request(3, 8, 1));    // would fit, but waits its turn
  d.run();
  EXPECT_EQ(d.last(1).time, from_ms(202));
  EXPECT_EQ(d.event(2).time, from_ms(202 + 248));
  EXPECT_EQ(d.event(3).time, from_ms(202 + 248));
  EXPECT_EQ(d.engine.stats().preemptions, 0);
}

TEST(Schedule, WithoutReservationOnlyTheFirstChunkMustFit) {
  EngineConfig config = small_engine();
  config.reserve_full_prompt = false;
  Driver d(config);
  d.submit(0, request(1, 200, 3));
  d.submit(0, request(2, 240, 1));
  d.run();
  // Request 2 is admitted at 200 with 99 tokens (25 blocks; 24 stay free), at 300
  // its next chunk of 99 needs 25 more: it preempts itself.
  EXPECT_EQ(d.engine.stats().preemptions, 1);
  // Steps: 100, 100, 1+99 (ends 300), at 300: request 1's last token alone (301);
  // request 2's own prefix (24 full blocks, 96 tokens) is still cached: 240-96=144
  // in two steps, 100 and 44.
  EXPECT_EQ(d.last(1).time, from_ms(301));
  EXPECT_EQ(d.event(2).time, from_ms(301 + 144));
}

TEST(Schedule, PreemptionTakesTheLastAndPutsItAtTheHead) {
  EngineConfig config = small_engine();
  config.kv_capacity_tokens = 13 * 4;  // 12 usable blocks
  Driver d(config);
  d.submit(0, request(1, 20, 20));  // 5 blocks, grows to 10
  d.submit(0, request(2, 20, 20));
  d.submit(0, request(3, 4, 1));    // 1 block; ends at once
  d.run();
  // Step 0: 20+20+4 = 44 ms. Requests 1 and 2 hold 5 blocks each and take a sixth
  // for token 21 (12 in all), a seventh for token 25: request 1 takes request 2's.
  // Tokens: after step 0 both have 1; steps 1..4 compute tokens 21..24; in step 5
  // request 1 needs block 7, nothing is free: request 2 (last) goes.
  EXPECT_EQ(d.engine.stats().preemptions, 1);
  EXPECT_EQ(d.times(1)[4], from_ms(44 + 4 * 2));
  EXPECT_EQ(d.times(1)[5], from_ms(44 + 4 * 2 + 1)) << "alone from here on";
  EXPECT_EQ(d.times(2)[4], from_ms(44 + 4 * 2)) << "keeps the tokens it had";
  // Nothing is admitted in the step of the preemption. In step 6 request 2 (25
  // tokens, 7 blocks with reservation) finds its 6 cached blocks but one, taken by
  // request 1: 5 blocks free = 12 - 7, so it waits until request 1 ends.
  EXPECT_EQ(d.last(1).time, from_ms(44 + 8 + 15));
  EXPECT_EQ(d.last(1).total_tokens, 20);
  EXPECT_EQ(d.last(2).total_tokens, 20);
  EXPECT_EQ(d.engine.kv_usage_now(), 0.0);
  d.engine.kv().check_invariants();
}

TEST(Schedule, AResumedRequestComputesPromptAndOutputAgain) {
  EngineConfig config = small_engine();
  config.kv_capacity_tokens = 13 * 4;
  config.prefix_caching = false;
  Driver d(config);
  d.submit(0, request(1, 20, 20));
  d.submit(0, request(2, 20, 20));
  d.run();
  // As above without the third request: preempted at 40 + 8 with 5 tokens out;
  // request 1 ends at 40 + 8 + 15 = 63; then 25 tokens at once give token 6.
  EXPECT_EQ(d.last(1).time, from_ms(63));
  EXPECT_EQ(d.times(2)[5], from_ms(63 + 25));
  EXPECT_EQ(d.last(2).time, from_ms(63 + 25 + 14));
}

TEST(Schedule, WithoutChunkingAPromptAboveTheRestStopsTheLoop) {
  EngineConfig config = small_engine();
  config.chunked_prefill = false;
  Driver d(config);
  d.submit(0, request(1, 60, 1));
  d.submit(0, request(2, 50, 1));
  d.submit(0, request(3, 5, 1));
  d.run();
  EXPECT_EQ(d.event(1).time, from_ms(60));
  EXPECT_EQ(d.event(2).time, from_ms(115));
  EXPECT_EQ(d.event(3).time, from_ms(115)) << "no skipping ahead of request 2";
}

TEST(Schedule, APrefixIsFoundInTheSameStepAndAtMostAllButOneToken) {
  Driver d(small_engine());
  d.submit(0, request(1, 20, 1, 7));
  d.submit(0, request(2, 24, 1, 7));  // shares 5 blocks = 20 tokens
  d.run();
  EXPECT_EQ(d.event(2).cached_tokens, 20);
  EXPECT_EQ(d.event(2).time, from_ms(24)) << "20 + 4 tokens in one step";
  d.submit(from_ms(100), request(3, 20, 1, 7));
  d.run();
  EXPECT_EQ(d.event(3).cached_tokens, 16) << "the last block is computed again";
  EXPECT_EQ(d.event(3).time, from_ms(104));
  EXPECT_EQ(d.engine.stats().prefix_queries, 64);
  EXPECT_EQ(d.engine.stats().prefix_hits, 36);
}

TEST(Schedule, PartialBlocksAreNotShared) {
  Driver d(small_engine());
  d.submit(0, request(1, 19, 1, 7));
  d.submit(from_ms(50), request(2, 19, 1, 7));
  d.run();
  EXPECT_EQ(d.event(2).cached_tokens, 16);
}

TEST(Schedule, WithoutPrefixCacheNothingIsFound) {
  EngineConfig config = small_engine();
  config.prefix_caching = false;
  Driver d(config);
  EngineRequest bare = request(1, 20, 1);
  bare.block_hashes.clear();
  d.submit(0, bare);
  d.submit(0, request(2, 20, 1, 7));
  d.submit(0, request(3, 20, 1, 7));
  d.run();
  EXPECT_EQ(d.event(3).cached_tokens, 0);
  EXPECT_EQ(d.event(3).time, from_ms(60));
  EXPECT_EQ(d.engine.stats().prefix_queries, 0);
}

TEST(Schedule, GeneratedBlocksAreCachedForTheNextTurn) {
  for (bool async : {false, true}) {
    EngineConfig config = small_engine();
    config.async_scheduling = async;
    Driver d(config);
    d.submit(0, request(1, 10, 11));  // 20 tokens computed (the last never is): 5 blocks
    d.run();
    EngineRequest next = request(2, 30, 1);
    const EngineRequest before = request(1, 10, 11);
    for (std::size_t b = 0; b < 5; ++b)
      next.block_hashes[b] =
          b < 2 ? before.block_hashes[b] : generated_block_hash(1, static_cast<std::int64_t>(b));
    d.submit(from_ms(500), next);
    d.run();
    // Async caches a block when the identity of its last token is known, which is
    // at the next allocation: the fifth block never is.
    EXPECT_EQ(d.event(2).cached_tokens, async ? 16 : 20) << async;
  }
}

TEST(Schedule, NamedOutputBlocksAreUsed) {
  Driver d(small_engine());
  EngineRequest first = request(1, 10, 11);
  first.block_hashes.resize(5, 0);
  for (std::uint64_t b = 2; b < 5; ++b) first.block_hashes[b] = 5000 + b;
  EngineRequest second = request(2, 30, 1);
  for (std::size_t b = 0; b < 5; ++b) second.block_hashes[b] = first.block_hashes[b];
  d.submit(0, first);
  d.run();
  d.submit(from_ms(500), second);
  d.run();
  EXPECT_EQ(d.event(2).cached_tokens, 20);
}

TEST(Schedule, TheTailOfTheOldestChainIsEvictedFirst) {
  EngineConfig config = small_engine();
  config.kv_capacity_tokens = 11 * 4;  // 10 usable blocks
  Driver d(config);
  d.submit(0, request(1, 20, 1, 7));            // 5 blocks, freed at 20 ms
  d.submit(from_ms(30), request(2, 28, 1, 0));  // 7 blocks: 5 fresh, then the tail of 7
  d.run();
  d.submit(from_ms(100), request(3, 24, 1, 7));
  d.run();
  EXPECT_EQ(d.event(3).cached_tokens, 12) << "blocks 4 and 3 of the chain are gone";
}

TEST(Schedule, ABlockedHeadIsCountedAtEachTry) {
  EngineConfig config = small_engine();
  config.max_num_batched_tokens = 400;
  Driver d(config);
  d.submit(0, request(1, 200, 4));
  d.submit(0, request(2, 240, 1));
  d.run();
  // Tried in the steps that start at 0, 200, 201, 202 and admitted at 203.
  EXPECT_EQ(d.engine.stats().prefix_queries, 200 + 5 * 240);
  EXPECT_EQ(d.event(2).time, from_ms(203 + 240));
}

TEST(Schedule, RandomLoadKeepsTheCacheSound) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Rng rng(seed);
    EngineConfig config = small_engine();
    config.kv_capacity_tokens = 4 * rng.between(60, 150);
    config.max_num_seqs = rng.between(1, 12);
    config.max_num_batched_tokens = rng.between(8, 128);
    config.async_scheduling = rng.below(2) == 0;
    config.reserve_full_prompt = rng.below(2) == 0;
    config.prefix_caching = rng.below(4) != 0;
    Driver d(config, seed);
    TimeNs now = 0;
    std::size_t accepted = 0, aborted = 0;
    for (std::uint64_t id = 1; id <= 150; ++id) {
      now += from_ms(rng.exponential(80));
      d.advance(now);
      if (rng.below(10) == 0 && id > 3) aborted += d.engine.abort(now, id - 1 - rng.below(3));
      accepted += d.engine.submit(now, random_request(rng, id, 200, 80)).has_value();
      d.engine.kv().check_invariants();
    }
    d.run();
    std::size_t finished = 0;
    for (const TokenEvent& e : d.events) finished += e.finished;
    EXPECT_EQ(finished + aborted, accepted) << "seed " << seed;
    EXPECT_EQ(d.engine.kv_usage_now(), 0.0);
    EXPECT_EQ(d.engine.stats().kv_usage, 0.0);
    d.engine.kv().check_invariants();
  }
}

}  // namespace
}  // namespace lodestar::sim
