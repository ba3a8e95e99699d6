// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/html_report.h"

namespace lodestar::sim {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kReport = R"json({
  "title": "T", "subtitle": "S", "command": "C",
  "conditions": [{"name": "engines", "value": "6"}],
  "runs": [{"policy": "p", "cluster": "c", "workload": "w", "seed": 3,
            "instances": [{"name": "e0", "group": "A30"}, {"name": "e1"}],
            "markers": [{"at_s": 1.5, "label": "first"}],
            "summary": {"prefix_hit_ratio": 0.25, "decision_us_p99": null},
            "columns": ["arrival_s", "ttft_ms", "instance", "failed", "fallback", "hit_fraction"],
            "samples": [[0.5, 10, 1, false, 1, 0.5], [1, null, null, true, 0, null]]}]})json";

TEST(ReportRead, ReadsEveryPart) {
  const auto data = parse_report(kReport);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->title, "T");
  EXPECT_EQ(data->conditions.at(0).value, "6");
  const ReportRun& run = data->runs.at(0);
  EXPECT_EQ(run.seed, 3u);
  EXPECT_EQ(run.instances.at(0).group, "A30");
  EXPECT_EQ(run.markers.at(0).at_s, 1.5);
  EXPECT_EQ(run.summary.prefix_hit_ratio, 0.25);
  EXPECT_TRUE(std::isnan(run.summary.decision_us_p99));
  ASSERT_EQ(run.samples.size(), 2u);
  EXPECT_EQ(run.samples[0].arrival_s, 0.5);
  EXPECT_EQ(run.samples[0].instance, 1u);
  EXPECT_TRUE(run.samples[0].fallback);
  EXPECT_FALSE(run.samples[0].failed);
  EXPECT_TRUE(std::isnan(run.samples[1].ttft_ms));
  EXPECT_TRUE(run.samples[1].failed);
  EXPECT_GT(render_html_report(*data).size(), 1000u);
}

TEST(ReportRead, SaysWhatIsWrongAndWhere) {
  const std::pair<std::string_view, const char*> cases[] = {
      {"{", "not a JSON document"},
      {"[]", "report: expected an object"},
      {R"({"titel": "x"})", "unknown key \"titel\""},
      {R"({"title": 5})", "report.title: expected a string"},
      {R"({"runs": {}})", "report.runs: expected an array"},
      {R"({"runs": [{"policy": "p"}]})", "report.runs[0]: \"columns\" is missing"},
      {R"({"runs": [{"columns": ["ttft_ms"], "samples": []}]})", "\"policy\" is missing"},
      {R"({"runs": [{"policy": "p", "columns": ["ttft_ms"]}]})", "\"samples\" is missing"},
      {R"({"runs": [{"policy": "p", "columns": ["ttft"], "samples": []}]})",
       "columns[0]: expected"},
      {R"({"runs": [{"policy": "p", "columns": ["ttft_ms"], "samples": [[1, 2]]}]})",
       "samples[0]: expected 1 numbers"},
      {R"({"runs": [{"policy": "p", "columns": ["ttft_ms"], "samples": [["x"]]}]})",
       "samples[0]: expected a number or null"},
  };
  for (const auto& [text, message] : cases) {
    const auto data = parse_report(text);
    ASSERT_FALSE(data) << text;
    EXPECT_THAT(data.error().message, HasSubstr(message)) << text;
  }
}

TEST(ReportRead, AMissingFileIsAnError) {
  const auto data = read_report("/no/such/report.json");
  ASSERT_FALSE(data);
  EXPECT_THAT(data.error().message, HasSubstr("/no/such/report.json"));
}

}  // namespace
}  // namespace lodestar::sim
