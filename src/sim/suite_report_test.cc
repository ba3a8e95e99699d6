// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/rng.h"

namespace lodestar::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// A small made-up suite: two loads, four policies of which one predicts.
struct Example {
  SuiteSpec suite;
  SuiteGrid grid;
  SuiteResults results;
  SuiteStatus status;

  explicit Example(int seeds = 3) {
    suite.name = "<made up>";
    suite.policies = {{"prefix-cache", "prefix-cache"},
                      {"rule", "rule"},
                      {"learner:x=1", "learner"},
                      {"oracle", "oracle"}};
    suite.reference = "oracle";
    auto cluster = std::make_shared<Cluster>();
    for (int e = 0; e < 4; ++e) {
      WorldEngine engine;
      engine.info.name = "E-" + std::to_string(e);
      engine.info.hardware = e < 2 ? "a30" : "l20";
      if (e == 1) engine.faults.push_back({.at = from_s(60), .until = from_s(90), .factor = 3});
      cluster->engines.push_back(std::move(engine));
    }
    for (double load : {0.5, 0.7}) {
      SuitePoint& point = grid.points.emplace_back();
      point.cell = "4 engines & more";
      point.load = load < 0.6 ? "50 % load" : "70 % load";
      point.load_share = load;
      point.rate_rps = 20 * load;
      point.policies = suite.policies;
      point.seeds = {1, seeds};
      point.cluster = cluster;
      point.workload = std::make_shared<WorkloadSpec>();
    }
    const double speed[] = {1.0, 0.8, 0.65, 0.6};
    for (std::size_t p = 0; p < 2; ++p)
      for (std::size_t i = 0; i < 4; ++i)
        for (int s = 1; s <= seeds; ++s)
          results.runs[{p, i}][static_cast<std::uint64_t>(s)] =
              run(*cluster, speed[i], i == 2, static_cast<std::uint64_t>(s));
    status.runs = status.from_cache = 24;
  }

  static RunDigest run(const Cluster& cluster, double speed, bool predicts, std::uint64_t seed) {
    CellResult result;
    result.seed = seed;
    for (const WorldEngine& e : cluster.engines)
      result.instances.push_back({e.info.name, 0, std::nullopt});
    result.simulated_s = 160;
    std::vector<RequestRecord> records;
    Rng rng = Rng(seed).fork("example");
    for (std::uint32_t i = 0; i < 3000; ++i) {
      RequestRecord r;
      r.arrival = from_s(0.05 * i);
      const double learned = predicts ? 1 + 1.0 / (1 + i * 0.01) : 1.0;
      const double expected_ms = 100 * speed * learned * rng.lognormal(0, 0.8);
      r.first_token = r.arrival + from_ms(expected_ms * rng.lognormal(0, 0.3));
      r.last_token = r.first_token + from_s(1);
      r.output_tokens = 20;
      r.instance = static_cast<std::uint32_t>(rng.below(4));
      if (predicts) {
        r.predicted_ttft_ms = static_cast<float>(expected_ms);
        r.predicted_lo_ms = static_cast<float>(expected_ms * std::exp(-0.3 * 1.645));
        r.predicted_hi_ms = static_cast<float>(expected_ms * std::exp(0.3 * 1.645));
      }
      records.push_back(r);
    }
    summarise_records(records, result);
    return digest_of(result, records, {});
  }

  std::string page() const {
    return render_suite_report(suite, grid, summarise_suite(suite, grid, results), status, "cmd");
  }
  nlohmann::json json() const {
    return nlohmann::json::parse(
        to_suite_json(suite, grid, results, summarise_suite(suite, grid, results), status));
  }
};

