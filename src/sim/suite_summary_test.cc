// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_summary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lodestar::sim {
namespace {

RunDigest run_of(double ttft_mean_ms, std::uint64_t failed = 0) {
  RunDigest d;
  d.ttft_mean_ms = d.ttft_p99_ms = d.tpot_mean_ms = d.e2e_mean_ms = ttft_mean_ms;
  d.result.requests = 100;
  d.result.failed = failed;
  d.window = 100;
  return d;
}

SuiteSpec suite() {
  SuiteSpec s;
  s.policies = {{"base", "base"}, {"a", "a"}, {"b", "b"}, {"ref", "ref"}};
  s.baseline = "base";
  s.reference = "ref";
  s.best_of = {"a", "b"};
  return s;
}

SuiteGrid grid_of(const SuiteSpec& s, std::vector<double> loads) {
  SuiteGrid grid;
  for (double load : loads) {
    SuitePoint& point = grid.points.emplace_back();
    point.cell = "c";
    point.load_share = load;
    point.policies = s.policies;
    point.seeds = {1, 3};
  }
  return grid;
}

TEST(SuiteSummary, RatioIsGeometricWithStudentsInterval) {
  const Ratio r = ratio_of({2, 8}, {1, 1});
  EXPECT_NEAR(r.mean, 4, 1e-12);
  // log 2 and log 8: mean log 4, deviation log 2 * sqrt 2 / sqrt 2 over sqrt 2 seeds.
  const double half = 12.706 * std::log(2.0);
  EXPECT_NEAR(r.high, 4 * std::exp(half), 1e-6 * r.high);
  EXPECT_NEAR(r.low, 4 * std::exp(-half), 1e-9);
  const Ratio one = ratio_of({3}, {2});
  EXPECT_DOUBLE_EQ(one.mean, 1.5);
  EXPECT_TRUE(std::isnan(one.low));
  EXPECT_EQ(ratio_of({1, kNotMeasured, 0}, {2, 1, 1}).seeds, 1u);
}

TEST(SuiteSummary, PoolsCellsWithTheirNoise) {
  const Ratio pooled = pool({Ratio{5, 2, 1, 4}, Ratio{5, 8, 8, 8}, Ratio{}});
  EXPECT_NEAR(pooled.mean, 4, 1e-12);
  // Half widths log 2 and 0 over two cells: log 2 / 2.
  EXPECT_NEAR(pooled.high / pooled.mean, std::sqrt(2.0), 1e-9);
  EXPECT_NEAR(pooled.mean / pooled.low, std::sqrt(2.0), 1e-9);
}

TEST(SuiteSummary, PairsSeedsThatBothHave) {
  const SuiteSpec s = suite();
  const SuiteGrid grid = grid_of(s, {0.5});
  SuiteResults results;
  results.runs[{0, 0}] = {{1, run_of(100)}, {2, run_of(300)}, {3, run_of(1e6)}};
  results.runs[{0, 1}] = {{1, run_of(50)}, {2, run_of(150)}};
  results.runs[{0, 3}] = {{1, run_of(40)}};
  const auto summary = summarise_suite(s, grid, results);
  ASSERT_EQ(summary.size(), 1u);
  EXPECT_EQ(summary[0].find("b"), nullptr) << "no run yet";
  const PolicySummary& a = *summary[0].find("a");
  EXPECT_EQ(a.seeds, 2u);
  EXPECT_EQ(a.wanted_seeds, 3u);
  EXPECT_NEAR(a.ttft_mean.mean, 2, 1e-12);
  EXPECT_EQ(a.ttft_mean.seeds, 2u);
  EXPECT_NEAR(a.share_mean.mean, 0.8, 1e-12);
  EXPECT_EQ(a.share_mean.seeds, 1u);
}

TEST(SuiteSummary, TheBestRuleIsChosenOnOtherSeeds) {
  const SuiteSpec s = suite();
  const SuiteGrid grid = grid_of(s, {0.5});
  SuiteResults results;
  // On seed 1 alone b is the better rule; on the other seeds it is a.
  results.runs[{0, 0}] = {{1, run_of(100)}, {2, run_of(100)}, {3, run_of(100)}};
  results.runs[{0, 1}] = {{1, run_of(80)}, {2, run_of(10)}, {3, run_of(10)}};
  results.runs[{0, 2}] = {{1, run_of(40)}, {2, run_of(90)}, {3, run_of(90)}};
  results.runs[{0, 3}] = {{1, run_of(20)}, {2, run_of(20)}, {3, run_of(20)}};
  const auto summary = summarise_suite(s, grid, results);
  // Seed 1: a (80), seeds 2 and 3: a is best of the rest too (80 x 10 < 40 x 90).
  EXPECT_NEAR(summary[0].find("ref")->best_mean.mean, std::cbrt(80.0 * 10 * 10) / 20, 1e-9);
}

TEST(SuiteSummary, MoreFailuresThanTheBaselineLoseTheCell) {
  const SuiteSpec s = suite();
  const SuiteGrid grid = grid_of(s, {0.5});
  SuiteResults results;
  results.runs[{0, 0}] = {{1, run_of(100, 2)}};
  results.runs[{0, 1}] = {{1, run_of(50, 3)}, {2, run_of(50, 0)}};
  results.runs[{0, 2}] = {{1, run_of(50, 2)}, {2, run_of(50, 9)}};
  const auto summary = summarise_suite(s, grid, results);
  EXPECT_TRUE(summary[0].find("a")->lost);
  EXPECT_FALSE(summary[0].find("b")->lost) << "seed 2 has no baseline to compare with";
  EXPECT_EQ(overall(summary)[1].lost, 1u);
}

TEST(SuiteSummary, LearningCurveAndRegret) {
  const SuiteSpec s = suite();
  const SuiteGrid grid = grid_of(s, {0.5});
  SuiteResults results;
  RunDigest base = run_of(100), learner = run_of(60), ref = run_of(40);
  for (int w = 0; w < 40; ++w) {
    base.window_ttft_ms.push_back(100);
    learner.window_ttft_ms.push_back(w < 10 ? 100 : 50);
    ref.window_ttft_ms.push_back(40);
  }
  results.runs[{0, 0}] = {{1, base}};
  results.runs[{0, 1}] = {{1, learner}};
  results.runs[{0, 3}] = {{1, ref}};
  const auto summary = summarise_suite(s, grid, results);
  const PolicySummary& a = *summary[0].find("a");
  ASSERT_EQ(a.learning.size(), 40u);
  EXPECT_EQ(a.learning[9].served, 1000u);
  EXPECT_NEAR(a.learning[9].ratio, 1, 1e-12);
  EXPECT_NEAR(a.learning[10].ratio, 2, 1e-12);
  // 100 requests x 60 ms, ten times; then 10 ms.
  EXPECT_NEAR(a.learning[9].regret_s, 60, 1e-9);
  EXPECT_NEAR(a.learning[39].regret_s, 90, 1e-9);
  EXPECT_EQ(a.served_to_90_percent, 1000u);
  EXPECT_NEAR(a.first_100.mean, 1, 1e-12);
  EXPECT_FALSE(summary[0].find("base")->served_to_90_percent.has_value()) << "no gain";
}

TEST(SuiteSummary, OverallGoesByLoadWithCellsWithoutLoadLast) {
  const SuiteSpec s = suite();
  const SuiteGrid grid = grid_of(s, {0, 0.7, 0.5, 0.7});
  SuiteResults results;
  for (std::size_t p = 0; p < 4; ++p) {
    results.runs[{p, 0}] = {{1, run_of(100)}};
    results.runs[{p, 1}] = {{1, run_of(p == 1 ? 25 : 100)}};
  }
  const auto rows = overall(summarise_suite(s, grid, results));
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0].load_share, 0.5);
  EXPECT_EQ(rows[3].label, "a");
  EXPECT_EQ(rows[3].load_share, 0.7);
  EXPECT_EQ(rows[3].points, 2u);
  EXPECT_NEAR(rows[3].ttft_mean.mean, 2, 1e-12);
  EXPECT_EQ(rows[5].load_share, 0);
}

}  // namespace
}  // namespace lodestar::sim
