// SPDX-License-Identifier: Apache-2.0
// The engine's life cycle: admission, endings, faults, gauges, the front end.
// What a step holds is tested in engine_schedule_test.cc.
#include "sim/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/engine_testing.h"

namespace lodestar::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Engine, OneRequestByHand) {
  // 40 tokens in one step of 40 ms, then one token per 1 ms step.
  Driver d(small_engine());
  d.submit(0, request(1, 40, 3));
  EXPECT_EQ(d.engine.next_event(), 0) << "an idle engine starts at once";
  d.run();
  ASSERT_EQ(d.events.size(), 3u);
  EXPECT_EQ(d.events[0].time, from_ms(40));
  EXPECT_TRUE(d.events[0].first);
  EXPECT_EQ(d.events[0].cached_tokens, 0);
  EXPECT_EQ(d.events[1].time, from_ms(41));
  EXPECT_FALSE(d.events[1].first || d.events[1].finished);
  EXPECT_EQ(d.events[2].time, from_ms(42));
  EXPECT_EQ(d.events[2].total_tokens, 3);
  EXPECT_TRUE(d.events[2].finished);
  EXPECT_EQ(d.events[2].reason, FinishReason::kStop);
  EXPECT_EQ(d.engine.next_event(), kNever);
  EXPECT_EQ(d.engine.stats().busy, from_ms(42));
  EXPECT_EQ(d.engine.stats().steps, 3);
}

TEST(Engine, OneOutputTokenIsFirstAndLast) {
  Driver d(small_engine());
  d.submit(0, request(1, 5, 1));
  d.run();
  ASSERT_EQ(d.events.size(), 1u);
  EXPECT_TRUE(d.events[0].first && d.events[0].finished);
  EXPECT_EQ(d.engine.kv_usage_now(), 0.0);
}

TEST(Engine, RequestsOfTheSameInstantShareTheFirstStep) {
  Driver d(small_engine());
  d.submit(0, request(1, 10, 1));
  d.submit(0, request(2, 20, 1));
  d.run();
  EXPECT_EQ(d.event(1).time, from_ms(30));
  EXPECT_EQ(d.event(2).time, from_ms(30));
}

TEST(Engine, AnArrivalWaitsForTheExecutingStep) {
  Driver d(small_engine());
  d.submit(0, request(1, 40, 2));
  d.advance(from_ms(10));
  d.submit(from_ms(10), request(2, 30, 1));
  d.run();
  EXPECT_EQ(d.event(1).time, from_ms(40));
  EXPECT_EQ(d.event(2).time, from_ms(40 + 31)) << "one decode and 30 prompt tokens";
  EXPECT_EQ(d.event(2).scheduled, from_ms(40));
}

TEST(Engine, AsyncSchedulingDecidesOneStepAhead) {
  EngineConfig config = small_engine();
  config.async_scheduling = true;
  Driver d(config);
  d.submit(0, request(1, 40, 3));
  d.advance(from_ms(10));
  d.submit(from_ms(10), request(2, 30, 1));
  d.run();
  // Step 0: 40 tokens. Step 1 (one decode) was decided at 0, before request 2
  // came. Step 2: the last decode and the 30 tokens.
  EXPECT_EQ(d.times(1), (std::vector<TimeNs>{from_ms(40), from_ms(41), from_ms(41 + 31)}));
  EXPECT_EQ(d.event(2).time, from_ms(41 + 31));
  EXPECT_EQ(d.engine.stats().steps, 3) << "an ending by length costs no extra step";
}

