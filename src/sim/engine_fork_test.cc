// SPDX-License-Identifier: Apache-2.0
// predict_first_token() against the truth: a copy of the engine that really gets
// the request and runs on without further arrivals.
#include "sim/engine_fork.h"

#include <cmath>
#include <cstdio>

#include <gtest/gtest.h>

#include "sim/engine_testing.h"
#include "sim/gpu_presets.h"

namespace lodestar::sim {
namespace {

TimeNs truth(Engine engine, TimeNs now, const EngineRequest& r) {
  std::vector<TokenEvent> events;
  while (engine.next_event() < now) engine.advance(engine.next_event(), events);
  EXPECT_TRUE(engine.submit(now, r).has_value());
  for (;;) {
    events.clear();
    engine.advance(engine.next_event(), events);
    for (const TokenEvent& e : events)
      if (e.id == r.id) return e.time;
  }
}

struct Score {
  int compared = 0, exact = 0, waited = 0;
  double absolute_ms = 0, true_ms = 0;
};

// Random load; before each arrival a prediction for it.
Score play(EngineConfig config, std::uint64_t seed, double gap_ms, bool faults = false) {
  Rng rng(seed);
  Driver d(config, seed);
  ForkScratch scratch;
  Score score;
  TimeNs now = 0;
  for (std::uint64_t id = 1; id <= 150; ++id) {
    now += from_ms(rng.exponential(gap_ms));
    // Whole ms, as steps have: some arrivals meet a step's end.
    if (rng.below(4) == 0) now += kMillisecond - now % kMillisecond;
    d.advance(now - 1);
    if (faults && rng.below(10) == 0) d.engine.freeze(now, now + from_ms(30));
    if (faults && rng.below(10) == 0) d.engine.set_slowdown(1 + rng.uniform());
    if (rng.below(8) == 0 && id > 2) d.engine.abort(now, id - 1 - rng.below(2));
    const auto r = random_request(rng, id, 250, 60);
    const TimeNs reaches = now + (rng.below(3) == 0 ? from_ms(7) : 0);  // a network between
    const TimeNs predicted = d.engine.predict_first_token(reaches, r, scratch);
    const TimeNs actual = truth(d.engine, reaches, r);
    ++score.compared;
    score.exact += predicted == actual;
    score.waited += d.engine.waiting_now() > 0;
    score.absolute_ms += std::fabs(to_ms(predicted - actual));
    score.true_ms += to_ms(actual - now);
    d.submit(now, r);
  }
  return score;
}

EngineConfig random_config(Rng& rng) {
  EngineConfig config = small_engine();
  config.max_num_seqs = rng.between(2, 20);
  config.max_num_batched_tokens = rng.between(20, 300);
  config.async_scheduling = rng.below(2) == 0;
  config.reserve_full_prompt = rng.below(2) == 0;
  config.prefix_caching = rng.below(4) != 0;
  if (rng.below(3) == 0) {
    config.frontend_ms_per_request = 3;
    config.frontend_us_per_token = 50;
  }
  if (rng.below(4) == 0) {
    config.chunked_prefill = false;
    config.max_model_len = 400;
    config.max_num_batched_tokens = 400;
  }
  return config;
}

TEST(EngineFork, ExactWhileNothingIsEvicted) {
  Score all;
  for (std::uint64_t seed = 1; seed <= 45; ++seed) {
    Rng rng(seed);
    EngineConfig config = random_config(rng);
    config.kv_capacity_tokens = 1 << 16;  // more than all requests together
    // From idle to a queue that only grows.
    const Score s = play(config, seed,
                         seed % 3 == 0   ? 400
                         : seed % 3 == 1 ? 150
                                         : 40,
                         seed % 5 == 0);
    EXPECT_EQ(s.exact, s.compared)
        << "seed " << seed << ", mean error " << s.absolute_ms / s.compared << " ms";
    all.compared += s.compared;
    all.waited += s.waited;
  }
  EXPECT_GT(all.waited, all.compared / 4) << "the queue is part of the test";
}

TEST(EngineFork, CloseWhenTheCacheIsTooSmall) {
  double absolute = 0, total = 0;
  int compared = 0, exact = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Rng rng(seed);
    EngineConfig config = random_config(rng);
    config.kv_capacity_tokens = 4 * rng.between(120, 400);
    const Score s = play(config, seed, 150);
    absolute += s.absolute_ms;
    total += s.true_ms;
    compared += s.compared;
    exact += s.exact;
  }
  std::printf("small caches: %d of %d exact, mean |error| %.2f %% of the mean TTFT\n", exact,
              compared, 100 * absolute / total);
  EXPECT_LT(absolute, 0.05 * total);
}

TEST(EngineFork, RefusedMeansNever) {
  Driver d(small_engine());
  ForkScratch scratch;
  EXPECT_EQ(d.engine.predict_first_token(0, request(1, 396, 1), scratch), kNever);
  EXPECT_EQ(d.engine.predict_first_token(0, request(1, 30, 1), scratch), from_ms(30));
}

TEST(EngineFork, LeavesTheEngineAsItWas) {
  EngineConfig config = small_engine();
  Driver a(config), b(config);
  ForkScratch scratch;
  for (std::uint64_t id = 1; id <= 40; ++id) {
    const TimeNs now = from_ms(30.0 * static_cast<double>(id));
    const auto r = request(id, 20 + static_cast<std::int64_t>(id), 30, id % 3, 4);
    a.submit(now, r);
    b.submit(now, r);
    b.engine.predict_first_token(now, request(1000, 100, 5, 1), scratch);
  }
  a.run();
  b.run();
  ASSERT_EQ(a.events.size(), b.events.size());
  for (std::size_t i = 0; i < a.events.size(); ++i) {
    EXPECT_EQ(a.events[i].id, b.events[i].id);
    EXPECT_EQ(a.events[i].time, b.events[i].time);
  }
}

}  // namespace
}  // namespace lodestar::sim
