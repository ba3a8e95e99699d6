// SPDX-License-Identifier: Apache-2.0
// What an HTML report is made of: plain values that a simulation, a live
// benchmark or a demo script fills in. Units stand in the names; a value that
// was not measured is kNotMeasured and shows as a dash. No invariants between
// fields: html_report.h tolerates empty lists, NaN and out-of-range indices.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace lodestar::sim {

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

// One finished (or failed) request, seen from the client.
struct ReportSample {
  double arrival_s = 0;             // since the run's start; any order
  double ttft_ms = kNotMeasured;    // time to first token
  double tpot_ms = kNotMeasured;    // time per output token after the first
  double e2e_ms = kNotMeasured;     // arrival to last token
  std::uint32_t instance = 0;       // index into ReportRun::instances
  double hit_fraction = kNotMeasured;  // cached prompt tokens / prompt tokens
  bool fallback = false;            // the policy's fallback made the decision
  bool failed = false;              // counted in the table, left out of latencies
};

// A moment worth a vertical line, such as the first published predictor.
struct ReportMarker {
  double at_s = 0;
  std::string label{};
};

struct ReportInstance {
  std::string name{};   // as in the result JSON
  std::string group{};  // hardware kind, such as "A30"; may be empty
};

// Numbers the samples do not carry. Latency statistics and counts are always
// computed from the samples, so that the table and the plots cannot disagree.
struct ReportSummary {
  double prefix_hit_ratio = kNotMeasured;      // token-weighted; else mean of samples
  double output_tokens_per_s = kNotMeasured;
  double slo_attainment = kNotMeasured;        // 0..1
  double decision_us_p50 = kNotMeasured;
  double decision_us_p99 = kNotMeasured;
  std::string decision_hash{};                   // empty: none
};

// One policy on one cluster and one workload. Runs with the same cluster and
// workload are drawn together; several seeds of one policy are pooled.
struct ReportRun {
  std::string policy{};
  std::string cluster{};
  std::string workload{};
  std::uint64_t seed = 1;
  std::vector<ReportInstance> instances{};
  std::vector<ReportSample> samples{};
  std::vector<ReportMarker> markers{};
  ReportSummary summary{};
};

// A line of the "run conditions" list: {"Engines", "4 x A30 + 2 x L20"}.
struct ReportCondition {
  std::string name{};
  std::string value{};
};

struct ReportData {
  std::string title = "Lodestar report";
  std::string subtitle{};                    // one sentence; may be empty
  std::vector<ReportCondition> conditions{};
  std::vector<ReportRun> runs{};             // drawn in this order, one colour per policy
  std::string command{};                     // what made this report; may be empty
};

}  // namespace lodestar::sim
