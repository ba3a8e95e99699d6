// SPDX-License-Identifier: Apache-2.0
// What a run has to say: per-request records, their summary, and the result JSON
// that `lodestar sim` and `lodestar bench` both write.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "sim/report_data.h"

namespace lodestar::sim {

inline constexpr std::uint32_t kNoInstance = 0xffffffffu;

// One request, seen from the client. Times in ns since the run's start.
struct RequestRecord {
  std::uint32_t index = 0;
  TimeNs arrival = 0;         // planned time of sending
  TimeNs first_token = kNever;
  TimeNs last_token = kNever;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cached_tokens = -1;  // as the engine reported; -1 unknown
  std::uint32_t instance = kNoInstance;  // that answered
  std::uint32_t attempts = 0;
  bool counted = true;        // false: warm-up
  bool failed = false;
  bool fallback = false;      // a fallback rule placed it
  double slo_ttft_ms = 0, slo_tpot_ms = 0;  // 0: none
  TimeNs failed_at = kNever;  // when it failed; kNever: it did not, or nobody knows
  // What the policy predicted when it placed the request (the last attempt), and its
  // 90 % interval; absent if it predicts nothing.
  std::optional<float> predicted_ttft_ms{}, predicted_lo_ms{}, predicted_hi_ms{};
};

struct LatencySummary {  // ms; absent when there is no sample
  std::optional<double> mean, p50, p90, p99;
};

struct InstanceResult {
  std::string name;
  std::uint64_t requests = 0;  // placed there and counted
  std::optional<double> busy;  // share of the run in which a step was executing
};

struct CellResult {
  std::string policy;
  std::uint64_t seed = 1;
  std::uint64_t requests = 0;   // counted ones, failed included
  std::uint64_t failed = 0;
  std::uint64_t unfinished = 0;
  LatencySummary ttft_ms, tpot_ms, e2e_ms;
  std::optional<double> prefix_hit_ratio;  // cached / prompt tokens
  std::optional<double> output_tokens_per_s;
  std::optional<double> slo_attainment;    // share of requests with a target that met it
  LatencySummary decision_us;              // wall time; here in microseconds
  std::vector<InstanceResult> instances;
  std::optional<std::uint64_t> decision_hash, state_hash;
  // beyond the contract, for people
  std::string cluster, workload;
  std::string router_view;  // "exact" or what was coarser; with the number of routers if > 1
  double simulated_s = 0, wall_s = 0;
  std::uint64_t fallback_decisions = 0, retried = 0, preemptions = 0, rounds = 0;
  std::optional<double> first_predictor_s;  // simulated time of the first published predictor
};

// Linear interpolation between closest ranks (numpy's default). q in 0..1.
double percentile(const std::vector<double>& sorted, double q);
LatencySummary summarise(std::vector<double> values);

// Fills the request-derived fields of `cell` (latencies, ratios, instances'
// request counts); names, hashes and busy shares are the caller's.
void summarise_records(const std::vector<RequestRecord>& records, CellResult& cell);

// The samples of a run as the HTML report draws them (counted requests only).
ReportRun report_run_of(const std::vector<RequestRecord>& records, const CellResult& cell);

// {"cells": [...]}; with_hash adds decision_hash and state_hash.
std::string to_json(const std::vector<CellResult>& cells);
Result<void> write_text_file(const std::string& path, const std::string& text);

// A table for the terminal, one line per cell.
std::string to_table(const std::vector<CellResult>& cells);

}  // namespace lodestar::sim