TEST(Engine, AsyncSeatIsFreeOneStepLater) {
  EngineConfig config = small_engine();
  config.max_num_seqs = 1;
  for (bool async : {false, true}) {
    config.async_scheduling = async;
    Driver d(config);
    d.submit(0, request(1, 40, 2));
    d.submit(0, request(2, 10, 1));
    d.run();
    // Request 1 ends at 41. With async nothing could be queued behind its last
    // step, so the next step is decided and starts at 41 as well.
    EXPECT_EQ(d.event(2).time, from_ms(51)) << async;
  }
  config.max_num_seqs = 2;
  config.async_scheduling = true;
  Driver d(config);
  d.submit(0, request(1, 10, 2));   // ends with step 1, at 22
  d.submit(0, request(3, 10, 50));  // keeps the queue full
  d.submit(0, request(2, 10, 1));
  d.run();
  // Step 2 was decided at 20, when request 1 still had its seat; step 3 holds it.
  EXPECT_EQ(d.event(2).time, from_ms(22 + 1 + 11));
}

TEST(Engine, RefusesWhatCanNeverRun) {
  Driver d(small_engine());  // 100 blocks of 4: 99 * 4 = 396 usable tokens
  EXPECT_TRUE(d.engine.submit(0, request(1, 395, 1)));
  const auto too_long = d.engine.submit(0, request(2, 396, 1));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kTooLarge);
  EXPECT_THAT(too_long.error().message, HasSubstr("396"));
  EXPECT_FALSE(d.engine.submit(0, request(1, 5, 1))) << "duplicate id";
  EXPECT_FALSE(d.engine.submit(0, request(3, 0, 1)));
  EXPECT_FALSE(d.engine.submit(0, request(3, 5, 0)));
  EngineRequest unnamed = request(3, 8, 1);
  unnamed.block_hashes.pop_back();
  const auto missing = d.engine.submit(0, unnamed);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("block hashes"));
  EXPECT_EQ(d.engine.waiting_now(), 1);
}

TEST(Engine, OutputEndsAtMaxModelLen) {
  EngineConfig config = small_engine();
  config.max_model_len = 50;
  Driver d(config);
  EXPECT_FALSE(d.engine.submit(0, request(9, 50, 1)));
  d.submit(0, request(1, 40, 10));
  d.submit(0, request(2, 40, 11));
  d.run();
  EXPECT_EQ(d.last(1).total_tokens, 10);
  EXPECT_EQ(d.last(1).reason, FinishReason::kStop);
  EXPECT_EQ(d.last(2).total_tokens, 10);
  EXPECT_EQ(d.last(2).reason, FinishReason::kLength);
  EXPECT_EQ(d.engine.stats().finished_stop, 1);
  EXPECT_EQ(d.engine.stats().finished_length, 1);
}

TEST(Engine, ConfigErrorsSayWhatToDo) {
  const auto error_of = [](auto change) {
    EngineConfig config = small_engine();
    change(config);
    const auto engine = Engine::create(config, std::make_shared<MsPerToken>(), Rng(1));
    return engine ? std::string() : engine.error().message;
  };
  EXPECT_EQ(error_of([](EngineConfig&) {}), "");
  EXPECT_THAT(error_of([](EngineConfig& c) { c.kv_capacity_tokens = 7; }),
              HasSubstr("kv_capacity_tokens"));
  EXPECT_THAT(error_of([](EngineConfig& c) { c.block_tokens = 0; }), HasSubstr("block_tokens"));
  EXPECT_THAT(error_of([](EngineConfig& c) { c.max_num_seqs = 0; }), HasSubstr("max_num_seqs"));
  EXPECT_THAT(error_of([](EngineConfig& c) { c.max_num_batched_tokens = -1; }),
              HasSubstr("max_num_batched_tokens"));
  EXPECT_THAT(error_of([](EngineConfig& c) { c.jitter.sigma = -1; }), HasSubstr("jitter.sigma"));
  EXPECT_THAT(error_of([](EngineConfig& c) { c.speed_factor = 0; }), HasSubstr("speed_factor"));
  EXPECT_THAT(error_of([](EngineConfig& c) {
                c.chunked_prefill = false;
                c.max_model_len = 200;
                c.max_num_batched_tokens = 199;
              }),
              HasSubstr("chunked_prefill"));
  EXPECT_EQ(error_of([](EngineConfig& c) {
              c.chunked_prefill = false;
              c.max_model_len = 200;
              c.max_num_batched_tokens = 200;
            }),
            "");
}

