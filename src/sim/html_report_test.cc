// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "base/rng.h"
#include "sim/html_report_stats.h"
#include "sim/html_report_svg.h"

namespace lodestar::sim {
namespace {

using report::stats_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A run whose latency falls by `gain` after `at_s`.
ReportRun make_run(const std::string& policy, std::uint64_t seed, double scale, double gain,
                   double at_s) {
  Rng rng(seed);
  ReportRun run{.policy = policy, .cluster = "6 engines", .workload = "chat", .seed = seed};
  for (int i = 0; i < 6; ++i)
    run.instances.push_back({"engine-" + std::to_string(i), i < 4 ? "A30" : "L20"});
  for (int i = 0; i < 4000; ++i) {
    ReportSample sample;
    sample.arrival_s = i * 0.05;
    const double part = sample.arrival_s > at_s ? gain : 1;
    sample.ttft_ms = part * scale * rng.lognormal(4.5, 0.8);
    sample.tpot_ms = 12 + rng.lognormal(1, 0.3);
    sample.e2e_ms = sample.ttft_ms + 200 * sample.tpot_ms;
    sample.instance = static_cast<std::uint32_t>(rng.below(6));
    sample.hit_fraction = rng.uniform();
    sample.fallback = policy == "lodestar-paper" && sample.arrival_s < at_s;
    run.samples.push_back(sample);
  }
  return run;
}

ReportData make_data() {
  ReportData data;
  data.title = "Demo: prefix-cache and lodestar-paper";
  data.subtitle = "Six emulated engines of two hardware kinds, 4,000 requests.";
  data.conditions = {{"engines", "4 x A30, 2 x L20"}, {"time scale", "5"}};
  data.runs.push_back(make_run("prefix-cache", 1, 1.0, 1.0, 60));
  data.runs.push_back(make_run("least-request", 3, 1.9, 1.0, 60));
  data.runs.push_back(make_run("lodestar-paper", 2, 1.02, 0.6, 60));
  data.runs.back().markers.push_back({60, "first published predictor"});
  data.runs.back().summary.decision_hash = "0123456789abcdef";
  data.command = "lodestar sim --cluster a.yaml --html report.html";
  return data;
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// Each tag that is opened is closed, in order: a browser draws what we meant.
void expect_well_formed(const std::string& page) {
  static const std::regex kTag("<(/?)([a-z0-9]+)[^>]*?(/?)>");
  const std::set<std::string> empty = {"meta"};
  std::vector<std::string> open;
  const std::string body = page.substr(page.find("<html"));
  for (auto it = std::sregex_iterator(body.begin(), body.end(), kTag); it != std::sregex_iterator();
       ++it) {
    const std::string name = (*it)[2];
    if ((*it)[3].length() || empty.contains(name)) continue;
    if (!(*it)[1].length()) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << "stray </" << name << ">";
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.back() << " was not closed";
}

TEST(HtmlReport, HasItsPartsAndNeedsNothingElse) {
  const std::string page = render_html_report(make_data());
  expect_well_formed(page);
  EXPECT_EQ(count(page, "<svg "), 4u);
  EXPECT_EQ(count(page, "<table"), 2u);
  EXPECT_THAT(page, HasSubstr("first published predictor"));
  EXPECT_THAT(page, HasSubstr("0123456789abcdef"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  for (const char* outside : {"http", "src=", "href=", "<script", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outside))) << outside;
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
  EXPECT_LT(page.size(), 300'000u);
}

TEST(HtmlReport, SameDataSameBytes) {
  EXPECT_EQ(render_html_report(make_data()), render_html_report(make_data()));
}

TEST(HtmlReport, MarksTheBestPolicyOnly) {
  const std::string page = render_html_report(make_data());
  const std::size_t row = page.find("lodestar-paper</th>");
  ASSERT_NE(row, std::string::npos);
  EXPECT_THAT(page.substr(row, page.find("</tr>", row) - row), HasSubstr("class=\"best\""));
  EXPECT_THAT(page, HasSubstr("Lowest mean TTFT: <b>lodestar-paper</b>"));
}

TEST(HtmlReport, ManyPoliciesKeepTheOverTimePlotReadable) {
  ReportData data;
  for (int i = 0; i < 12; ++i)
    data.runs.push_back(make_run("policy-" + std::to_string(i), 1, 1 + i, 1, 0));
  data.runs[11].markers = {{50, "slowest, but marked"}};
  const std::string page = render_html_report(data);
  expect_well_formed(page);
  EXPECT_EQ(count(page, "class=\"ln mute\""), 2u * 6);  // 12 less 5 best less 1 marked
  EXPECT_THAT(page, HasSubstr("Grey: the other 6 policies."));
}

TEST(HtmlReport, ASharedMarkerIsDrawnOnce) {
  ReportData data = make_data();
  for (ReportRun& run : data.runs) run.markers = {{60, "both at once"}};
  const std::string page = render_html_report(data);
  EXPECT_EQ(count(page, ">both at once</text>"), 1u);
  EXPECT_EQ(count(page, "marker grey\""), 2u);  // one line in each panel
}

TEST(HtmlReport, EqualPoliciesGetNoStar) {
  ReportData data;
  data.runs = {make_run("a", 1, 1, 1, 0), make_run("b", 1, 1, 1, 0)};
  EXPECT_THAT(render_html_report(data), Not(HasSubstr("<td class=\"best\">")));
}

TEST(HtmlReport, EscapesEveryText) {
  ReportData data = make_data();
  const std::string evil = "<b onclick=\"x\">&'";
  data.title = data.subtitle = data.command = evil;
  data.conditions = {{evil, evil}};
  for (ReportRun& run : data.runs) {
    run.policy += evil;
    run.cluster = run.workload = run.summary.decision_hash = evil;
    run.markers = {{1, evil}};
    for (auto& instance : run.instances) instance = {evil, evil};
  }
  const std::string page = render_html_report(data);
  expect_well_formed(page);
  EXPECT_THAT(page, Not(HasSubstr("onclick=\"")));
}

TEST(HtmlReport, SurvivesEmptyAndHostileNumbers) {
  ReportData data;
  EXPECT_THAT(render_html_report(data), HasSubstr("no runs"));
  data.runs.resize(1);
  EXPECT_THAT(render_html_report(data), HasSubstr("No request was answered"));
  ReportRun run;
  run.policy = "odd";
  const double inf = std::numeric_limits<double>::infinity();
  for (double value : {kNotMeasured, inf, -inf, -1.0, 0.0, 1e300, 1e-300}) {
    ReportSample sample{.arrival_s = value, .ttft_ms = value, .tpot_ms = value, .e2e_ms = value};
    sample.instance = 99;
    run.samples.push_back(sample);
  }
  run.markers = {{inf, "late"}, {kNotMeasured, "never"}};
  data.runs = {run};
  expect_well_formed(render_html_report(data));
  data.runs[0].samples.resize(1, ReportSample{.ttft_ms = 5});
  data.runs[0].samples[0].ttft_ms = 5;
  expect_well_formed(render_html_report(data));
}

TEST(HtmlReport, FailedRequestsAreCountedAndLeftOut) {
  ReportData data;
  ReportRun run{.policy = "p"};
  run.samples = {{.ttft_ms = 10}, {.ttft_ms = 20}, {.ttft_ms = 9999, .failed = true}};
  data.runs = {run};
  const auto all = report::compare(data);
  EXPECT_EQ(all[0].policies[0].failed, 1u);
  EXPECT_DOUBLE_EQ(all[0].policies[0].ttft.mean, 15);
  EXPECT_THAT(render_html_report(data), HasSubstr("1 of 3 requests failed"));
}

TEST(HtmlReport, SeedsArePooledAndClustersKeptApart) {
  ReportData data;
  data.runs = {make_run("a", 1, 1, 1, 0), make_run("a", 2, 1, 1, 0), make_run("b", 1, 1, 1, 0)};
  data.runs[2].cluster = "other";
  const auto all = report::compare(data);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].policies[0].samples.size(), 8000u);
  EXPECT_GT(all[0].policies[0].ttft_half_width_ms, 0);
  EXPECT_EQ(count(render_html_report(data), "<svg "), 8u);
}

TEST(HtmlReport, WritesTheFileOrSaysWhyNot) {
  const std::string path = ::testing::TempDir() + "lodestar_report_test.html";
  ASSERT_TRUE(write_html_report(make_data(), path));
  std::ifstream file(path, std::ios::binary);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(page, render_html_report(make_data()));
  std::remove(path.c_str());
  const auto failed = write_html_report(make_data(), "/no/such/folder/report.html");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("/no/such/folder/report.html"));
}

TEST(ReportStats, PercentilesInterpolate) {
  const auto stats = stats_of({4, 1, 3, 2, kNotMeasured, -5});
  EXPECT_EQ(stats.count, 4u);
  EXPECT_DOUBLE_EQ(stats.mean, 2.5);
  EXPECT_DOUBLE_EQ(stats.p50, 2.5);
  EXPECT_DOUBLE_EQ(stats.p90, 3.7);
  EXPECT_DOUBLE_EQ(stats.p99, 3.97);
}

TEST(ReportStats, ConfidenceIntervalByHand) {
  // Means 1, 2, 3: deviation 1, t(2) = 4.303, so 4.303 / sqrt(3).
  EXPECT_NEAR(report::confidence_half_width(std::vector<double>{1, 2, 3}), 2.4843, 1e-3);
  EXPECT_TRUE(std::isnan(report::confidence_half_width(std::vector<double>{1})));
}

TEST(ReportStats, WindowsSplitByArrival) {
  ReportRun run{.policy = "p"};
  run.samples = {{.arrival_s = 0, .ttft_ms = 1},
                 {.arrival_s = 1, .ttft_ms = 3},
                 {.arrival_s = 9.9, .ttft_ms = 7},
                 {.arrival_s = 10, .ttft_ms = 9}};
  ReportData data;
  data.runs = {run};
  const auto all = report::compare(data);
  const auto windows =
      report::windows_of(all[0].policies[0], &ReportSample::ttft_ms, all[0].end_s, 5);
  EXPECT_DOUBLE_EQ(windows.mean[0], 2);
  EXPECT_TRUE(std::isnan(windows.mean[1]));
  EXPECT_DOUBLE_EQ(windows.mean[4], 8);
}

TEST(ReportSvg, TicksAreRoundAndInside) {
  EXPECT_THAT(report::Scale(0, 10, 0, 100, false).ticks(5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(report::Scale(20, 3000, 0, 100, true).ticks(8),
              ElementsAre(20, 50, 100, 200, 500, 1000, 2000));
}

TEST(ReportSvg, NumbersReadWell) {
  EXPECT_EQ(report::format_count(1234567), "1,234,567");
  EXPECT_EQ(report::format_count(999), "999");
  EXPECT_EQ(report::format_number(-1234.4), "-1,234");
  EXPECT_EQ(report::format_number(-123.4), "-123");
  EXPECT_EQ(report::format_ms(3.14159), "3.14 ms");
  EXPECT_EQ(report::format_ms(65000), "65.0 s");
  EXPECT_EQ(report::format_ms(kNotMeasured), "–");
}

}  // namespace
}  // namespace lodestar::sim
