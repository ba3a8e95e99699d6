// SPDX-License-Identifier: Apache-2.0
// From a workload file (and its trace) to a plan. Deterministic in (spec, seed):
// independent label streams of one generator serve arrivals, lengths, contents
// and service levels, so that changing the rate leaves the prompts as they are.
#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "sim/trace_data.h"
#include "sim/workload.h"
#include "sim/workload_spec.h"

namespace lodestar::sim {

// The spec's trace, read once for all seeds; null when the workload is synthetic.
Result<std::shared_ptr<const Trace>> load_trace_of(const WorkloadSpec& spec);

// `trace` must be load_trace_of(spec). `seed` takes the place of spec.seed.
// Errors: nothing would arrive or be counted; options that the trace cannot serve.
Result<std::shared_ptr<const WorkloadPlan>> make_plan(const WorkloadSpec& spec, const Trace* trace,
                                                      std::uint64_t seed);

// All in one for callers with one seed: reads the trace, uses spec.seed.
Result<std::shared_ptr<const WorkloadPlan>> make_plan(const WorkloadSpec& spec);

}  // namespace lodestar::sim
