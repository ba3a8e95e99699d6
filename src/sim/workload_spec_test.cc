// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "config/docs.h"

namespace lodestar::sim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kTrace = "trace: {file: t.jsonl, format: mooncake}\n";
constexpr const char* kSynthetic =
    "synthetic: {kind: shared-prefix, prompt_tokens: [100]}\n"
    "arrivals: {kind: poisson, rate_rps: 2}\nmax_requests: 10\n";

Result<WorkloadSpec> parse(const std::string& text) {
  return parse_workload(text, "w.yaml", "dir");
}

std::string error_of(const std::string& text) {
  auto spec = parse(text);
  return spec ? "no error" : spec.error().message;
}

TEST(WorkloadSpec, DefaultsAreThoseOfTheContract) {
  auto spec = parse(kTrace);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->arrivals.kind, ArrivalKind::kTrace);
  EXPECT_EQ(spec->seed, 1u);
  EXPECT_EQ(spec->warmup_requests, 0);
  EXPECT_FALSE(spec->max_requests);
  EXPECT_EQ(spec->trace->output_scale, 1);
  EXPECT_EQ(spec->trace->time_scale, 1);
  EXPECT_EQ(spec->trace->start_row, 0);
  EXPECT_EQ(resolve_path(spec->base_dir, spec->trace->file), "dir/t.jsonl");
  EXPECT_EQ(resolve_path("a/cells", "../traces/x.gz"), "a/traces/x.gz");
  EXPECT_EQ(resolve_path("a", "/x.gz"), "/x.gz");
}

TEST(WorkloadSpec, RangesAreNumbersOrMappings) {
  auto spec = parse(
      "synthetic: {kind: multi-turn, sessions: 5, turns: {min: 2, max: 6}, new_tokens: 40,\n"
      "            think_time_s: {mean: 3}}\n"
      "arrivals: {kind: gamma, rate_rps: 1, cv: 2}\n");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->synthetic->turns.max, 6);
  EXPECT_EQ(spec->synthetic->new_tokens.min, 40);
  EXPECT_EQ(spec->synthetic->new_tokens.max, 40);
  EXPECT_EQ(spec->synthetic->think_time_s.mean, 3);
}

TEST(WorkloadSpec, PhasesEndWhereTheySay) {
  auto spec = parse(
      std::string(kSynthetic) +
      "phases: [{duration_s: 10}, {until_s: 25, rate_rps: 9}, {duration_s: 5}, {share: 0.9}]\n");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->phases[0].end_s, 10);
  EXPECT_EQ(spec->phases[1].end_s, 25);
  EXPECT_EQ(spec->phases[2].end_s, 30);
  EXPECT_EQ(spec->phases[3].end_s, std::numeric_limits<double>::infinity());
}

TEST(WorkloadSpec, OpenSloSharesSplitTheRest) {
  auto spec = parse(std::string(kTrace) +
                    "slo: [{ttft_ms: 500, share: 0.4}, {ttft_ms: 2000}, {tpot_ms: 100}]\n");
  ASSERT_TRUE(spec);
  EXPECT_DOUBLE_EQ(*spec->slo[1].share, 0.3);
  EXPECT_DOUBLE_EQ(*spec->slo[2].share, 0.3);
}

TEST(WorkloadSpec, ErrorsSayWhatToDo) {
  EXPECT_THAT(error_of(""), HasSubstr("expected a mapping"));
  EXPECT_THAT(error_of("seed: 1"), HasSubstr("exactly one of trace: and synthetic:"));
  EXPECT_THAT(error_of(std::string(kTrace) + kSynthetic),
              HasSubstr("exactly one of trace: and synthetic:"));
  EXPECT_THAT(error_of("trace: {file: x, format: moonkake}"),
              HasSubstr("one of mooncake, azure, kvcachetester"));
  EXPECT_THAT(error_of("trace: {file: x, format: azure, timescale: 2}"),
              AllOf(HasSubstr("w.yaml:1: trace"), HasSubstr("did you mean \"time_scale\"")));
  EXPECT_THAT(error_of("trace: {format: azure}"), HasSubstr("\"file\" is missing"));
  EXPECT_THAT(error_of("trace: {file: x, format: azure, replay_block_tokens: 5}"),
              HasSubstr("azure has none"));
  EXPECT_THAT(error_of(std::string(kTrace) + "arrivals: {kind: poisson}"),
              HasSubstr("need rate_rps"));
  EXPECT_THAT(error_of(std::string(kTrace) + "arrivals: {kind: closed}"), HasSubstr("concurrency"));
  EXPECT_THAT(error_of(std::string(kTrace) + "arrivals: {kind: poisson, rate_rps: 0}"),
              HasSubstr("> 0"));
  EXPECT_THAT(error_of(std::string(kTrace) + "max_requests: 10\nwarmup_requests: 10"),
              HasSubstr("nothing"));
  EXPECT_THAT(error_of(std::string(kTrace) + "phases: [{rate_rps: 3}]"),
              HasSubstr("poisson or gamma"));
  EXPECT_THAT(error_of(std::string(kSynthetic) + "phases: [{rate_rps: 3}, {rate_rps: 4}]"),
              HasSubstr("phases[0] needs until_s"));
  EXPECT_THAT(error_of(std::string(kSynthetic) + "phases: [{until_s: 3}, {until_s: 2}]"),
              HasSubstr("not after 3 s"));
  EXPECT_THAT(error_of(std::string(kSynthetic) + "phases: [{until_s: 3, duration_s: 2}]"),
              HasSubstr("not both"));
  EXPECT_THAT(error_of(std::string(kSynthetic) + "slo: [{share: 0.7}, {share: 0.7}]"),
              HasSubstr("above 1"));
  EXPECT_THAT(error_of("synthetic: {kind: shared-prefix, prompt_tokens: [9]}\narrivals: {kind: "
                       "poisson, rate_rps: 1}"),
              HasSubstr("would not end"));
  EXPECT_THAT(error_of("synthetic: {kind: shared-prefix, prompt_tokens: [9]}\nmax_requests: 4"),
              HasSubstr("needs arrivals"));
  EXPECT_THAT(error_of("synthetic: {kind: shared-prefix}\narrivals: {kind: poisson, rate_rps: "
                       "1}\nmax_requests: 4"),
              HasSubstr("prompt_tokens"));
  EXPECT_THAT(
      error_of("synthetic: {kind: mix}\narrivals: {kind: poisson, rate_rps: 1}\nmax_requests: 4"),
      HasSubstr("parts"));
  EXPECT_THAT(error_of("synthetic: {kind: multi-turn, turns: {min: 3, max: 2}}"),
              HasSubstr("min 3 is above max 2"));
}

TEST(WorkloadSpec, DocumentsEveryKey) {
  const std::string text = config::to_markdown(workload_schema());
  for (const char* key :
       {"trace_block_tokens", "replay_block_tokens", "input_cap", "output_scale", "time_scale",
        "start_row", "rate_rps", "warmup_requests", "think_time_s", "until_s", "tpot_ms"})
    EXPECT_THAT(text, HasSubstr(key));
}

}  // namespace
}  // namespace lodestar::sim
