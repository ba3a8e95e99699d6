// SPDX-License-Identifier: Apache-2.0
// The numbers behind the HTML report: pooling of seeds, percentiles, windows.
// Pure functions; samples that are not finite or are negative are left out.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "sim/report_data.h"

namespace lodestar::sim::report {

// mean and percentiles (linear interpolation between order statistics) of the
// usable values; all kNotMeasured when there are none.
struct Stats {
  std::size_t count = 0;
  double mean = kNotMeasured, p50 = kNotMeasured, p90 = kNotMeasured, p99 = kNotMeasured;
};
// `sorted` is ascending and not empty, q in [0, 1].
double quantile(std::span<const double> sorted, double q);
Stats stats_of(std::vector<double> values);

// Half width of the 95 % confidence interval of the mean of `values` (Student's
// t), kNotMeasured for fewer than two.
double confidence_half_width(std::span<const double> values);

using Latency = double ReportSample::*;
// Usable values of one latency, in sample order; from_s <= arrival < until_s.
std::vector<double> latencies(std::span<const ReportSample* const> samples, Latency which,
                              double from_s, double until_s);

// All runs of one policy on one cluster and workload.
struct PolicySet {
  std::string policy;
  std::vector<const ReportRun*> runs;             // one a seed, never empty
  std::vector<const ReportSample*> samples;       // of all seeds, as given
  std::size_t failed = 0, fallbacks = 0;
  Stats ttft, tpot, e2e;
  double ttft_half_width_ms = kNotMeasured;       // over seeds
  double hit_ratio = kNotMeasured, tokens_per_s = kNotMeasured, slo = kNotMeasured;
  double decision_us_p50 = kNotMeasured, decision_us_p99 = kNotMeasured;
  std::vector<ReportMarker> markers;              // of the first seed
  std::string decision_hash;                      // of the first seed, empty for several
};

// Runs that may be compared: same cluster, same workload.
struct Comparison {
  std::string cluster, workload;
  std::vector<PolicySet> policies;  // in order of first appearance
  double end_s = 0;                 // last arrival of any sample
};
std::vector<Comparison> compare(const ReportData& data);

// A latency over time: means and P99 of equal windows of the arrival time.
// Windows without a sample are kNotMeasured.
struct Windows {
  double width_s = 0;
  std::vector<double> mean, p99;
};
Windows windows_of(const PolicySet& set, Latency which, double end_s, std::size_t count);

}  // namespace lodestar::sim::report
