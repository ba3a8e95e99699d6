// SPDX-License-Identifier: Apache-2.0
// The engine's future without new arrivals, on counts instead of block tables:
// behind Engine::predict_first_token(). The scheduler is the engine's, rule by
// rule; blocks are a number, cache hits a depth per request.
//
// Exact while nothing is evicted or preempted. Otherwise an estimate: it does
// not follow which cached blocks later allocations evict, and takes the blocks
// that a finishing sequence shares with others from their counts of now.
#pragma once
#include <cstdint>
#include <vector>

#include "sim/engine.h"

namespace lodestar::sim {

struct ForkSeq {
  std::int64_t computed = 0, planned = 0, final_len = 0, slots = 0;
  std::int64_t prefill_target = 0, final_step = -1;
  std::int64_t own_blocks = 0;      // taken from the free list inside the fork
  std::int64_t resume_blocks = 0;   // preempted in the fork: full blocks it left behind
  std::int64_t resume_free = 0;     // ... how many of them it alone held
  std::int64_t resume_evicted = 0;  // ... allocations before any of them is lost
  std::uint32_t index = 0;          // of the engine's sequence, or kNewRequest
};

class ForkScratch {
 private:
  friend class EngineFork;
  std::vector<ForkSeq> running_, resumed_;
  std::vector<std::uint32_t> pending_;
  std::vector<TimeNs> pending_ready_;
};

class EngineFork {
 public:
  EngineFork(const Engine& engine, const EngineRequest& request, ForkScratch& scratch);
  TimeNs run(TimeNs now);

 private:
  static constexpr std::uint32_t kNewRequest = 0xffffffffu;
  // The longest future looked at; far beyond any queue that still makes sense.
  static constexpr std::int64_t kMaxSteps = 5'000'000;
  struct Plan {
    StepShape shape;
    std::int64_t number = -1;
  };

  TimeNs first_start(TimeNs now) const;
  bool start(TimeNs now);
  bool schedule();
  bool schedule_running(std::int64_t& budget);
  bool admit_head(std::int64_t& budget);
  void place(ForkSeq& seq, std::int64_t tokens);
  bool extend(ForkSeq& seq, std::int64_t tokens);
  void preempt_last();
  void retire(std::int64_t step);
  void skip_decodes();
  std::int64_t own_blocks(const ForkSeq& seq) const;

  bool head_exists() const { return !resumed_.empty() || next_waiting_ < visible_; }
  ForkSeq head() const;
  std::int64_t hit_depth(const ForkSeq& seq, std::int64_t& unused) const;
  std::int64_t cached_depth(const ForkSeq& seq, std::int64_t from) const;
  std::int64_t shared_ahead(const ForkSeq& seq) const;
  std::int64_t shared_with(const ForkSeq& seq, std::uint32_t other) const;
  std::int64_t unused_between(const ForkSeq& seq, std::int64_t from, std::int64_t to) const;
  std::uint64_t hash(const ForkSeq& seq, std::int64_t block) const;
  const EngineRequest& request_of(const ForkSeq& seq) const;

  const Engine& engine_;
  const EngineConfig& config_;
  const EngineRequest& request_;
  std::vector<ForkSeq>& running_;
  std::vector<ForkSeq>& resumed_;         // preempted in the fork; the head is at the back
  std::vector<std::uint32_t>& pending_;  // waiting, then in the front end; kNewRequest among them
  std::vector<TimeNs>& pending_ready_;
  std::size_t next_waiting_ = 0, visible_ = 0;
  std::int64_t free_ = 0, allocated_ = 0;
  Plan executing_, queued_;
  std::int64_t next_step_ = 0, target_step_ = -1;
  TimeNs step_end_ = 0;
};

}  // namespace lodestar::sim
