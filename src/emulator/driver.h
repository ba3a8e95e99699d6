// SPDX-License-Identifier: Apache-2.0
// The simulator's engine under the wall clock. Engine time = (wall - start) x
// scale; a timer wakes the driver at the engine's next event. A late wake-up
// catches up event by event, each at its own engine time, so lateness delays what
// clients see but never changes what the engine decides. Everything runs on one
// worker's thread.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "emulator/vllm_metrics.h"
#include "net/task.h"
#include "sim/engine.h"
#include "sim/world.h"

namespace lodestar::emulator {

// One answer in the making. The driver writes it, the request's handler reads it.
struct Generation {
  explicit Generation(net::Executor executor) : wake(executor) {}

  std::uint64_t id = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;  // it ends here, unless max_model_len comes first
  std::int64_t max_tokens = 0;
  bool ends_by_length = false;     // reaching output_tokens is finish_reason "length"

  std::int64_t generated = 0;
  std::int64_t cached_tokens = 0;  // known with the first token
  bool finished = false;
  bool failed = false;             // the engine crashed
  TimeNs arrival = 0, scheduled = kNever, first_token = kNever, last_token = kNever;
  net::Notifier wake;              // on progress
};

struct DriverConfig {
  sim::EngineConfig engine;
  std::shared_ptr<const sim::StepTime> step_time;
  std::vector<sim::EngineFault> faults;  // times are engine time since start
  std::uint64_t seed = 1;
  double time_scale = 1;                 // > 0
  std::string served_model;
  double gpu_memory_utilization = 0.9;   // shown in cache_config_info only
  double unix_time_s = 0;                // when the process started
};

class EngineDriver {
 public:
  static Result<std::unique_ptr<EngineDriver>> create(net::Executor executor, DriverConfig config);

  // Moves the engine until stop(). Spawn it once, before the first submit().
  net::Task<void> run();
  void stop();

  // `tokens` identify prompt and output: chained hashes of every full block.
  // Errors: kUnavailable while down or leaving; the engine's own (kTooLarge).
  Result<std::shared_ptr<Generation>> submit(std::int64_t prompt_tokens, std::int64_t output_tokens,
                                             std::int64_t max_tokens, bool ends_by_length,
                                             std::vector<std::uint64_t> block_hashes,
                                             std::uint64_t output_seed);
  // The client has gone. No effect on what is finished.
  void abort(Generation& generation);

  TimeNs engine_now() const;
  std::int64_t max_model_len() const { return max_model_len_; }
  std::size_t in_flight() const { return live_.size(); }
  const sim::Engine& engine() const { return *engine_; }
  const VllmMetrics& metrics() const { return *metrics_; }
  double time_scale() const { return config_.time_scale; }

  bool up() const { return !down_; }            // false: the process is gone
  bool accepting() const { return !down_ && !leaving_; }
  // Brings the process down for good (a test's way to kill it from inside).
  void kill();
  // vLLM's /reset_prefix_cache: false while anything runs.
  bool reset_prefix_cache();

 private:
  struct FaultEvent {
    TimeNs at = 0;
    bool begin = true;
    sim::EngineFault fault;
  };

  EngineDriver(net::Executor executor, DriverConfig config);
  void add_fault(FaultEvent event);
  Result<void> restart();
  TimeNs next_time() const;
  void advance_to(TimeNs now);
  void take(TimeNs at);
  void note_scheduled(TimeNs at);
  void finish(const std::shared_ptr<Generation>& generation, TimeNs at, Ending ending);
  void apply(const FaultEvent& event);
  void crash(TimeNs at);

  net::Executor executor_;
  DriverConfig config_;
  TimeNs wall_start_ = 0;
  std::unique_ptr<sim::Engine> engine_;
  std::unique_ptr<VllmMetrics> metrics_;
  std::int64_t max_model_len_ = 0;
  std::uint64_t next_id_ = 1, life_ = 0;
  TimeNs reached_ = 0;  // engine time up to which everything is done
  std::unordered_map<std::uint64_t, std::shared_ptr<Generation>> live_;
  std::deque<std::shared_ptr<Generation>> unscheduled_;  // first come first
  std::vector<sim::TokenEvent> events_;
  std::vector<FaultEvent> faults_;  // by time
  std::size_t next_fault_ = 0;
  bool down_ = false, leaving_ = false, stopped_ = false;
  net::Notifier wake_;
};

}  // namespace lodestar::emulator
