// SPDX-License-Identifier: Apache-2.0
// From a suite to what can be run: points (cell x load x vary) with their cluster
// and workload read, checked and overridden, and the identity of every run.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sim/cluster_file.h"
#include "sim/suite_spec.h"
#include "sim/workload.h"
#include "sim/workload_spec.h"

namespace lodestar::sim {

struct SuitePoint {
  std::string cell, load;  // "8xA30 conv50", "70 % load" (empty: as written)
  double load_share = 0;   // 0: no load was given
  double rate_rps = 0;     // 0: the workload's own
  std::vector<std::pair<std::string, double>> vary;  // in the schema's order
  std::vector<SuitePolicy> policies;
  SeedRange seeds;
  std::string cluster_file, workload_file;
  std::shared_ptr<const Cluster> cluster;
  std::shared_ptr<const WorkloadSpec> workload;
  std::string trace_path;  // empty: synthetic
  // What the results depend on beside policy, seed and program: digests of all
  // files read, and every override.
  std::string content;

  std::string name() const;       // cell, load and vary in one line
  std::string vary_text() const;  // "scrape_period_ms 1000, ..."; may be empty
};

struct SkippedCell {
  std::string cell, why;
};

struct SuiteGrid {
  std::vector<SuitePoint> points;
  std::vector<SkippedCell> skipped;  // optional cells with a missing file
};

Result<SuiteGrid> make_grid(const SuiteSpec& suite);

// `trace` is load_trace_of(*point.workload). Recorded arrival times are stretched
// so that their mean rate becomes the point's.
Result<std::shared_ptr<const WorkloadPlan>> make_point_plan(const SuitePoint& point,
                                                            const Trace* trace, std::uint64_t seed);

// One run of a point, in the order in which a budget is best spent: first one
// seed of every point with all its policies, then the next seed.
struct SuiteRun {
  std::size_t point = 0, policy = 0;  // indices into points, points[].policies
  std::uint64_t seed = 0;
  std::size_t group = 0;  // runs of one group share their arrivals; dense, ascending
};
std::vector<SuiteRun> runs_of(const SuiteGrid& grid);

}  // namespace lodestar::sim
