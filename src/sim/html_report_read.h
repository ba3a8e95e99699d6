// SPDX-License-Identifier: Apache-2.0
// Report data as a JSON document, so that a script (the demo, a benchmark over
// several processes) can gather runs and have them drawn.
//
//   {"title": "...", "subtitle": "...", "command": "...",
//    "conditions": [{"name": "...", "value": "..."}],
//    "runs": [{"policy": "...", "cluster": "...", "workload": "...", "seed": 1,
//              "instances": [{"name": "...", "group": "..."}],
//              "markers": [{"at_s": 1.5, "label": "..."}],
//              "summary": {"prefix_hit_ratio": 0.5, ...},
//              "columns": ["arrival_s", "ttft_ms", ...],
//              "samples": [[0.0, 12.5, ...], ...]}]}
//
// All keys but `policy`, `columns` and `samples` may be left out; names are those
// of report_data.h. `columns` says what the numbers of each sample are; null is
// "not measured"; `fallback` and `failed` take true/false or 1/0.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "sim/report_data.h"

namespace lodestar::sim {

// Errors name the place in the document and what was expected there. An unknown
// key is an error: a misspelt column would otherwise be a plot without data.
Result<ReportData> parse_report(std::string_view json);
Result<ReportData> read_report(const std::string& path);

}  // namespace lodestar::sim
