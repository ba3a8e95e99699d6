// SPDX-License-Identifier: Apache-2.0
// `lodestar report`: compares the sample files of several `lodestar bench` runs in
// a table and an HTML page.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace lodestar::app {

struct ReportArgs {
  std::vector<std::string> runs;  // LABEL=samples.jsonl
  std::optional<double> split_s;  // also compare before and after this workload time
  std::string split_label = "split";
  std::vector<std::string> conditions;  // NAME=VALUE lines of the page
  std::string title = "Lodestar benchmark";
  std::string html, json;
};

// Exit code: 0, or 2 for bad input.
int run_report(const ReportArgs& args);

}  // namespace lodestar::app
