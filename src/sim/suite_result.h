// SPDX-License-Identifier: Apache-2.0
// A suite's findings as JSON and as text for the terminal. The JSON's `cells` are
// those of result.h with the suite's keys beside; `summary` holds a row per cell,
// load, vary setting and policy, `overall` one per load and policy.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "sim/suite_summary.h"

namespace lodestar::sim {

// What happened to the runs, for readers of a partial result.
struct SuiteStatus {
  std::size_t runs = 0;         // of the grid
  std::size_t from_cache = 0, other_program = 0, damaged = 0;
  std::vector<std::string> missing;  // "cell, load: policy label, seeds 4-10"
  std::string stopped;               // why runs are missing; empty: none are
  double wall_s = 0;
};

std::string to_suite_json(const SuiteSpec& suite, const SuiteGrid& grid,
                          const SuiteResults& results, const std::vector<PointSummary>& summary,
                          const SuiteStatus& status);
std::string to_suite_table(const SuiteSpec& suite, const std::vector<PointSummary>& summary);

// "1.46 [1.39, 1.53]"; without an interval "1.46"; absent "-".
std::string ratio_text(const Ratio& ratio);

}  // namespace lodestar::sim
