// SPDX-License-Identifier: Apache-2.0
// The clusters whose step times are measured tables: they load and serve. The tables
// are not part of the repository.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "sim/experiment.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

TEST(TableClusters, ServeConversations) {
  if (!std::filesystem::exists("../shared/profiles"))
    GTEST_SKIP() << "../shared/profiles is absent: clusters with measured step times are NOT "
                    "checked";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("configs/clusters")) {
    if (!entry.path().stem().string().ends_with("-table")) continue;
    ++files;
    const auto cluster = load_cluster(entry.path().string());
    ASSERT_TRUE(cluster) << cluster.error().message;
    auto spec = load_workload("configs/workloads/chat.yaml");
    ASSERT_TRUE(spec) << spec.error().message;
    spec->max_requests = 600;
    spec->warmup_requests = 50;
    const auto plan = make_plan(*spec, nullptr, 1);
    ASSERT_TRUE(plan) << plan.error().message;
    const auto outcome =
        run_cell({std::make_shared<const Cluster>(*cluster), *plan, "prefix-cache", 1, {}, {}});
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_EQ(outcome->result.failed, 0u) << entry.path();
    EXPECT_EQ(outcome->result.unfinished, 0u) << entry.path();
    EXPECT_GT(*outcome->result.ttft_ms.mean, 3) << entry.path();
    EXPECT_LT(*outcome->result.ttft_ms.mean, 500) << entry.path();
  }
  EXPECT_GE(files, 6);
}

}  // namespace
}  // namespace lodestar::sim
