// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <thread>

namespace lodestar::telemetry {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, CountersAndGaugesRender) {
  Registry r;
  r.counter("a_total", "Counts \\ things\nof two lines.", {{"kind", "x\"y\\z\n"}}).add(3);
  r.counter("a_total", "", {{"kind", "other"}}).add();
  r.gauge("b", "A level.").set(-1.5);
  EXPECT_EQ(r.render(),
            "# HELP a_total Counts \\\\ things\\nof two lines.\n"
            "# TYPE a_total counter\n"
            "a_total{kind=\"x\\\"y\\\\z\\n\"} 3\n"
            "a_total{kind=\"other\"} 1\n"
            "# HELP b A level.\n"
            "# TYPE b gauge\n"
            "b -1.5\n");
}

TEST(Metrics, SameLabelsSameChild) {
  Registry r;
  EXPECT_EQ(&r.counter("a", "h", {{"k", "v"}}), &r.counter("a", "h", {{"k", "v"}}));
  EXPECT_NE(&r.counter("a", "h", {{"k", "v"}}), &r.counter("a", "h", {{"k", "w"}}));
}

TEST(Metrics, HistogramBucketsAreCumulative) {
  Registry r;
  const std::array<double, 2> bounds = {1, 2};
  Histogram& h = r.histogram("h_seconds", "Times.", bounds, {{"m", "x"}});
  for (double v : {0.5, 1.0, 1.5, 3.0}) h.observe(v);
  h.observe(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(h.count(), 4u);
  EXPECT_EQ(r.render(),
            "# HELP h_seconds Times.\n"
            "# TYPE h_seconds histogram\n"
            "h_seconds_bucket{m=\"x\",le=\"1\"} 2\n"
            "h_seconds_bucket{m=\"x\",le=\"2\"} 3\n"
            "h_seconds_bucket{m=\"x\",le=\"+Inf\"} 4\n"
            "h_seconds_sum{m=\"x\"} 6\n"
            "h_seconds_count{m=\"x\"} 4\n");
}

TEST(Metrics, NonFiniteGauges) {
  Registry r;
  r.gauge("g", "h", {{"i", "1"}}).set(std::numeric_limits<double>::quiet_NaN());
  r.gauge("g", "h", {{"i", "2"}}).set(std::numeric_limits<double>::infinity());
  EXPECT_THAT(r.render(), HasSubstr("g{i=\"1\"} NaN\n"));
  EXPECT_THAT(r.render(), HasSubstr("g{i=\"2\"} +Inf\n"));
}

TEST(Metrics, ThreadsLoseNothing) {
  Registry r;
  Counter& c = r.counter("c_total", "h");
  Histogram& h = r.histogram("h", "h", latency_bounds());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        c.add();
        h.observe(1.0);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(c.value(), 40'000u);
  EXPECT_EQ(h.count(), 40'000u);
  EXPECT_DOUBLE_EQ(h.sum(), 40'000.0);
}

}  // namespace
}  // namespace lodestar::telemetry
