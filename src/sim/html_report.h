// SPDX-License-Identifier: Apache-2.0
// Turns report data into one HTML file that needs nothing else: inline SVG, a
// little CSS, no script, no external asset, light and dark by the reader's
// setting. Pure function: same data, same bytes.
#pragma once
#include <string>

#include "base/result.h"
#include "sim/report_data.h"

namespace lodestar::sim {

// Every text of the data is escaped. Samples with a non-finite or negative
// latency are left out of that latency's statistics.
std::string render_html_report(const ReportData& data);

// Writes the report to `path` (replacing the file). Fails with a message that
// names the path when it cannot be written.
Result<void> write_html_report(const ReportData& data, const std::string& path);

}  // namespace lodestar::sim
