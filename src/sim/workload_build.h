// SPDX-License-Identifier: Apache-2.0
// Shared by the plan builders (workload_plan.cc, workload_sessions.cc,
// synthetic.cc): appends requests to a plan and links what waits for what.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "sim/workload.h"
#include "sim/workload_spec.h"

namespace lodestar::sim {

class PlanBuilder {
 public:
  PlanBuilder(const WorkloadSpec& spec, WorkloadPlan& plan) : spec_(spec), plan_(plan) {}

  // Starts a request; add its spans next, then close it.
  PlannedRequest& open(TimeNs arrival);
  void span(TokenSpan span) { append_span(plan_.spans, plan_.requests.back().spans_begin, span); }
  // Completes the last request: prompt_tokens becomes the sum of its spans.
  std::uint32_t close();
  // `to` waits for `from`, then `delay`.
  void wait(std::uint32_t from, std::uint32_t to, DurationNs delay);
  std::uint32_t new_session() { return plan_.sessions++; }
  std::size_t size() const { return plan_.requests.size(); }

  // Length after trace.output_scale and the phase's; at least 1.
  std::int64_t output_tokens(std::int64_t recorded, TimeNs arrival) const;

  // Sorts open-loop requests by arrival, cuts at the limits, lays out edges and
  // heads, draws service levels. Errors: nothing arrives or counts.
  Result<void> finish(std::uint64_t seed);

 private:
  void sort_open_loop();
  void lay_out_edges();
  void draw_slo(Rng rng);
  Result<void> check_not_empty() const;

  const WorkloadSpec& spec_;
  WorkloadPlan& plan_;
  std::vector<std::pair<std::uint32_t, WorkloadPlan::Edge>> links_;
};

// Open-loop traces (mooncake, azure) and closed-loop ones (kvcachetester).
Result<void> plan_open_trace(const WorkloadSpec& spec, const Trace& trace, std::uint64_t seed,
                             PlanBuilder& builder);
Result<void> plan_sessions(const WorkloadSpec& spec, const Trace& trace, std::uint64_t seed,
                           PlanBuilder& builder);
Result<void> plan_synthetic(const WorkloadSpec& spec, std::uint64_t seed, PlanBuilder& builder);

// Arrival times for `count` requests (or sessions) in order; fewer when the process
// or duration_s ends them. `recorded` (relative, non-decreasing) serves kind trace.
std::vector<TimeNs> draw_arrivals(const WorkloadSpec& spec, std::uint64_t seed, std::size_t count,
                                  const std::vector<TimeNs>& recorded);

// The row at which a seed starts: (seed * rows / 8 + start_row) mod rows.
std::size_t start_row(std::uint64_t seed, std::int64_t start_row, std::size_t rows);

// A stream of identities that nothing else in the plan has.
std::uint64_t stream_id(std::string_view label, std::uint64_t a, std::uint64_t b = 0);

}  // namespace lodestar::sim
