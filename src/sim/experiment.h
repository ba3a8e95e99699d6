// SPDX-License-Identifier: Apache-2.0
// One cell of an experiment: cluster x workload x policy x seed, from files to a
// result. Cells are independent, so a driver may run several at once.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/cluster_file.h"
#include "sim/result.h"
#include "sim/workload.h"

namespace lodestar::sim {

struct CellSpec {
  std::shared_ptr<const Cluster> cluster;
  std::shared_ptr<const WorkloadPlan> plan;  // already drawn for `seed`
  std::string policy;                        // catalog name (with parameters) or "oracle"
  std::uint64_t seed = 1;
  std::function<std::uint64_t()> wall_ns;    // empty: decision times are not measured
  std::function<void(std::uint64_t done, TimeNs now)> progress;
};

struct CellOutcome {
  CellResult result;
  std::vector<RequestRecord> records;
};

Result<CellOutcome> run_cell(const CellSpec& spec);

// The world that a cluster file describes; policy, seed and callbacks are left open.
WorldConfig world_config(const Cluster& cluster);

// Names that `run_cell` takes: the catalog's and the simulator's own.
std::vector<std::string_view> policy_names();
// Error (with all names) if a policy cannot be built. Cheap.
Result<void> check_policy(std::string_view policy);

}  // namespace lodestar::sim
