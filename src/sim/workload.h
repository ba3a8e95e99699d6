// SPDX-License-Identifier: Apache-2.0
// A workload in motion: which request comes next, and when. The plan (every
// request that may come, with its prompt, its arrival or what it waits for) is
// immutable and shared by all runs of one (file, seed); a Workload is a cheap
// cursor over it, one per run.
//
//   Workload workload(plan);
//   while (workload.next_arrival() != kNever) { SimRequest r = workload.take(); ... }
//   workload.on_complete(r.index, now);   // for every request, failed ones too
//
// Open loop: arrivals are fixed. Closed loop: completing a request releases the
// ones that wait for it, so next_arrival() may become finite (or earlier) again
// after on_complete. Not thread-safe; deterministic.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "routing/request.h"
#include "sim/workload_content.h"

namespace lodestar::sim {

// What a router or a client may know of a request. The spans live as long as the plan.
struct SimRequest {
  std::uint32_t index = 0;  // in the plan; the same request in every run
  TimeNs arrival = 0;       // since the start of the run
  bool counted = true;      // false during warm-up: simulated, not reported
  std::int64_t prompt_tokens = 0;
  TokenSpans content;
  std::uint64_t session = 0;  // conversation; 0: the source does not say
  SloTarget slo;
  std::uint32_t slo_class = kNoSlo;  // index into the file's slo list
  static constexpr std::uint32_t kNoSlo = 0xffffffffu;
};

// What only the engine may read.
struct RequestTruth {
  std::int64_t output_tokens = 1;  // true length, >= 1
  TokenSpan output;  // identities of the generated tokens, as a later prompt repeats them
};

struct PlannedRequest {
  TimeNs arrival = 0;          // first request of a session; ignored where pending > 0
  std::uint32_t pending = 0;   // how many requests must complete before this one
  std::uint32_t session_slot = 0;  // dense number of its session, for concurrency limits
  std::uint64_t session = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 1;
  std::size_t spans_begin = 0, spans_end = 0;  // in WorkloadPlan::spans
  TokenSpan output;
  std::uint32_t slo_class = SimRequest::kNoSlo;
  std::uint32_t edges_begin = 0, edges_end = 0;  // in WorkloadPlan::edges: who waits for it
};

struct WorkloadPlan {
  struct Edge {
    std::uint32_t to = 0;
    DurationNs delay = 0;  // `to` comes no earlier than completion + delay
  };
  std::vector<PlannedRequest> requests;
  std::vector<TokenSpan> spans;
  std::vector<Edge> edges;
  std::vector<std::uint32_t> heads;  // requests with pending == 0, by (arrival, index)
  std::uint32_t sessions = 0;        // number of session slots
  std::vector<SloTarget> slos;
  std::uint64_t max_requests = 0;  // stop after so many arrivals
  std::uint64_t warmup_requests = 0;
  TimeNs end = kNever;             // no arrival at or after
  // 0: each session starts at its head's arrival. Otherwise at most so many sessions
  // are open; the next one starts when one has ended (arrival times are ignored).
  std::uint32_t concurrency = 0;
  bool closed_loop = false;  // some request waits for another

  TokenSpans content(const PlannedRequest& r) const {
    return TokenSpans(spans).subspan(r.spans_begin, r.spans_end - r.spans_begin);
  }
};

class Workload {
 public:
  explicit Workload(std::shared_ptr<const WorkloadPlan> plan);

  const WorkloadPlan& plan() const { return *plan_; }
  // The most requests that can come (exact for open loops without duration_s).
  std::uint64_t max_requests() const;
  std::uint64_t taken() const { return taken_; }

  // Time of the next arrival; kNever when none is released now.
  TimeNs next_arrival() const;
  // The next request. Requires next_arrival() != kNever.
  SimRequest take();
  // The request has ended (completed, failed or refused: a user goes on either
  // way). Returns whether next_arrival() may have changed.
  bool on_complete(std::uint32_t index, TimeNs now);

  RequestTruth truth(std::uint32_t index) const;

 private:
  struct Release {
    TimeNs at;
    std::uint32_t index;
  };
  void release(std::uint32_t index, TimeNs at);
  bool head_is_next() const;

  std::shared_ptr<const WorkloadPlan> plan_;
  std::size_t next_head_ = 0;
  std::vector<Release> heap_;  // earliest (at, index) at the front
  std::vector<std::uint32_t> pending_;
  std::vector<TimeNs> ready_;
  std::vector<std::uint32_t> session_left_;  // only with a concurrency limit
  std::uint64_t taken_ = 0;
};

}  // namespace lodestar::sim
