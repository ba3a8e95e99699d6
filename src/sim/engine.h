// SPDX-License-Identifier: Apache-2.0
// One LLM engine in simulated time: the scheduler of vLLM V1 (running first,
// chunked prefill, LIFO recompute preemption, full-prompt reservation) over the
// block cache of kv_cache.h and the step times of step_time.h. A deterministic
// state machine: values in, values out, no clock, no callback, no thread.
//
// Driving it: next_event() says when something happens; the driver calls
// advance(that time), which appends what came out. submit() to an idle engine
// makes next_event() return the submit time itself, so requests that arrive at
// the same instant can still share the first step. Calls must not go back in
// time, and advance(t) must come before any later call at a time > t when
// next_event() <= t.
//
// Asynchronous scheduling keeps one scheduled step queued behind the executing
// one, as vLLM does: the step after next is decided when a step starts, so an
// arrival waits for the rest of the executing step and the queued one, and the
// blocks and the seat of a finished request are reusable one step later.
// Endings by length are known in advance and cost no extra token.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/flat_map.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "sim/kv_cache.h"
#include "sim/step_time.h"

namespace lodestar::sim {

struct JitterConfig {
  double sigma = 0;          // lognormal with mean 1 on each step's duration
  double stall_ms = 0;       // added to a step now and then ...
  double stall_every_s = 0;  // ... at exponential intervals of this mean; 0 = never
};

struct EngineConfig {
  std::int64_t kv_capacity_tokens = 0;  // required; whole blocks of it, block 0 is unusable
  std::int64_t max_model_len = 0;       // 0: as much as the cache (and one unchunked step) holds
  std::int64_t max_num_batched_tokens = 2048;
  std::int64_t max_num_seqs = 256;
  std::int64_t block_tokens = 16;
  bool prefix_caching = true;
  bool chunked_prefill = true;
  bool async_scheduling = false;
  bool reserve_full_prompt = true;  // false: only the first chunk must fit (vLLM before 2026)
  JitterConfig jitter;
  double speed_factor = 1;  // 2 = every step takes half as long
  // The API server in front: a request reaches the scheduler this much later.
  double frontend_ms_per_request = 0;
  double frontend_us_per_token = 0;  // of the prompt
  bool emit_every_token = true;      // false: advance() reports only first and last tokens
};

// The identity of generated block `index` (counted from the prompt's start)
// when the request does not name it itself.
constexpr std::uint64_t generated_block_hash(std::uint64_t output_seed, std::int64_t index) {
  return hash_combine(hash_combine(0x67656e6572617465ULL, output_seed),
                      static_cast<std::uint64_t>(index));
}

struct EngineRequest {
  std::uint64_t id = 0;  // unique among the requests in the engine
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;  // true length; only the engine may read it
  // Chained identity of full block i of prompt + output. Must cover each full
  // prompt block when prefix caching is on; may go on into the output (what a
  // follow-up turn will send back); beyond it generated_block_hash() counts.
  std::vector<std::uint64_t> block_hashes;
  std::uint64_t output_seed = 0;
};

enum class FinishReason : std::uint8_t { kNone, kStop, kLength };  // kLength: hit max_model_len

struct TokenEvent {
  std::uint64_t id = 0;
  TimeNs time = 0;
  std::int64_t total_tokens = 0;  // generated so far, this one included
  std::int64_t cached_tokens = 0;  // prompt tokens found in the cache at first admission
  bool first = false;
  bool finished = false;
  FinishReason reason = FinishReason::kNone;
  TimeNs scheduled = 0;  // when it was first admitted to a step
};

// What /metrics would show. Gauges are those of the end of the last step (vLLM
// sets them once per step and does not yet see what arrived during it);
// counters only grow until a crash.
struct EngineStats {
  std::int64_t running = 0, waiting = 0;
  double kv_usage = 0;  // 1 - free/usable; cached but unreferenced blocks are free
  std::int64_t prefix_queries = 0, prefix_hits = 0;  // tokens
  std::int64_t preemptions = 0;
  std::int64_t prompt_tokens = 0, prompt_tokens_cached = 0, generation_tokens = 0;
  std::int64_t finished_stop = 0, finished_length = 0, aborted = 0;
  std::int64_t steps = 0;
  DurationNs busy = 0;  // time in which a step was executing
};

// Working memory of predict_first_token(), reusable over engines and calls.
class ForkScratch;

class Engine {
 public:
  // Errors: a parameter out of range, or no chunked prefill with a token budget
  // below max_model_len (such a prompt could never run).
  static Result<Engine> create(const EngineConfig& config,
                               std::shared_ptr<const StepTime> step_time, Rng rng);

  // Refused: no room for prompt + 1 token in max_model_len or the cache (kTooLarge),
  // zero lengths, missing block hashes or a duplicate id (kInvalidArgument).
  // An output that would pass max_model_len is cut there, reason kLength.
  Result<void> submit(TimeNs now, EngineRequest request);
  // Frees its blocks at once; false when the id is not here (already finished).
  bool abort(TimeNs now, std::uint64_t id);
  // When advance() has something to do; kNever when idle.
  TimeNs next_event() const;
  // Does everything due up to now; appends to out in time order.
  void advance(TimeNs now, std::vector<TokenEvent>& out);

  const EngineStats& stats() const { return stats_; }
  // The true state now, which no scrape sees.
  std::int64_t running_now() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting_now() const {
    return static_cast<std::int64_t>(waiting_.size() + arriving_.size());
  }
  double kv_usage_now() const { return kv_.usage(); }
  const EngineConfig& config() const { return config_; }
  const KvCache& kv() const { return kv_; }
  std::int64_t max_len() const { return max_len_; }  // effective max_model_len

