// SPDX-License-Identifier: Apache-2.0
// A suite's findings as one HTML page: tables with intervals, distributions,
// learning curves, placements, predictions. Needs nothing else; light and dark by
// the reader's setting. Pure function: same values, same bytes.
#pragma once
#include <string>

#include "sim/suite_result.h"

namespace lodestar::sim {

std::string render_suite_report(const SuiteSpec& suite, const SuiteGrid& grid,
                                const std::vector<PointSummary>& summary, const SuiteStatus& status,
                                const std::string& command);

}  // namespace lodestar::sim
