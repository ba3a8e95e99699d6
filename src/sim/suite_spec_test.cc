// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lodestar::sim {
namespace {

using ::testing::HasSubstr;

Result<SuiteSpec> parse(const std::string& text) { return parse_suite(text, "s.yaml", "base"); }

std::string error_of(const std::string& text) {
  const auto suite = parse(text);
  return suite ? "parsed" : suite.error().message;
}

std::vector<std::string> labels(const std::vector<SuitePolicy>& policies) {
  std::vector<std::string> out;
  for (const SuitePolicy& policy : policies) out.push_back(policy.label);
  return out;
}

TEST(SuiteSpec, FillsCellsFromTheSuite) {
  const auto suite = parse(R"(
policies: [lmetric, least-request]
reference: oracle
seeds: {first: 11, count: 10}
jitter: 0.03
loads: [0.5, {load: 0.85, seeds: 30}]
cells:
  - {cluster: c/8xA30.yaml, workload: w/conv50.yaml, sustainable_rps: 28.3}
  - {name: own, cluster: c.yaml, workload: w.yaml, jitter: 0, seeds: 2, policies: [random],
     rates_rps: [10, {rate: 20, seeds: {first: 3, count: 4}}]}
)");
  ASSERT_TRUE(suite.has_value()) << suite.error().message;
  EXPECT_EQ(suite->name, "s");
  const SuiteCell& first = suite->cells[0];
  EXPECT_EQ(first.name, "8xA30 conv50");
  EXPECT_THAT(labels(first.policies),
              ::testing::ElementsAre("prefix-cache", "lmetric", "least-request", "oracle"));
  EXPECT_EQ(first.jitter, 0.03);
  ASSERT_EQ(first.loads.size(), 2u);
  EXPECT_EQ(first.seeds->first, 11u);
  EXPECT_EQ(first.seeds->count, 10);
  EXPECT_EQ(first.loads[1].value, 0.85);
  EXPECT_EQ(first.loads[1].seeds->first, 11u) << "a count alone keeps the suite's first seed";
  EXPECT_EQ(first.loads[1].seeds->count, 30);
  const SuiteCell& own = suite->cells[1];
  EXPECT_THAT(labels(own.policies), ::testing::ElementsAre("prefix-cache", "random", "oracle"));
  EXPECT_EQ(own.jitter, 0.0);
  EXPECT_EQ(own.seeds->first, 11u);
  EXPECT_TRUE(own.loads.empty());
  EXPECT_EQ(own.rates_rps[1].seeds->first, 3u);
}

TEST(SuiteSpec, PolicyParametersSurviveTheComma) {
  const auto suite = parse(R"(
policies: [lmetric, prefix-cache:abs=8,factor=1, random,
  {policy: "prefix-cache:abs=4", label: four}]
cells: [{cluster: c, workload: w}]
)");
  ASSERT_TRUE(suite.has_value()) << suite.error().message;
  EXPECT_THAT(labels(suite->cells[0].policies),
              ::testing::ElementsAre("prefix-cache", "lmetric", "prefix-cache:abs=8,factor=1",
                                     "random", "four"));
}

TEST(SuiteSpec, RefusesWhatMakesNoSense) {
  const std::string cell = "cells: [{cluster: c, workload: w}]\n";
  EXPECT_THAT(error_of("policies: [random]\nseed: 3\n" + cell),
              ::testing::AllOf(HasSubstr("s.yaml:2"), HasSubstr("did you mean \"seeds\"")));
  EXPECT_THAT(error_of("policies: [lmetrik]\n" + cell), HasSubstr("did you mean \"lmetric\""));
  EXPECT_THAT(error_of("policies: [random, random]\n" + cell), HasSubstr("listed twice"));
  EXPECT_THAT(error_of("policies: [random]\nbest_of: [lmetric]\n" + cell),
              HasSubstr("not one of the suite's policies"));
  EXPECT_THAT(error_of("policies: [random]\ncells: []\n"), HasSubstr("cells: is empty"));
  EXPECT_THAT(error_of("policies: [random]\ncells: [{cluster: c, workload: w, loads: [0.5]}]"),
              HasSubstr("loads need sustainable_rps"));
  EXPECT_THAT(error_of("policies: [random]\ncells: [{cluster: c, workload: w, loads: [0.5], "
                       "sustainable_rps: 3, rates_rps: [3]}]"),
              HasSubstr("not both"));
  EXPECT_THAT(error_of("policies: [random]\ncells:\n- {cluster: c, workload: w}\n- {cluster: "
                       "c, workload: w}\n"),
              HasSubstr("a second cell is called \"c w\""));
  EXPECT_THAT(error_of("policies: [random]\ncells: [{cluster: c, workload: w, vary: {scrape_loss: "
                       "[1.5]}}]"),
              HasSubstr("scrape_loss"));
}

TEST(SuiteSpec, CommandLinePoliciesKeepBaselineAndLabels) {
  auto suite = parse(R"(
policies: [random, {policy: least-request, label: counting}, lmetric]
best_of: [random, counting]
cells: [{cluster: c, workload: w}]
)");
  ASSERT_TRUE(suite.has_value()) << suite.error().message;
  ASSERT_TRUE(replace_policies(*suite, {"counting"}).has_value());
  EXPECT_THAT(labels(suite->cells[0].policies), ::testing::ElementsAre("prefix-cache", "counting"));
  EXPECT_EQ(suite->cells[0].policies[1].policy, "least-request");
  EXPECT_THAT(suite->best_of, ::testing::ElementsAre("counting"));
  EXPECT_FALSE(replace_policies(*suite, {"nonsense"}).has_value());
}

}  // namespace
}  // namespace lodestar::sim
