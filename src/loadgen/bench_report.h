// SPDX-License-Identifier: Apache-2.0
// What a load run has to say: the result JSON of the simulator (times in workload
// time, so that a run at time scale 10 compares with a simulation), the same
// latencies as the clock on the wall saw them, failures by reason, lateness.
#pragma once
#include <string>

#include "loadgen/load_run.h"
#include "sim/result.h"

namespace lodestar::loadgen {

struct BenchContext {
  std::string policy;    // a label for the result; "bench" if nothing better is known
  std::string workload;  // path
  std::string target;
  std::uint64_t seed = 1;
  double time_scale = 1;
};

// Cached tokens of answers that said nothing of them become 0 when other answers
// did: vLLM leaves a zero out.
void fill_cached_tokens(LoadOutcome& outcome);

// One cell. Call fill_cached_tokens() first.
sim::CellResult bench_cell(const LoadOutcome& outcome, const BenchContext& context);

// The result JSON with an object "bench" beside "cells": {target, served_model,
// time_scale, interrupted, sent, unsent, failures {reason: count}, prompts_as_planned
// (answers whose prompt_tokens are the workload's), lateness_ms, wall:
// {ttft_ms, tpot_ms, e2e_ms, output_tokens_per_s, seconds}}.
// Latencies in "wall" and "lateness_ms" are wall time, everything else workload time.
std::string bench_json(const LoadOutcome& outcome, const BenchContext& context);

// For the terminal.
std::string bench_table(const LoadOutcome& outcome, const BenchContext& context);

// One line per request in order of sending: index, arrival_s, ttft_ms, tpot_ms,
// e2e_ms, instance, prompt_tokens, cached_tokens, output_tokens, late_ms, counted,
// ok, error. JSON lines, or CSV when `csv`. Workload time but for late_ms.
std::string bench_samples(const LoadOutcome& outcome, bool csv);

// The line of each second.
std::string progress_line(const LoadProgress& progress);

}  // namespace lodestar::loadgen
