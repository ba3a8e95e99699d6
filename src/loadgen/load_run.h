// SPDX-License-Identifier: Apache-2.0
// Open-loop load: every request of a workload is sent at its planned time, however
// slow the answers are, and its latencies count from that planned time even when
// the sender itself was late. (A closed-loop workload plans a request's time when
// the answer it waits for has come.) Single-threaded, on one worker of a runtime.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loadgen/prompt_text.h"
#include "net/client.h"
#include "sim/result.h"
#include "sim/workload.h"

namespace lodestar::loadgen {

struct LoadOptions {
  std::vector<net::Url> targets;  // several: taken in turn
  BodyOptions body;
  double time_scale = 1;          // planned times and delays are divided by it
  DurationNs timeout = 600 * kSecond;  // wall time, per request
  std::size_t max_connections = 16'384;  // per target; beyond, a request fails
  std::string api_key;            // sent as a bearer token when not empty
  bool ignore_instance_header = false;
};

// Beside the records, whose times are workload time (wall time x time_scale).
struct LoadOutcome {
  std::vector<sim::RequestRecord> records;   // in order of sending
  std::vector<std::string> instances;        // RequestRecord::instance indexes this
  std::vector<std::string> failures;         // parallel to records; empty: no failure
  std::map<std::string, std::uint64_t> failure_counts;
  std::vector<DurationNs> lateness;          // wall time, parallel to records
  std::vector<std::int64_t> usage_prompt_tokens;  // parallel to records; -1: no usage
  std::uint64_t prompts_as_planned = 0;  // answers whose usage counts the planned tokens
  std::uint64_t unsent = 0;       // planned but not sent when the run was stopped
  bool interrupted = false;
  DurationNs wall = 0;
  std::string served_model;
};

// What a progress line needs.
struct LoadProgress {
  DurationNs wall = 0;
  std::uint64_t sent = 0, done = 0, failed = 0, in_flight = 0, planned = 0;
  double recent_ttft_ms = 0;  // mean over what got its first token since the last call
  double recent_late_ms = 0;  // worst lateness since the last call, wall
};

class LoadRun {
 public:
  LoadRun(net::Executor executor, std::shared_ptr<const sim::WorkloadPlan> plan,
          LoadOptions options);
  ~LoadRun();

  // Sends everything and returns when the last answer has ended, or soon after
  // stop(). Before that it asks the first target for its served model if none was
  // given. Errors: no target answers that question.
  net::Task<Result<void>> run();
  // No further request; those in flight are cancelled and count as unfinished.
  void stop();

  LoadProgress progress();
  LoadOutcome take_outcome();

 private:
  struct Sending;
  net::Task<Result<void>> find_served_model();
  net::Task<void> send(std::uint32_t slot, sim::SimRequest request, TimeNs planned_wall);
  net::Task<std::string> exchange(Sending& sending);
  net::Task<std::string> read_stream(Sending& sending, net::ResponseStream& stream);
  net::RequestHead request_head(const char* method, std::string path) const;
  void settle(std::uint32_t slot, const Sending& sending, std::string failure);
  std::uint32_t instance_index(const std::string& name);
  TimeNs workload_time(TimeNs wall) const;
  TimeNs wall_time(TimeNs workload) const;

  net::Executor executor_;
  LoadOptions options_;
  sim::Workload workload_;
  std::vector<std::unique_ptr<net::ClientPool>> pools_;  // one per target
  AnswerMemory answers_;
  LoadOutcome outcome_;
  std::map<std::string, std::uint32_t> instance_of_;
  std::vector<std::shared_ptr<net::Cancel>> cancels_;  // parallel to records, null when settled
  TimeNs start_ = 0;
  std::uint64_t in_flight_ = 0, done_ = 0, failed_ = 0;
  bool stopping_ = false;
  double ttft_sum_ms_ = 0, worst_late_ms_ = 0;
  std::uint64_t ttft_count_ = 0;
  net::Notifier wake_;
};

}  // namespace lodestar::loadgen
