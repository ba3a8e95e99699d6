// SPDX-License-Identifier: Apache-2.0
// The standard cell whose figures an independent simulator of the same engine model
// published (cells/README.md): ours must agree, or one of the two is wrong.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "sim/experiment.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

std::string cells_folder() {
  const char* shared = std::getenv("LODESTAR_SHARED");
  return std::string(shared != nullptr ? shared : "../shared") + "/cells";
}

struct Published {
  const char* policy;
  double ttft_ms, tpot_ms;
};

TEST(StandardCells, AgreeWithTheIndependentSimulatorOn8xA30Conv50) {
  const std::string folder = cells_folder();
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is absent: the standard cells are NOT checked";
  const auto cluster = load_cluster(folder + "/cluster-8xA30.yaml");
  ASSERT_TRUE(cluster) << cluster.error().message;
  const auto spec = load_workload(folder + "/workload-conv50.yaml");
  ASSERT_TRUE(spec) << spec.error().message;
  const auto trace = load_trace_of(*spec);
  ASSERT_TRUE(trace) << trace.error().message;
  const auto shared_cluster = std::make_shared<const Cluster>(*cluster);
  constexpr Published kPublished[] = {{"least-request", 254, 37.0},
                                      {"prefix-cache", 246, 35.7},
                                      {"lmetric", 168, 35.4},
                                      {"oracle", 151, 35.5}};
  for (const Published& p : kPublished) {
    double ttft_ms = 0, tpot_ms = 0;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const auto plan = make_plan(*spec, trace->get(), seed);
      ASSERT_TRUE(plan) << plan.error().message;
      const auto outcome = run_cell({shared_cluster, *plan, p.policy, seed, {}, {}});
      ASSERT_TRUE(outcome) << outcome.error().message;
      EXPECT_EQ(outcome->result.failed, 0u);
      ttft_ms += *outcome->result.ttft_ms.mean / 3;
      tpot_ms += *outcome->result.tpot_ms.mean / 3;
    }
    EXPECT_NEAR(ttft_ms, p.ttft_ms, 0.10 * p.ttft_ms) << p.policy;
    EXPECT_NEAR(tpot_ms, p.tpot_ms, 0.05 * p.tpot_ms) << p.policy;
  }
}

}  // namespace
}  // namespace lodestar::sim
