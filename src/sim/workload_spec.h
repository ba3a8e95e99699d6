// SPDX-License-Identifier: Apache-2.0
// The workload file as values. Every key, default and bound is declared once in
// workload_schema.cc; unknown keys are errors.
//
//   trace: {file, format, ...} or synthetic: {kind, ...}     what is asked
//   arrivals: {kind: trace | poisson | gamma | closed, ...}  when
//   phases: [...]                                            how that changes
//   slo: [...]                                               what is promised
//
// In a closed-loop source (kvcachetester; multi-turn unless open_loop) arrivals
// start sessions; each later request comes think time after what it waits for.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/schema.h"
#include "sim/trace_data.h"

namespace lodestar::sim {

// A whole number drawn uniformly; in the file N or {min, max}.
struct IntRange {
  std::int64_t min = 0, max = 0;
};
// A duration drawn uniformly (N or {min, max}) or exponentially ({mean}).
struct SecondsRange {
  double min = 0, max = 0, mean = 0;  // mean > 0: exponential
};

struct TraceSpec {
  std::string file;  // as written; resolve_path() says where
  TraceFormat format = TraceFormat::kMooncake;
  std::optional<std::int64_t> trace_block_tokens;
  std::optional<std::int64_t> replay_block_tokens;
  std::optional<std::int64_t> input_cap;
  double output_scale = 1;
  double time_scale = 1;
  std::int64_t start_row = 0;
  std::optional<double> bin_s;  // absent: found in the data
  std::int64_t repeat = 1;
};

enum class SyntheticKind { kSharedPrefix, kMultiTurn, kMix };

struct SyntheticSpec {
  SyntheticKind kind = SyntheticKind::kSharedPrefix;
  double weight = 1;  // in a mix: share of the arrivals
  IntRange output_tokens{100, 100};
  // shared-prefix
  double share = 0.5;
  std::vector<std::int64_t> prompt_tokens;
  std::int64_t prefixes_per_length = 50;
  std::int64_t uses_per_prefix = 10;
  // multi-turn
  std::optional<std::int64_t> sessions;
  IntRange turns{4, 4};
  std::int64_t system_prompts = 1;
  IntRange system_prompt_tokens{500, 500};
  IntRange new_tokens{200, 200};
  SecondsRange think_time_s{1, 1, 0};
  bool open_loop = false;
  std::vector<SyntheticSpec> parts;  // mix
};

enum class ArrivalKind { kTrace, kPoisson, kGamma, kClosed };

struct ArrivalSpec {
  ArrivalKind kind = ArrivalKind::kTrace;
  double rate_rps = 0;
  double cv = 1;
  std::int64_t concurrency = 0;
};

struct PhaseSpec {
  std::optional<double> until_s, duration_s;  // one of them; the last phase may have none
  std::optional<double> rate_rps, cv, share, output_scale;
  double end_s = 0;  // derived; infinite for the last when open
};

struct SloSpec {
  std::string name;
  double ttft_ms = 0, tpot_ms = 0;
  std::optional<double> share;
};

struct WorkloadSpec {
  std::optional<TraceSpec> trace;
  std::optional<SyntheticSpec> synthetic;
  std::optional<ArrivalSpec> arrivals_given;
  ArrivalSpec arrivals;  // after defaults
  std::optional<std::int64_t> max_requests;
  std::int64_t warmup_requests = 0;
  std::optional<double> duration_s;
  std::uint64_t seed = 1;
  std::vector<PhaseSpec> phases;
  std::vector<SloSpec> slo;
  std::string base_dir;  // relative files are looked up here
};

config::Schema<WorkloadSpec> workload_schema();

// `name` stands for the file in errors. All rules but those that need the trace's
// rows are checked here.
Result<WorkloadSpec> parse_workload(const std::string& text, const std::string& name,
                                    const std::string& base_dir);
Result<WorkloadSpec> load_workload(const std::string& path);

// The trace file's path as it can be opened.
std::string resolve_path(const std::string& base_dir, const std::string& file);

}  // namespace lodestar::sim
