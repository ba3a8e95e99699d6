// SPDX-License-Identifier: Apache-2.0
// For tests of the engine: a step time that can be summed in the head, requests
// with readable block identities, and a driver that collects events.
#pragma once
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "sim/engine.h"

namespace lodestar::sim {

// One ms per scheduled token, nothing else.
class MsPerToken final : public StepTime {
 public:
  double step_ms(const StepShape& shape) const override {
    return static_cast<double>(shape.tokens);
  }
};

// 100 blocks of 4 tokens (99 usable), 100 tokens per step.
inline EngineConfig small_engine() {
  EngineConfig config;
  config.kv_capacity_tokens = 400;
  config.block_tokens = 4;
  config.max_num_batched_tokens = 100;
  config.max_num_seqs = 16;
  return config;
}

// A prompt of the family `family` (0: shared with nobody): equal families share
// their first `shared_blocks` blocks.
inline EngineRequest request(std::uint64_t id, std::int64_t prompt, std::int64_t output,
                             std::uint64_t family = 0, std::int64_t shared_blocks = 5,
                             std::int64_t block_tokens = 4) {
  EngineRequest r;
  r.id = r.output_seed = id;
  r.prompt_tokens = prompt;
  r.output_tokens = output;
  for (std::int64_t b = 0; b < prompt / block_tokens; ++b) {
    const bool shared = family != 0 && b < shared_blocks;
    r.block_hashes.push_back(
        hash_combine(mix64(shared ? family : 1'000'000 + id), static_cast<std::uint64_t>(b)));
  }
  return r;
}

// One draw per statement: the order in which arguments are evaluated is not
// fixed, and the same seed must make the same request everywhere.
inline EngineRequest random_request(Rng& rng, std::uint64_t id, std::int64_t most_prompt,
                                    std::int64_t most_output) {
  const std::int64_t prompt = rng.between(1, most_prompt);
  const std::int64_t output = rng.between(1, most_output);
  const std::uint64_t family = rng.below(4);
  const std::int64_t shared_blocks = rng.between(1, 40);
  return request(id, prompt, output, family, shared_blocks);
}

struct Driver {
  explicit Driver(const EngineConfig& config, std::uint64_t seed = 1,
                  std::shared_ptr<const StepTime> time = std::make_shared<MsPerToken>())
      : engine(std::move(*Engine::create(config, std::move(time), Rng(seed)))) {}

  void submit(TimeNs now, EngineRequest r) {
    advance(now - 1);  // at equal times an arrival comes before the engine's events
    const auto done = engine.submit(now, std::move(r));
    EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().message);
  }
  // One event at a time, as a simulator does.
  void advance(TimeNs until) {
    while (engine.next_event() <= until) engine.advance(engine.next_event(), events);
  }
  void run() { advance(kNever - 1); }

  TokenEvent event(std::uint64_t id) const { return nth(id, 0); }  // its first token
  TokenEvent last(std::uint64_t id) const { return nth(id, times(id).size() - 1); }
  std::vector<TimeNs> times(std::uint64_t id) const {
    std::vector<TimeNs> out;
    for (const TokenEvent& e : events)
      if (e.id == id) out.push_back(e.time);
    return out;
  }
  TokenEvent nth(std::uint64_t id, std::size_t n) const {
    for (const TokenEvent& e : events)
      if (e.id == id && n-- == 0) return e;
    ADD_FAILURE() << "no such event of request " << id;
    return {};
  }

  Engine engine;
  std::vector<TokenEvent> events;
};

}  // namespace lodestar::sim