TEST(Engine, WithoutChunkingTheBudgetBoundsThePrompt) {
  EngineConfig config = small_engine();
  config.chunked_prefill = false;
  config.max_num_batched_tokens = 64;
  Driver d(config);
  EXPECT_EQ(d.engine.max_len(), 64);
  EXPECT_FALSE(d.engine.submit(0, request(1, 64, 1)));
  EXPECT_TRUE(d.engine.submit(0, request(2, 63, 1)));
}

TEST(Engine, AbortFreesEverythingAtOnce) {
  Driver d(small_engine());
  d.submit(0, request(1, 40, 100));
  d.submit(0, request(2, 40, 2));
  d.advance(from_ms(85));  // both decode
  EXPECT_EQ(d.engine.running_now(), 1);
  EXPECT_TRUE(d.engine.abort(from_ms(85), 1));
  EXPECT_FALSE(d.engine.abort(from_ms(85), 1));
  EXPECT_FALSE(d.engine.abort(from_ms(85), 2)) << "already finished";
  EXPECT_EQ(d.engine.kv_usage_now(), 0.0);
  const std::size_t before = d.events.size();
  d.run();
  EXPECT_EQ(d.events.size(), before) << "no token after the abort";
  EXPECT_EQ(d.engine.next_event(), kNever);
  EXPECT_EQ(d.engine.stats().aborted, 1);
  d.engine.kv().check_invariants();
}

TEST(Engine, AbortOfTheOnlyWaitingRequestLeavesItIdle) {
  Driver d(small_engine());
  d.submit(0, request(1, 40, 2));
  EXPECT_TRUE(d.engine.abort(0, 1));
  EXPECT_EQ(d.engine.next_event(), kNever);
  d.submit(5, request(1, 40, 1));
  d.run();
  EXPECT_EQ(d.event(1).time, 5 + from_ms(40));
}

TEST(Engine, CrashLosesAllAndStartsCold) {
  Driver d(small_engine());
  d.submit(0, request(3, 40, 9));
  d.submit(0, request(1, 40, 9));
  d.advance(from_ms(85));
  d.submit(from_ms(85), request(2, 12, 9));
  EXPECT_THAT(d.engine.crash(from_ms(85)), ElementsAre(1, 2, 3));
  EXPECT_EQ(d.engine.next_event(), kNever);
  EXPECT_EQ(d.engine.running_now() + d.engine.waiting_now(), 0);
  EXPECT_EQ(d.engine.stats().generation_tokens, 0);
  d.events.clear();
  d.submit(from_ms(90), request(3, 40, 1));  // the same prompt: nothing is cached
  d.run();
  ASSERT_EQ(d.events.size(), 1u);
  EXPECT_EQ(d.events[0].cached_tokens, 0);
  EXPECT_EQ(d.events[0].time, from_ms(130));
}

TEST(Engine, FreezeDelaysTheExecutingStepAndTheNext) {
  Driver d(small_engine());
  d.submit(0, request(1, 40, 2));
  d.advance(from_ms(10));
  d.engine.freeze(from_ms(10), from_ms(110));
  d.engine.freeze(from_ms(20), from_ms(60));   // inside: nothing changes
  d.engine.freeze(from_ms(30), from_ms(130));  // 20 ms longer
  d.run();
  EXPECT_EQ(d.times(1), (std::vector<TimeNs>{from_ms(160), from_ms(161)}));
  d.engine.freeze(from_ms(200), from_ms(300));
  d.submit(from_ms(250), request(2, 10, 1));
  EXPECT_EQ(d.engine.next_event(), from_ms(300));
  d.run();
  EXPECT_EQ(d.event(2).time, from_ms(310));
}

