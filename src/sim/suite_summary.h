// SPDX-License-Identifier: Apache-2.0
// From runs to findings: ratios to the baseline, paired by seed, with 95 %
// intervals; pooled distributions, learning curves, placements and predictions.
// Pure functions; absent values are NaN. A ratio is baseline / policy (above 1 is
// better), its mean the geometric one, its interval Student's t on the logarithms.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/suite_digest.h"
#include "sim/suite_grid.h"

namespace lodestar::sim {

struct Ratio {
  std::size_t seeds = 0;
  double mean = kNotMeasured, low = kNotMeasured, high = kNotMeasured;  // low, high: >= 2 seeds
  friend bool operator==(const Ratio&, const Ratio&) = default;
};
// Of paired values; pairs with a value that is not positive are left out.
Ratio ratio_of(const std::vector<double>& numerators, const std::vector<double>& denominators);
// Geometric mean of ratios from different cells; its interval covers the noise of
// their seeds, not the choice of cells.
Ratio pool(const std::vector<Ratio>& ratios);

struct LearningPoint {
  std::uint64_t served = 0;  // requests before the end of the window
  double ratio = kNotMeasured, low = kNotMeasured, high = kNotMeasured;
  double ttft_ms = kNotMeasured;   // of the window; mean over seeds
  double regret_s = kNotMeasured;  // summed TTFT above the reference's so far; mean over seeds
};

struct PolicySummary {
  std::string label, policy;
  std::size_t seeds = 0, wanted_seeds = 0;
  std::uint64_t requests = 0, failed = 0, unfinished = 0;
  bool lost = false;  // more failed and unfinished than the baseline on the same seeds
  // Mean over seeds, the failed and unfinished at their age.
  double ttft_mean_ms = kNotMeasured, ttft_p99_ms = kNotMeasured;
  double tpot_mean_ms = kNotMeasured, e2e_mean_ms = kNotMeasured, hit_ratio = kNotMeasured;
  double decision_us = kNotMeasured;
  Ratio ttft_mean, ttft_p99, tpot_mean, e2e_mean;  // baseline / policy
  Ratio share_mean, share_p99;                     // reference / policy
  Ratio best_mean, best_p99;                       // best rule / policy
  Ratio first_100;                                 // baseline / policy over the first window
  // Requests until the ratio first reached 90 % (on the logarithm) of what the second
  // half of the run shows; absent when that is no gain, or never.
  std::optional<std::uint64_t> served_to_90_percent;
  LogHistogram ttft;                  // all seeds
  std::vector<LearningPoint> learning;
  double bin_s = 0;                   // placements: mean over seeds, rows x bins
  std::vector<std::string> rows;
  std::vector<std::uint32_t> row_instances;
  std::vector<double> placed;
  PredictionDigest predictions;       // all seeds
};

struct PointSummary {
  const SuitePoint* point = nullptr;
  std::vector<PolicySummary> policies;  // those with a run, in the point's order
  const PolicySummary* find(const std::string& label) const;
};

// Runs by (point, policy index) and seed.
struct SuiteResults {
  std::map<std::pair<std::size_t, std::size_t>, std::map<std::uint64_t, RunDigest>> runs;
};

// `grid` must outlive the summary.
std::vector<PointSummary> summarise_suite(const SuiteSpec& suite, const SuiteGrid& grid,
                                          const SuiteResults& results);

// One policy over all points of one load (0: those without a load).
struct OverallRow {
  std::string label;
  double load_share = 0;
  std::size_t points = 0, lost = 0;
  Ratio ttft_mean{}, ttft_p99{}, tpot_mean{}, e2e_mean{}, share_mean{}, share_p99{}, best_mean{},
      best_p99{};
};
std::vector<OverallRow> overall(const std::vector<PointSummary>& points);

}  // namespace lodestar::sim
