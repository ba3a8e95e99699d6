// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sim/workload_build.h"

namespace lodestar::sim {
namespace {

using testing::HasSubstr;

Result<std::shared_ptr<const WorkloadPlan>> try_plan(const std::string& spec_text,
                                                     const std::string& trace_text,
                                                     TraceFormat format, std::uint64_t seed) {
  auto spec = parse_workload(spec_text, "w.yaml", "");
  if (!spec) return std::unexpected(spec.error());
  std::shared_ptr<const Trace> trace;
  if (spec->trace) {
    auto parsed = parse_trace(trace_text, "t", format);
    if (!parsed) return std::unexpected(parsed.error());
    trace = *parsed;
  }
  return make_plan(*spec, trace.get(), seed);
}

std::shared_ptr<const WorkloadPlan> plan_of(const std::string& spec, const std::string& trace = "",
                                            TraceFormat format = TraceFormat::kMooncake,
                                            std::uint64_t seed = 0) {
  auto plan = try_plan(spec, trace, format, seed);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  return plan ? *plan : std::make_shared<WorkloadPlan>();
}

// Sixteen rows, a second apart; row i has 1 + i ids, of which the first is shared.
std::string ladder() {
  std::string text;
  for (int i = 0; i < 16; ++i) {
    text += "{\"timestamp\":" + std::to_string(1000 * i) +
            ",\"input_length\":" + std::to_string(512 * i + 100) +
            ",\"output_length\":" + std::to_string(10 + i) + ",\"hash_ids\":[0";
    for (int k = 1; k <= i; ++k) text += "," + std::to_string(100 * i + k);
    text += "]}\n";
  }
  return text;
}

TEST(Plan, TraceAsItIs) {
  auto plan = plan_of("trace: {file: t, format: mooncake, trace_block_tokens: 512}", ladder());
  ASSERT_EQ(plan->requests.size(), 16u);
  for (std::size_t i = 0; i < 16; ++i) {
    const PlannedRequest& r = plan->requests[i];
    EXPECT_EQ(r.arrival, static_cast<TimeNs>(i) * kSecond);
    EXPECT_EQ(r.prompt_tokens, static_cast<std::int64_t>(512 * i + 100));
    EXPECT_EQ(r.output_tokens, static_cast<std::int64_t>(10 + i));
    const auto shared = common_prefix_tokens(plan->content(plan->requests[3]), plan->content(r));
    EXPECT_EQ(shared, i == 0 ? 100 : i == 3 ? 512 * 3 + 100 : 512);
  }
}

TEST(Plan, ReplayBlockCapAndScale) {
  auto plan = plan_of(
      "trace: {file: t, format: mooncake, replay_block_tokens: 50, input_cap: 300, output_scale: "
      "0.5}",
      ladder());
  EXPECT_EQ(plan->requests[2].prompt_tokens, 150);
  EXPECT_EQ(plan->requests[9].prompt_tokens, 300);
  EXPECT_EQ(plan->requests[2].output_tokens, 6);
  EXPECT_EQ(plan->requests[3].output_tokens, 7);  // 6.5 rounds up
  EXPECT_EQ(
      common_prefix_tokens(plan->content(plan->requests[2]), plan->content(plan->requests[9])), 50);
}

TEST(Plan, SeedsStartEighthsApartAndWrapAround) {
  for (std::uint64_t seed : {0, 1, 3, 7, 8, 9}) {
    auto plan = plan_of("trace: {file: t, format: mooncake, start_row: 1}", ladder(),
                        TraceFormat::kMooncake, seed);
    ASSERT_EQ(plan->requests.size(), 16u);
    for (std::size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(plan->requests[i].output_tokens,
                static_cast<std::int64_t>(10 + (2 * seed + 1 + i) % 16));
      EXPECT_EQ(plan->requests[i].arrival, static_cast<TimeNs>(i) * kSecond);  // also over the seam
    }
  }
  EXPECT_EQ(start_row(1, 0, 12031), 1503u);
  EXPECT_EQ(start_row(5, 0, 12031), 7519u);
  EXPECT_EQ(start_row(~0ULL, 0, 12031), 7u * 12031 / 8);
}

TEST(Plan, TimeScaleAndCount) {
  auto plan =
      plan_of("trace: {file: t, format: mooncake, time_scale: 0.5}\nmax_requests: 5\n", ladder());
  ASSERT_EQ(plan->requests.size(), 5u);
  EXPECT_EQ(plan->requests[4].arrival, 2 * kSecond);
  plan = plan_of("trace: {file: t, format: mooncake}\nduration_s: 3\n", ladder());
  EXPECT_EQ(plan->requests.size(), 3u);
}

TEST(Plan, RepeatedPassesShareNothing) {
  auto plan = plan_of("trace: {file: t, format: mooncake, repeat: 2}\n", ladder());
  ASSERT_EQ(plan->requests.size(), 32u);
  EXPECT_EQ(
      common_prefix_tokens(plan->content(plan->requests[5]), plan->content(plan->requests[21])), 0);
  EXPECT_GT(
      common_prefix_tokens(plan->content(plan->requests[20]), plan->content(plan->requests[21])),
      0);
}

TEST(Plan, BinsAreSpreadByDefault) {
  std::string text;
  for (int bin = 0; bin < 100; ++bin)
    for (int i = 0; i < 8; ++i)
      text += "{\"timestamp\":" + std::to_string(3000 * bin) +
              ",\"input_length\":9,\"output_length\":1,\"hash_ids\":[1]}\n";
  const auto distinct = [](const WorkloadPlan& plan) {
    std::set<TimeNs> times;
    for (const PlannedRequest& r : plan.requests) times.insert(r.arrival);
    return times.size();
  };
  auto plan = plan_of("trace: {file: t, format: mooncake}", text, TraceFormat::kMooncake, 3);
  EXPECT_EQ(distinct(*plan), 800u);
  EXPECT_LT(plan->requests.back().arrival, 303 * kSecond);  // seed 3 starts inside a bin
  EXPECT_EQ(distinct(*plan_of("trace: {file: t, format: mooncake, bin_s: 0}", text)), 100u);
}

TEST(Plan, AzureSharesNothing) {
  auto plan = plan_of("trace: {file: t, format: azure}",
                      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 "
                      "18:15:46.5,374,44\n2023-11-16 18:15:50,374,9\n",
                      TraceFormat::kAzure);
  ASSERT_EQ(plan->requests.size(), 2u);
  EXPECT_EQ(plan->requests[1].arrival, from_s(3.5));
  EXPECT_EQ(
      common_prefix_tokens(plan->content(plan->requests[0]), plan->content(plan->requests[1])), 0);
}

constexpr const char* kSession =
    R"({"id":"a","block_size":64,"tool_tokens":100,"system_tokens":60,"req":[)"
    R"([0,300,10,0,2,"big",0,-1,0,[[1,4]]],)"
    R"([0,70,5,0,1,"small",1,-1,0,[[50,1]]],)"
    R"([4,80,5,3,1,"small",1,1,1,[]],)"
    R"([0,70,5,0,9,"small",1,-1,0,[[60,1]]],)"
    R"([20,400,10,17,1,"big",0,0,4,[[9,2]]]]})"
    "\n"
    R"({"id":"b","block_size":64,"tool_tokens":150,"system_tokens":60,)"
    R"("req":[[0,300,10,0,2,"big",0,-1,0,[[1,4]]]]})"
    "\n";

TEST(Plan, SessionsShareToolsAndSystemPromptOnly) {
  auto plan =
      plan_of("trace: {file: t, format: kvcachetester}", kSession, TraceFormat::kKvCacheTester);
  ASSERT_EQ(plan->requests.size(), 6u);
  const auto content = [&](std::size_t i) { return plan->content(plan->requests[i]); };
  EXPECT_EQ(plan->requests[4].prompt_tokens, 400);
  EXPECT_EQ(common_prefix_tokens(content(0), content(4)), 256);  // four blocks kept
  EXPECT_EQ(common_prefix_tokens(content(0), content(5)), 128);  // full blocks of 160 tokens
  EXPECT_EQ(common_prefix_tokens(content(1), content(2)), 64);  // inside a sub-agent
  EXPECT_EQ(common_prefix_tokens(content(0), content(1)), 0);
}

TEST(Plan, SubAgentsRunBesideEachOtherAndAreWaitedFor) {
  auto plan = plan_of("trace: {file: t, format: kvcachetester, time_scale: 0.5}", kSession,
                      TraceFormat::kKvCacheTester);
  Workload workload(plan);
  // Both sessions start at once.
  EXPECT_EQ(workload.take().index, 0u);
  EXPECT_EQ(workload.take().index, 5u);
  EXPECT_EQ(workload.next_arrival(), kNever);
  workload.on_complete(0, 10 * kSecond);
  EXPECT_EQ(workload.next_arrival(), 10 * kSecond);
  EXPECT_EQ(workload.take().index, 1u);  // two sub-agents
  EXPECT_EQ(workload.take().index, 3u);
  workload.on_complete(1, 11 * kSecond);
  EXPECT_EQ(workload.next_arrival(), from_s(12.5));  // think 3 s, half as long
  EXPECT_EQ(workload.take().index, 2u);
  workload.on_complete(2, 13 * kSecond);
  EXPECT_EQ(workload.next_arrival(), kNever);  // the other sub-agent still runs
  workload.on_complete(3, 14 * kSecond);
  // 17 s of think time less 5 s (first sub-agent) and 9 s (second), halved, each
  // from its own end: max(13 + 6, 14 + 4).
  EXPECT_EQ(workload.next_arrival(), 19 * kSecond);
  EXPECT_EQ(workload.take().index, 4u);
}

TEST(Plan, SessionsArriveAsTold) {
  auto plan = plan_of(
      "trace: {file: t, format: kvcachetester, repeat: 50}\narrivals: {kind: poisson, rate_rps: "
      "2}\n",
      kSession, TraceFormat::kKvCacheTester);
  EXPECT_EQ(plan->heads.size(), 100u);
  const double last = to_s(plan->requests[plan->heads.back()].arrival);
  EXPECT_NEAR(last, 50, 15);
  auto wrong = try_plan("trace: {file: t, format: kvcachetester, trace_block_tokens: 512}",
                        kSession, TraceFormat::kKvCacheTester, 1);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("64"));
}

constexpr const char* kShared =
    "synthetic: {kind: shared-prefix, share: 0.3, prompt_tokens: [1000, 2000, 4000, 8000],\n"
    "  prefixes_per_length: 50, uses_per_prefix: 10, output_tokens: {min: 85, max: 115}}\n"
    "arrivals: {kind: poisson, rate_rps: 8}\nmax_requests: 8000\n";

TEST(Plan, SharedPrefixesAreUsedTenTimes) {
  auto plan = plan_of(kShared);
  ASSERT_EQ(plan->requests.size(), 8000u);
  std::map<std::uint64_t, int> uses;
  std::map<std::int64_t, int> lengths;
  double output = 0;
  for (const PlannedRequest& r : plan->requests) {
    const TokenSpans content = plan->content(r);
    ASSERT_EQ(content.size(), 2u);
    EXPECT_EQ(content[0].tokens, r.prompt_tokens * 3 / 10);
    ++uses[content[0].stream];
    ++lengths[r.prompt_tokens];
    ASSERT_TRUE(r.output_tokens >= 85 && r.output_tokens <= 115);
    output += static_cast<double>(r.output_tokens);
  }
  EXPECT_NEAR(output / 8000, 100, 0.5);
  for (const auto& [length, n] : lengths) EXPECT_NEAR(n, 2000, 150) << length;
  int full = 0;
  for (const auto& [stream, n] : uses) {
    EXPECT_LE(n, 10);
    full += n == 10;
  }
  // 8000 uses: each of the 200 places holds one prefix that may be unfinished.
  EXPECT_GE(full, 600);
  EXPECT_LE(uses.size(), 1000u);
}

TEST(Plan, RateDoesNotChangePrompts) {
  auto slow = plan_of(kShared);
  std::string text = kShared;
  text.replace(text.find("rate_rps: 8"), 11, "rate_rps: 4");
  auto fast = plan_of(text);
  for (std::size_t i = 0; i < slow->requests.size(); ++i) {
    ASSERT_EQ(slow->requests[i].prompt_tokens, fast->requests[i].prompt_tokens);
    ASSERT_EQ(slow->requests[i].output_tokens, fast->requests[i].output_tokens);
  }
}

TEST(Plan, SameSeedSamePlanOtherSeedOtherPlan) {
  auto a = plan_of(kShared), b = plan_of(kShared);
  auto c = plan_of(kShared, "", TraceFormat::kMooncake, 1);
  int equal = 0;
  for (std::size_t i = 0; i < a->requests.size(); ++i) {
    ASSERT_EQ(a->requests[i].arrival, b->requests[i].arrival);
    equal += a->requests[i].arrival == c->requests[i].arrival;
  }
  EXPECT_EQ(a->spans, b->spans);
  EXPECT_LT(equal, 10);
}

TEST(Plan, PhasesChangeShareAndOutput) {
  auto plan =
      plan_of(std::string(kShared) + "phases: [{until_s: 300}, {share: 0.8, output_scale: 2}]\n");
  for (const PlannedRequest& r : plan->requests) {
    const bool late = r.arrival >= 300 * kSecond;
    EXPECT_EQ(plan->content(r)[0].tokens, r.prompt_tokens * (late ? 8 : 3) / 10);
    EXPECT_EQ(r.output_tokens > 160, late);
  }
}

TEST(Plan, MixHasItsWeights) {
  auto plan = plan_of(
      "synthetic:\n  kind: mix\n  parts:\n"
      "    - {kind: shared-prefix, weight: 3, prompt_tokens: [512]}\n"
      "    - {kind: multi-turn, weight: 1, turns: 4, open_loop: true, think_time_s: 1}\n"
      "arrivals: {kind: poisson, rate_rps: 10}\nmax_requests: 7000\n");
  ASSERT_EQ(plan->requests.size(), 7000u);
  EXPECT_FALSE(plan->closed_loop);
  int chat = 0;
  for (std::size_t i = 0; i < 7000; ++i) {
    chat += plan->requests[i].session != 0;
    if (i > 0) {
      EXPECT_LE(plan->requests[i - 1].arrival, plan->requests[i].arrival);
    }
  }
  EXPECT_NEAR(chat, 4000, 250);  // of 4 arrivals, 3 bring one request and 1 brings four
}

TEST(Plan, SloSharesAreDrawn) {
  auto plan =
      plan_of(std::string(kShared) +
              "slo: [{ttft_ms: 500, tpot_ms: 30, share: 0.2}, {ttft_ms: 2000, share: 0.5}]\n");
  int counts[3] = {};
  for (const PlannedRequest& r : plan->requests)
    ++counts[r.slo_class == SimRequest::kNoSlo ? 2 : r.slo_class];
  EXPECT_NEAR(counts[0], 1600, 150);
  EXPECT_NEAR(counts[1], 4000, 200);
  EXPECT_NEAR(counts[2], 2400, 200);
  Workload workload(plan);
  const SimRequest r = workload.take();
  if (r.slo_class == 0) {
    EXPECT_EQ(r.slo.ttft_ms, 500);
  }
}

TEST(Plan, NothingToCountIsAnError) {
  auto none = try_plan("trace: {file: t, format: mooncake}\nwarmup_requests: 16\n", ladder(),
                       TraceFormat::kMooncake, 0);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("holds 16 requests"));
  auto silent = try_plan(
      "synthetic: {kind: shared-prefix, prompt_tokens: [9]}\narrivals: {kind: poisson, rate_rps: "
      "1}\nmax_requests: 4\n"
      "phases: [{rate_rps: 0}]\n",
      "", TraceFormat::kMooncake, 0);
  ASSERT_FALSE(silent);
  EXPECT_THAT(silent.error().message, HasSubstr("no requests"));
}

}  // namespace
}  // namespace lodestar::sim
