// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

using ::testing::HasSubstr;

class SuiteGridTest : public ::testing::Test {
 protected:
  SuiteGridTest() {
    folder_ = ::testing::TempDir() + "suite_grid_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    write("two.yaml",
          "groups:\n"
          "  - {count: 1, gpu: a30, served_model: llama-3.1-8b}\n"
          "  - {count: 1, gpu: l4, served_model: llama-3.1-8b,\n"
          "     faults: [{kind: slow, at_s: 5, factor: 2}]}\n");
    write("syn.yaml",
          "synthetic: {kind: shared-prefix, prompt_tokens: [500]}\n"
          "arrivals: {kind: poisson, rate_rps: 10}\n"
          "phases: [{until_s: 20}, {rate_rps: 30}]\n"
          "max_requests: 400\nwarmup_requests: 50\n");
  }
  ~SuiteGridTest() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  Result<SuiteGrid> grid_of(const std::string& cells) {
    auto suite = parse_suite("policies: [lmetric]\nseeds: 2\ncells:\n" + cells, "s.yaml", folder_);
    if (!suite) return std::unexpected(suite.error());
    return make_grid(*suite);
  }

  std::string folder_;
};

TEST_F(SuiteGridTest, LoadsAndAxesMultiply) {
  const auto grid = grid_of(
      "  - {cluster: two.yaml, workload: syn.yaml, sustainable_rps: 8, loads: [0.5, 1], "
      "jitter: 0.1, vary: {engines: [2, 5], scrape_loss: [0, 0.5]}}\n");
  ASSERT_TRUE(grid.has_value()) << grid.error().message;
  ASSERT_EQ(grid->points.size(), 8u);
  const SuitePoint& last = grid->points[7];
  EXPECT_EQ(last.name(), "two syn, 100 % load, engines 5, scrape_loss 0.5");
  EXPECT_DOUBLE_EQ(last.rate_rps, 8 * 2.5) << "the load is per engine";
  EXPECT_EQ(last.cluster->scrape_loss, 0.5);
  ASSERT_EQ(last.cluster->engines.size(), 5u);
  std::set<std::string> names;
  for (std::size_t i = 0; i < 5; ++i) {
    const WorldEngine& engine = last.cluster->engines[i];
    names.insert(engine.info.name);
    EXPECT_EQ(engine.info.id, InstanceId(static_cast<std::uint32_t>(i)));
    EXPECT_EQ(engine.config.jitter.sigma, 0.1);
    EXPECT_EQ(engine.faults.size(), i % 2);
  }
  EXPECT_EQ(names.size(), 5u) << "names stay unique";
  EXPECT_DOUBLE_EQ(*last.workload->phases[1].rate_rps, 60) << "phases keep their ratio";
  std::set<std::string> contents;
  for (const SuitePoint& point : grid->points) contents.insert(point.content);
  EXPECT_EQ(contents.size(), 8u);
}

TEST_F(SuiteGridTest, ContentFollowsTheFiles) {
  const std::string cell = "  - {cluster: two.yaml, workload: syn.yaml}\n";
  const std::string before = grid_of(cell)->points[0].content;
  EXPECT_EQ(grid_of(cell)->points[0].content, before);
  write("syn.yaml",
        "synthetic: {kind: shared-prefix, prompt_tokens: [501]}\n"
        "arrivals: {kind: poisson, rate_rps: 10}\nmax_requests: 400\n");
  EXPECT_NE(grid_of(cell)->points[0].content, before);
}

TEST_F(SuiteGridTest, MissingFilesSkipOptionalCellsOnly) {
  write("gone.yaml",
        "trace: {file: absent.jsonl, format: mooncake}\narrivals: {kind: poisson, rate_rps: 1}\n");
  const auto grid = grid_of(
      "  - {name: a, cluster: absent.yaml, workload: syn.yaml, optional: true}\n"
      "  - {name: b, cluster: two.yaml, workload: gone.yaml, optional: true}\n"
      "  - {name: c, cluster: two.yaml, workload: syn.yaml, optional: true}\n");
  ASSERT_TRUE(grid.has_value()) << grid.error().message;
  EXPECT_EQ(grid->points.size(), 1u);
  ASSERT_EQ(grid->skipped.size(), 2u);
  EXPECT_EQ(grid->skipped[0].cell, "a");
  EXPECT_THAT(grid->skipped[1].why, HasSubstr("absent.jsonl"));
  const auto required = grid_of("  - {name: b, cluster: two.yaml, workload: gone.yaml}\n");
  ASSERT_FALSE(required.has_value());
  EXPECT_THAT(required.error().message, HasSubstr("cell \"b\""));
  write("two.yaml", "groups: [{count: 1}]\n");
  EXPECT_FALSE(grid_of("  - {cluster: two.yaml, workload: syn.yaml, optional: true}\n"))
      << "a wrong file is an error, optional or not";
}

