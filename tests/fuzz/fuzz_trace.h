// SPDX-License-Identifier: Apache-2.0
// Any text as a trace of one format: an error, or rows that satisfy what
// trace_data.h promises and can be planned.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sim/workload_plan.h"

namespace lodestar::sim {

inline void fuzz_trace(const std::uint8_t* data, std::size_t size, TraceFormat format) {
  auto trace =
      parse_trace(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz", format);
  if (!trace) {
    if (trace.error().message.empty()) std::abort();
    return;
  }
  for (const TraceRow& row : (*trace)->rows) {
    if (row.input_tokens < 1 || row.output_tokens < 1 || row.timestamp < 0) std::abort();
    if (row.runs_begin > row.runs_end || row.runs_end > (*trace)->runs.size()) std::abort();
  }
  WorkloadSpec spec;
  spec.trace.emplace();
  spec.trace->format = format;
  auto plan = make_plan(spec, trace->get(), 3);
  if (!plan) std::abort();
  for (const PlannedRequest& r : (*plan)->requests)
    if (r.prompt_tokens < 1 || r.arrival < 0) std::abort();
}

}  // namespace lodestar::sim