  // Faults. Steps that start from now on take `factor` times as long (1 = healthy).
  void set_slowdown(double factor);
  // The prefix cache is empty from now on; running requests go on, counters too.
  void lose_cache();
  // Only this part (0..1] of the KV cache can be used. A request that needs more, alone,
  // still gets it: an engine never stands still for ever.
  void shrink_cache(double part);
  // Nothing moves before `until`; the executing step ends that much later.
  void freeze(TimeNs now, TimeNs until);
  // Forgets everything but configuration; returns the ids that were in flight,
  // in ascending order. The engine can be used again at once.
  std::vector<std::uint64_t> crash(TimeNs now);

  // When the first token of `request` would come if it were submitted at `now`
  // (not before the last call, but it may lie in the future) and nothing else
  // arrived any more; kNever when submit() would refuse it. Runs the
  // same scheduler on counts instead of block tables, without jitter: exact
  // while nothing is evicted or preempted, an estimate otherwise.
  TimeNs predict_first_token(TimeNs now, const EngineRequest& request, ForkScratch& scratch) const;

 private:
  friend class EngineFork;
  // What the step loop touches: one cache line per sequence.
  struct Seq {
    std::uint64_t id = 0;
    std::int64_t computed = 0;  // tokens whose KV is (or will be, when executing) in the cache
    std::int64_t planned = 0;   // prompt + tokens sampled or being sampled
    std::int64_t known = 0;     // prompt + tokens that came out
    std::int64_t final_len = 0;
    std::int64_t slots = 0;           // token capacity of its block table
    std::int64_t prefill_target = 0;  // computed < this: prefill (or recompute after preemption)
    std::int64_t final_step = -1;     // number of the step that samples its last token
  };
  struct SeqInfo {
    EngineRequest request;
    std::vector<std::uint32_t> blocks;
    std::int64_t hashed_blocks = 0;
    std::int64_t cached_tokens = -1;  // -1: never admitted
    TimeNs scheduled = 0;
    std::int32_t preemptions = 0;
    bool waiting = false, cut_at_max_len = false;
    std::int64_t hit_depth = 0;  // blocks found when admission was last tried
    // What predict_first_token() remembers; hints that are verified before use.
    mutable std::int64_t fork_depth = 0, fork_shared_ahead = -1;
  };
  struct Plan {
    StepShape shape;
    std::int64_t number = -1;  // -1: no plan
    std::vector<std::uint32_t> sampling;  // sequences that get a token
  };
  struct Arrival {
    TimeNs ready = 0;
    std::uint32_t seq = 0;
  };

  Engine(const EngineConfig& config, std::shared_ptr<const StepTime> step_time, Rng rng,
         std::int64_t max_len);

  // engine.cc
  Result<void> check(const EngineRequest& request) const;
  TimeNs ready_time(TimeNs now, const EngineRequest& request) const;
  std::uint32_t new_seq(EngineRequest&& request);
  void drop_seq(std::uint32_t seq);
  void start_steps(TimeNs now);
  bool lend_withheld();
  void execute_queued(TimeNs now);
  void finish_step(TimeNs now, std::vector<TokenEvent>& out);
  void emit(std::uint32_t seq, TimeNs now, std::vector<TokenEvent>& out);
  void retire_finished();
  void accept_arrivals(TimeNs now);
  void set_gauges();
  void forget_in_plans(std::uint32_t seq);
  bool has_work() const { return !running_.empty() || !waiting_.empty() || !arriving_.empty(); }
  DurationNs duration_ns(const StepShape& shape) const;
  DurationNs noisy_duration_ns(TimeNs now, const StepShape& shape);

  // engine_schedule.cc
  bool schedule(Plan& plan);
  bool schedule_running(Plan& plan, std::int64_t& budget);
  bool admit_head(Plan& plan, std::int64_t& budget);
  void place(Plan& plan, std::uint32_t seq, std::int64_t tokens);
  bool extend(std::uint32_t seq, std::int64_t tokens);
  void cache_full_blocks(std::uint32_t seq);
  std::uint32_t preempt_last();
  void release_blocks(std::uint32_t seq);
  bool surely_blocked(std::uint32_t seq);
  void find_hits(std::uint32_t seq);
  std::uint64_t block_hash(const SeqInfo& info, std::int64_t index) const;

  EngineConfig config_;
  std::shared_ptr<const StepTime> step_time_;
  Rng rng_;
  KvCache kv_;
  std::int64_t max_len_ = 0;
  std::vector<Seq> seqs_;        // parallel to infos_, slots are reused
  std::vector<SeqInfo> infos_;
  std::vector<std::uint32_t> spare_;
  std::vector<std::uint32_t> running_;
  std::deque<std::uint32_t> waiting_;
  std::vector<Arrival> arriving_;  // in the front end, sorted by ready time
  FlatMap64 by_id_;
  std::vector<std::uint32_t> hits_;  // scratch of find_hits()
  std::vector<std::uint32_t> finished_;  // scratch of finish_step()
  Plan executing_, queued_;
  std::int64_t next_step_ = 0;
  std::int64_t unseen_arrivals_ = 0;  // joined waiting_ after the last schedule()
  TimeNs schedule_time_ = 0;
  TimeNs step_start_ = 0, step_end_ = kNever;
  TimeNs wake_ = kNever;  // idle with work: when to start
  TimeNs frozen_until_ = 0, next_stall_ = kNever, last_now_ = 0;
  double time_scale_ = 1;  // slowdown / speed_factor
  EngineStats stats_;
};

}  // namespace lodestar::sim