TEST(SuiteReport, PageHoldsEverySectionAndNothingFromOutside) {
  const std::string page = Example().page();
  for (const char* title : {"All cells", "Mean time to first token, by cell", "Distribution",
                            "Learning", "Regret against oracle", "Requests per instance over time",
                            "Predicted and actual", "Calibration", "Run conditions"})
    EXPECT_THAT(page, HasSubstr(title));
  EXPECT_THAT(page, HasSubstr("&lt;made up&gt;"));
  EXPECT_THAT(page, HasSubstr("4 engines &amp; more"));
  EXPECT_THAT(page, Not(HasSubstr("<made up>")));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
  EXPECT_EQ(count_of(page, "<svg"), count_of(page, "</svg>"));
  EXPECT_EQ(count_of(page, "<details"), count_of(page, "</details>"));
  EXPECT_GE(count_of(page, "class=\"moment\""), 2u) << "the fault's begin and end";
  const char* path = std::getenv("LODESTAR_SUITE_PAGE");  // to look at it
  if (path != nullptr) {
    ASSERT_TRUE(write_text_file(path, page).has_value());
  }
}

TEST(SuiteReport, SameValuesSameBytes) { EXPECT_EQ(Example().page(), Example().page()); }

TEST(SuiteReport, SaysWhatIsMissing) {
  Example example;
  example.grid.skipped.push_back({"far away", "cannot open trace.jsonl"});
  example.status.missing = {"4 engines, 50 % load: learner, seeds 2-3"};
  example.status.stopped = "the budget of 1s is spent";
  example.results.runs[{0, 2}].erase(2);
  const std::string page = example.page();
  EXPECT_THAT(page, HasSubstr("cannot open trace.jsonl"));
  EXPECT_THAT(page, HasSubstr("the budget of 1s is spent"));
  EXPECT_THAT(page, HasSubstr("2 of 3"));
}

TEST(SuiteReport, SurvivesAbsentValues) {
  Example example(1);
  example.results.runs.erase({0, 0});  // no baseline at the first load
  example.results.runs.erase({1, 3});  // no reference at the second
  EXPECT_THAT(example.page(), HasSubstr("Learning"));
  example.results.runs.clear();
  EXPECT_THAT(example.page(), HasSubstr("No run was finished"));
  EXPECT_TRUE(example.json()["summary"].empty());
}

TEST(SuiteReport, JsonHoldsRatiosCoverageAndTheKnownCellKeys) {
  const auto j = Example().json();
  EXPECT_EQ(j["cells"].size(), 24u);
  for (const char* key : {"policy", "seed", "requests", "failed", "ttft_ms", "tpot_ms", "e2e_ms",
                          "instances", "label", "load", "vary", "aged_ms"})
    EXPECT_TRUE(j["cells"][0].contains(key)) << key;
  ASSERT_EQ(j["summary"].size(), 8u);
  const auto& learner = j["summary"][2];
  EXPECT_EQ(learner["label"], "learner");
  EXPECT_EQ(learner["policy"], "learner:x=1");
  const auto& ratio = learner["ratio"]["ttft_mean"];
  EXPECT_GT(ratio["mean"].get<double>(), 1.3);
  EXPECT_LT(ratio["low"].get<double>(), ratio["mean"].get<double>());
  EXPECT_GT(ratio["high"].get<double>(), ratio["mean"].get<double>());
  EXPECT_NEAR(learner["predictions"]["coverage"].get<double>(), 0.9, 0.02);
  EXPECT_NEAR(learner["predictions"]["below_predicted"].get<double>(), 0.5, 0.03);
  EXPECT_TRUE(j["summary"][1]["predictions"].is_null());
  EXPECT_EQ(learner["placements"]["rows"].size(), 4u);
}

TEST(SuiteReport, TableMarksLostCells) {
  Example example;
  example.results.runs[{0, 1}][1].result.failed = 4;
  const std::string table =
      to_suite_table(example.suite, summarise_suite(example.suite, example.grid, example.results));
  EXPECT_THAT(table, HasSubstr("4!"));
  EXPECT_THAT(table, HasSubstr("4 engines & more, 70 % load"));
}

}  // namespace
}  // namespace lodestar::sim
