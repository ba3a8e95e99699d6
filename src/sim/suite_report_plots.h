// SPDX-License-Identifier: Apache-2.0
// The plots of a suite's report, each one self-contained <svg> element. A policy
// keeps its colour on the whole page; the baseline is grey.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "sim/suite_summary.h"

namespace lodestar::sim::report {

// Colours by label, and who keeps a colour where lines are too many.
class Palette {
 public:
  Palette(const SuiteSpec& suite, const std::vector<PointSummary>& points);
  std::size_t series(const std::string& label) const;  // for series_class, fill_class
  // The policies of the point to draw in colour: all of a few, else the baseline, the
  // reference and the best by mean TTFT. Indices into point.policies.
  std::vector<std::size_t> shown(const PointSummary& point, std::size_t at_most) const;
  const std::string& baseline() const { return baseline_; }

 private:
  std::string baseline_, reference_;
  std::vector<std::string> labels_;
};

// Ratio to the baseline with its interval, a row per policy, a panel per point.
std::string plot_forest(const std::vector<const PointSummary*>& points, const Palette& palette);
// Share of requests answered within x; failed ones stand at their age.
std::string plot_suite_cdf(const PointSummary& point, const Palette& palette);
// Ratio to the baseline (above) and mean TTFT (below) against requests served.
std::string plot_learning(const PointSummary& point, const Palette& palette);
// Summed TTFT above the reference's against requests served; "" without a reference.
std::string plot_regret(const PointSummary& point, const Palette& palette);
// Share of each instance in the placements over time, a panel per policy.
std::string plot_placements(const PointSummary& point, const Palette& palette);
// Predicted against actual TTFT, a panel per policy that predicts; "" if none does.
std::string plot_scatter(const PointSummary& point, const Palette& palette);
// Nominal against observed quantiles, and coverage against requests served.
std::string plot_calibration(const PointSummary& point, const Palette& palette);
// Ratio and mean TTFT along one axis of `vary`: points differ in that key alone.
std::string plot_vary(const std::vector<const PointSummary*>& points, std::size_t axis,
                      const Palette& palette);

}  // namespace lodestar::sim::report