TEST_F(SuiteGridTest, ALoadNeedsOpenArrivals) {
  write("closed.yaml",
        "synthetic: {kind: multi-turn}\narrivals: {kind: closed, concurrency: 4}\n"
        "max_requests: 100\n");
  const auto grid = grid_of("  - {cluster: two.yaml, workload: closed.yaml, rates_rps: [4]}\n");
  ASSERT_FALSE(grid.has_value());
  EXPECT_THAT(grid.error().message, HasSubstr("closed"));
}

TEST_F(SuiteGridTest, RecordedArrivalsAreStretchedToTheRate) {
  std::string rows;
  for (int i = 0; i < 1000; ++i)
    rows += "{\"timestamp\": " + std::to_string(i * 250) +
            ", \"input_length\": 64, \"output_length\": 4, \"hash_ids\": [" + std::to_string(i) +
            "]}\n";
  write("t.jsonl", rows);
  write("trace.yaml", "trace: {file: t.jsonl, format: mooncake}\n");
  const auto grid = grid_of("  - {cluster: two.yaml, workload: trace.yaml, rates_rps: [16]}\n");
  ASSERT_TRUE(grid.has_value()) << grid.error().message;
  const SuitePoint& point = grid->points[0];
  const auto trace = load_trace_of(*point.workload);
  ASSERT_TRUE(trace.has_value());
  const auto plan = make_point_plan(point, trace->get(), 1);
  ASSERT_TRUE(plan.has_value()) << plan.error().message;
  TimeNs last = 0;
  for (const PlannedRequest& r : (*plan)->requests) last = std::max(last, r.arrival);
  EXPECT_NEAR(1000 / to_s(last), 16, 0.3);
}

// Every suite that comes with the program must work from a plain clone.
TEST(SuiteConfigs, LoadAndHaveCellsWithoutOtherData) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("configs/suites")) {
    const auto suite = load_suite(entry.path().string());
    ASSERT_TRUE(suite.has_value()) << suite.error().message;
    const auto grid = make_grid(*suite);
    ASSERT_TRUE(grid.has_value()) << entry.path() << ": " << grid.error().message;
    std::set<std::string> own, seen;
    for (const SuiteCell& cell : suite->cells)
      if (!cell.optional) own.insert(cell.name);
    for (const SuitePoint& point : grid->points) {
      seen.insert(point.cell);
      EXPECT_TRUE(point.trace_path.empty() || !own.contains(point.cell)) << point.name();
    }
    // The measured step times are nobody's to carry here, so all cells of that one are optional.
    if (entry.path().stem() != "table") {
      EXPECT_GE(own.size(), 3u);
    }
    for (const std::string& name : own) EXPECT_TRUE(seen.contains(name)) << name;
    ++files;
  }
  EXPECT_GE(files, 4);
}

TEST_F(SuiteGridTest, RunsGoRoundRobinOverSeedsAndShareArrivals) {
  const auto grid = grid_of(
      "  - {name: a, cluster: two.yaml, workload: syn.yaml}\n"
      "  - {name: b, cluster: two.yaml, workload: syn.yaml, seeds: {first: 9, count: 1}}\n");
  ASSERT_TRUE(grid.has_value()) << grid.error().message;
  std::string order;
  for (const SuiteRun& run : runs_of(*grid))
    order += grid->points[run.point].cell + std::to_string(run.seed) + "." +
             std::to_string(run.policy) + "/" + std::to_string(run.group) + " ";
  EXPECT_EQ(order, "a1.0/0 a1.1/0 b9.0/1 b9.1/1 a2.0/2 a2.1/2 ");
}

}  // namespace
}  // namespace lodestar::sim
