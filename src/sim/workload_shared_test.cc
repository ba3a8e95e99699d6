// SPDX-License-Identifier: Apache-2.0
// The standard cells and the public traces, when they are at hand: in
// $LODESTAR_SHARED or in ../shared beside the repository.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <unordered_set>

#include "sim/cluster_file.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

namespace fs = std::filesystem;

class Shared : public testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("LODESTAR_SHARED");
    root_ = given != nullptr ? fs::path(given) : fs::path("../shared");
    if (!fs::exists(root_ / "cells"))
      GTEST_SKIP() << "SKIPPED: no data at " << root_ << "; set LODESTAR_SHARED to its folder";
  }
  std::shared_ptr<const WorkloadPlan> plan_of(const std::string& text) {
    auto spec = parse_workload(text, "w.yaml", (root_ / "cells").string());
    EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
    auto plan = make_plan(*spec);
    EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
    return plan ? *plan : std::make_shared<WorkloadPlan>();
  }
  fs::path root_;
};

// Token-weighted longest-prefix hit with an unbounded cache, in plan order.
double hit_ratio(const WorkloadPlan& plan, int block_tokens) {
  std::unordered_set<std::uint64_t> seen;
  double hit = 0, total = 0;
  std::vector<std::uint64_t> hashes;
  for (const PlannedRequest& r : plan.requests) {
    block_hashes(plan.content(r), {}, block_tokens, hashes);
    std::size_t depth = 0;
    while (depth < hashes.size() && seen.contains(hashes[depth])) ++depth;
    hit += static_cast<double>(depth) * block_tokens;
    total += static_cast<double>(r.prompt_tokens);
    seen.insert(hashes.begin(), hashes.end());
  }
  return hit / total;
}

TEST_F(Shared, EveryStandardCellLoads) {
  int clusters = 0, workloads = 0;
  for (const auto& entry : fs::directory_iterator(root_ / "cells")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("cluster-")) {
      auto cluster = load_cluster(entry.path().string());
      ASSERT_TRUE(cluster) << cluster.error().message;
      EXPECT_GE(cluster->engines.size(), 8u);
      ++clusters;
    } else if (name.starts_with("workload-")) {
      auto spec = load_workload(entry.path().string());
      ASSERT_TRUE(spec) << spec.error().message;
      auto plan = make_plan(*spec);
      ASSERT_TRUE(plan) << plan.error().message;
      EXPECT_EQ((*plan)->requests.size(),
                spec->max_requests ? static_cast<std::size_t>(*spec->max_requests) : 12031u);
      ++workloads;
    }
  }
  EXPECT_GE(clusters, 6);
  EXPECT_GE(workloads, 8);
}

TEST_F(Shared, ClustersCanUseMeasuredTables) {
  const auto cluster_of = [&](const std::string& step_model) {
    auto cluster = parse_cluster(
        "groups: [{gpu: h100, served_model: llama-3.1-8b, max_num_batched_tokens: 8192" +
            step_model + "}]",
        "c.yaml", root_.string());
    EXPECT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
    return *cluster;
  };
  const Cluster formula = cluster_of("");
  const Cluster table =
      cluster_of(", step_model: table, profile: profiles/aic_h100_sxm_vllm_0.24.0");
  // The formula was fitted to these tables.
  const double told = formula.engines[0].info.told_prefill_tokens_per_s;
  EXPECT_NEAR(table.engines[0].info.told_prefill_tokens_per_s, told, 0.1 * told);
  EXPECT_NE(table.engines[0].info.told_prefill_tokens_per_s, told);
}

// Published figures of the traces: mean lengths and hit ratio.
TEST_F(Shared, ConversationTraceHasItsPublishedFigures) {
  auto plan = plan_of(
      "trace: {file: ../traces/mooncake_fast25_conversation.jsonl.gz, format: mooncake}\nseed: "
      "0\n");
  ASSERT_EQ(plan->requests.size(), 12031u);
  double in = 0, out = 0;
  for (const PlannedRequest& r : plan->requests) {
    in += static_cast<double>(r.prompt_tokens);
    out += static_cast<double>(r.output_tokens);
  }
  EXPECT_NEAR(in / 12031, 12035, 1);
  EXPECT_NEAR(out / 12031, 343, 1);
  EXPECT_NEAR(hit_ratio(*plan, 512), 0.374, 0.003);
  EXPECT_NEAR(to_s(plan->requests.back().arrival), 3536, 5);
}

TEST_F(Shared, ToolagentLikeTraceHasItsHitRatio) {
  auto plan = plan_of(
      "trace: {file: ../traces/SYNTHETIC_toolagent_like.jsonl.gz, format: mooncake}\nseed: 0\n");
  EXPECT_NEAR(hit_ratio(*plan, 512), 0.545, 0.003);
}

TEST_F(Shared, AzureTraceHasItsPublishedFigures) {
  auto plan = plan_of("trace: {file: ../traces/azure2023_conv.csv.gz, format: azure}\nseed: 0\n");
  ASSERT_EQ(plan->requests.size(), 19366u);
  EXPECT_NEAR(to_s(plan->requests.back().arrival) / 3600, 0.97, 0.01);
  EXPECT_EQ(hit_ratio(*plan, 16), 0);
}

TEST_F(Shared, KvCacheTesterSessionsReuseAsPublished) {
  auto plan = plan_of(
      "trace: {file: ../traces/kvcachetester_compact.jsonl.gz, format: kvcachetester}\nseed: 0\n");
  ASSERT_EQ(plan->requests.size(), 46218u);
  EXPECT_EQ(plan->heads.size(), 692u);
  double in = 0;
  for (const PlannedRequest& r : plan->requests) in += static_cast<double>(r.prompt_tokens);
  EXPECT_NEAR(in / 46218, 122379, 0.04 * 122379);  // published with 18 sessions counted twice
  // Published at 64-token blocks; larger ones make the test short and lose a little.
  EXPECT_NEAR(hit_ratio(*plan, 512), 0.96, 0.012);
}

TEST_F(Shared, MeasuredRunInput) {
  auto plan = plan_of(
      "trace: {file: ../traces/sharegpt300_lengths_hash16.jsonl.gz, format: mooncake, "
      "trace_block_tokens: 16}\nseed: 0\n");
  ASSERT_EQ(plan->requests.size(), 300u);
  EXPECT_NEAR(hit_ratio(*plan, 16), 0.076, 0.002);
}

}  // namespace
}  // namespace lodestar::sim
