// SPDX-License-Identifier: Apache-2.0
// Every file under configs/ must be usable as it is.
#include <gtest/gtest.h>

#include <filesystem>

#include "sim/cluster_file.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

namespace fs = std::filesystem;

TEST(Configs, ClustersLoad) {
  int files = 0, without_tables = 0;
  // The measured tables are not part of the repository.
  const bool tables = fs::exists("../shared/profiles");
  for (const auto& entry : fs::directory_iterator("configs/clusters")) {
    if (!tables && entry.path().stem().string().ends_with("-table")) {
      ++without_tables;
      continue;
    }
    auto cluster = load_cluster(entry.path().string());
    ASSERT_TRUE(cluster) << cluster.error().message;
    ++files;
  }
  EXPECT_GE(files, 6);
  if (without_tables > 0)
    GTEST_SKIP() << "../shared/profiles is absent: " << without_tables
                 << " clusters with measured step times are NOT checked";
}

TEST(Configs, WorkloadsLoadAndFitTheSmallestCluster) {
  auto cluster = load_cluster("configs/clusters/6-mixed.yaml");
  ASSERT_TRUE(cluster);
  int files = 0;
  for (const auto& entry : fs::directory_iterator("configs/workloads")) {
    auto spec = load_workload(entry.path().string());
    ASSERT_TRUE(spec) << spec.error().message;
    ++files;
    if (spec->trace) continue;  // its file is the user's
    auto plan = make_plan(*spec);
    ASSERT_TRUE(plan) << plan.error().message;
    for (const PlannedRequest& r : (*plan)->requests)
      for (const WorldEngine& engine : cluster->engines)
        ASSERT_LE(r.prompt_tokens + r.output_tokens, engine.info.max_model_len) << entry.path();
  }
  EXPECT_GE(files, 6);
}

TEST(Configs, DemoIsLongEnough) {
  auto spec = load_workload("configs/workloads/demo.yaml");
  ASSERT_TRUE(spec) << spec.error().message;
  auto plan = make_plan(*spec);
  ASSERT_TRUE(plan);
  EXPECT_GE((*plan)->requests.size(), 4000u);
  EXPECT_FALSE((*plan)->closed_loop);  // a load generator sends it open loop
}

}  // namespace
}  // namespace lodestar::sim