TEST(Engine, SlowdownAndSpeedFactorScaleSteps) {
  EngineConfig config = small_engine();
  config.speed_factor = 2;
  Driver d(config);
  d.submit(0, request(1, 40, 3));
  d.advance(0);
  d.engine.set_slowdown(3);  // not the step that runs already
  d.advance(from_ms(21.5));
  d.engine.set_slowdown(1);
  d.run();
  EXPECT_EQ(d.times(1), (std::vector<TimeNs>{from_ms(20), from_ms(21.5), from_ms(23)}));
}

TEST(Engine, GaugesAreThoseOfTheLastStepsEnd) {
  Driver d(small_engine());  // budget 100
  d.submit(0, request(1, 100, 2));
  d.submit(0, request(2, 100, 1));
  d.advance(from_ms(50));
  EXPECT_EQ(d.engine.stats().running, 0) << "no step has ended";
  d.submit(from_ms(50), request(3, 10, 1));
  d.advance(from_ms(100));
  EXPECT_EQ(d.engine.stats().running, 1);
  EXPECT_EQ(d.engine.stats().waiting, 1) << "what came during the step is not seen yet";
  EXPECT_DOUBLE_EQ(d.engine.stats().kv_usage, 25.0 / 99.0);
  d.run();
  EXPECT_EQ(d.engine.stats().running, 0);
  EXPECT_EQ(d.engine.stats().waiting, 0);
  EXPECT_EQ(d.engine.stats().kv_usage, 0.0);
  EXPECT_EQ(d.engine.stats().prompt_tokens, 210);
  EXPECT_EQ(d.engine.stats().generation_tokens, 4);
}

TEST(Engine, FrontEndDelaysByRequestAndToken) {
  EngineConfig config = small_engine();
  config.frontend_ms_per_request = 2;
  config.frontend_us_per_token = 100;
  Driver d(config);
  d.submit(0, request(1, 50, 1));           // ready at 2 + 5 = 7 ms
  d.submit(from_ms(1), request(2, 10, 1));  // ready at 1 + 2 + 1 = 4 ms: overtakes
  EXPECT_EQ(d.engine.waiting_now(), 2);
  EXPECT_EQ(d.engine.next_event(), from_ms(4));
  d.run();
  EXPECT_EQ(d.event(2).time, from_ms(14));
  EXPECT_EQ(d.event(1).time, from_ms(64));
}

TEST(Engine, JitterHasMeanOneAndStallsComeAtTheirRate) {
  EngineConfig config = small_engine();
  config.kv_capacity_tokens = 1 << 20;
  config.jitter = {.sigma = 0.2, .stall_ms = 20, .stall_every_s = 0.5};
  Driver d(config);
  d.submit(0, request(1, 10, 40000));
  d.run();
  const double measured_ms = to_ms(d.engine.stats().busy);
  // 40 s of steps and one 20 ms stall per half second of the whole.
  EXPECT_NEAR(measured_ms, 40009 / (1 - 0.04), 400);
}

TEST(Engine, SameSeedSameEvents) {
  EngineConfig config = small_engine();
  config.jitter = {.sigma = 0.1, .stall_ms = 5, .stall_every_s = 0.1};
  const auto digest = [&](std::uint64_t seed, bool async) {
    config.async_scheduling = async;
    Driver d(config, seed);
    Rng rng(7);
    TimeNs now = 0;
    for (std::uint64_t id = 1; id <= 200; ++id) {
      now += from_ms(rng.exponential(60));
      d.advance(now);
      d.submit(now, random_request(rng, id, 300, 60));
    }
    d.run();
    std::uint64_t h = 0;
    for (const TokenEvent& e : d.events)
      h = hash_combine(h, hash_combine(e.id, static_cast<std::uint64_t>(e.time)));
    EXPECT_EQ(d.engine.kv_usage_now(), 0.0);
    return h;
  };
  for (bool async : {false, true}) {
    EXPECT_EQ(digest(1, async), digest(1, async));
    EXPECT_NE(digest(1, async), digest(2, async));
  }
}

}  // namespace
}  // namespace lodestar::sim
