// SPDX-License-Identifier: Apache-2.0
// The suite file as values: a grid of clusters x workloads x loads x policies x
// seeds for `lodestar sim --suite`. Every key, default and bound is declared once
// in suite_schema.cc; unknown keys are errors. Relative files are looked up from
// the suite file's folder.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/schema.h"

namespace lodestar::sim {

struct SeedRange {
  std::optional<std::uint64_t> first;  // after defaults: set; the suite's is 1
  std::int64_t count = 1;
};

struct SuitePolicy {
  std::string policy;  // as run_cell() takes it: "name" or "name:key=value,..."
  std::string label;   // what reports call it; unique within a cell
};

// A step of the load axis; some loads need more seeds than others.
struct SuiteLoad {
  double value = 0;  // share of sustainable_rps, or requests per second
  std::optional<SeedRange> seeds;
};

// Further axes: the grid holds every combination. Empty: as the files say.
struct SuiteVary {
  std::vector<double> scrape_period_ms, scrape_delay_ms, scrape_loss, network_delay_ms;
  std::vector<std::int64_t> engines, replicas;
};

struct SuiteCell {
  std::string name;
  std::string cluster, workload;  // as written
  std::optional<double> sustainable_rps;
  std::vector<SuiteLoad> loads, rates_rps;
  std::vector<SuitePolicy> policies;  // after defaults: never empty
  std::optional<SeedRange> seeds;
  std::optional<double> jitter;
  std::optional<std::int64_t> max_requests, warmup_requests, requests_per_engine;
  SuiteVary vary;
  bool optional = false;
};

struct SuiteSpec {
  std::string name, description;
  std::vector<SuitePolicy> policies;
  std::string baseline = "prefix-cache";   // a label
  std::optional<std::string> reference;    // a label
  std::vector<std::string> best_of;        // labels
  std::vector<SuiteLoad> loads;
  SeedRange seeds;
  std::optional<double> jitter;
  std::optional<std::int64_t> max_requests, warmup_requests;
  std::vector<SuiteCell> cells;
  std::string base_dir;
};

config::Schema<SuiteSpec> suite_schema();

// `name` stands for the file in errors. Checks all that can be checked without
// reading other files, and fills the cells' names, loads and policies from the
// suite's; baseline and reference join every cell's policies.
Result<SuiteSpec> parse_suite(const std::string& text, const std::string& name,
                              const std::string& base_dir);
Result<SuiteSpec> load_suite(const std::string& path);

// Puts other policies into every cell (baseline and reference stay). Errors: as above.
Result<void> replace_policies(SuiteSpec& suite, const std::vector<std::string>& policies);

}  // namespace lodestar::sim
