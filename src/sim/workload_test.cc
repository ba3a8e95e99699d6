// SPDX-License-Identifier: Apache-2.0
#include "sim/workload.h"

#include <gtest/gtest.h>

#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

std::shared_ptr<const WorkloadPlan> plan_of(const std::string& text) {
  auto spec = parse_workload(text, "w.yaml", "");
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  auto plan = make_plan(*spec, nullptr, spec->seed);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  return *plan;
}

// Takes everything; each request ends `service` after it came.
std::vector<SimRequest> drain(Workload& workload, DurationNs service) {
  std::vector<SimRequest> out;
  std::vector<std::pair<TimeNs, std::uint32_t>> running;
  for (;;) {
    const TimeNs next = workload.next_arrival();
    auto first = std::min_element(running.begin(), running.end());
    if (first != running.end() && first->first <= next) {
      const auto [at, index] = *first;
      running.erase(first);
      workload.on_complete(index, at);
      continue;
    }
    if (next == kNever) return out;
    out.push_back(workload.take());
    EXPECT_EQ(out.back().arrival, next);
    running.emplace_back(out.back().arrival + service, out.back().index);
  }
}

TEST(Workload, OpenLoopComesInOrderWhateverCompletes) {
  auto plan = plan_of(
      "synthetic: {kind: shared-prefix, prompt_tokens: [100, 200]}\n"
      "arrivals: {kind: poisson, rate_rps: 10}\nmax_requests: 500\nwarmup_requests: 20\n");
  Workload workload(plan);
  EXPECT_EQ(workload.max_requests(), 500u);
  const auto requests = drain(workload, 7 * kSecond);
  ASSERT_EQ(requests.size(), 500u);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(requests[i].index, i);
    EXPECT_EQ(requests[i].counted, i >= 20);
    EXPECT_EQ(total_tokens(requests[i].content), requests[i].prompt_tokens);
    if (i > 0) {
      EXPECT_GE(requests[i].arrival, requests[i - 1].arrival);
    }
  }
}

constexpr const char* kChat =
    "synthetic: {kind: multi-turn, sessions: 40, turns: {min: 1, max: 5}, system_prompt_tokens: "
    "64,\n"
    "  new_tokens: {min: 10, max: 30}, output_tokens: {min: 5, max: 50}, think_time_s: {min: 1, "
    "max: 2}}\n"
    "arrivals: {kind: poisson, rate_rps: 2}\n";

TEST(Workload, ClosedLoopWaitsForThePreviousTurn) {
  auto plan = plan_of(kChat);
  ASSERT_TRUE(plan->closed_loop);
  Workload workload(plan);
  const auto requests = drain(workload, 10 * kSecond);
  EXPECT_EQ(requests.size(), plan->requests.size());
  std::vector<const SimRequest*> last(plan->sessions, nullptr);
  std::size_t follow_ups = 0;
  for (const SimRequest& r : requests) {
    const SimRequest*& before = last[plan->requests[r.index].session_slot];
    if (before != nullptr) {
      const double pause = to_s(r.arrival - before->arrival) - 10;
      EXPECT_GE(pause, 1);
      EXPECT_LE(pause, 2);
      EXPECT_EQ(r.session, before->session);
      ++follow_ups;
    }
    before = &r;
  }
  EXPECT_GT(follow_ups, 50u);
}

TEST(Workload, NextTurnRepeatsQuestionAndAnswer) {
  auto plan = plan_of(kChat);
  Workload workload(plan);
  std::vector<std::uint64_t> with_output;
  for (std::uint32_t i = 0; i + 1 < plan->requests.size(); ++i) {
    const PlannedRequest &a = plan->requests[i], &b = plan->requests[i + 1];
    if (a.session_slot != b.session_slot) continue;
    const RequestTruth truth = workload.truth(i);
    EXPECT_EQ(common_prefix_tokens(plan->content(a), plan->content(b)), a.prompt_tokens);
    EXPECT_GT(b.prompt_tokens, a.prompt_tokens + truth.output_tokens);
    // What the engine cached of turn one is a prefix of turn two.
    block_hashes(plan->content(a), truth.output, 16, with_output);
    const auto next = block_hashes(plan->content(b), 16);
    ASSERT_LE(with_output.size(), next.size());
    EXPECT_TRUE(std::equal(with_output.begin(), with_output.end(), next.begin()));
  }
}

TEST(Workload, SystemPromptsAreShared) {
  auto plan = plan_of(kChat);
  const auto first = plan->content(plan->requests[0]);
  for (const PlannedRequest& r : plan->requests)
    EXPECT_GE(common_prefix_tokens(first, plan->content(r)), 64);
}

TEST(Workload, ConcurrencyLimitsOpenSessions) {
  auto plan = plan_of(
      "synthetic: {kind: shared-prefix, prompt_tokens: [100]}\n"
      "arrivals: {kind: closed, concurrency: 3}\nmax_requests: 30\n");
  Workload workload(plan);
  std::vector<SimRequest> open;
  while (workload.next_arrival() == 0) open.push_back(workload.take());
  EXPECT_EQ(open.size(), 3u);
  EXPECT_EQ(workload.next_arrival(), kNever);
  EXPECT_TRUE(workload.on_complete(open[1].index, 5 * kSecond));
  EXPECT_EQ(workload.next_arrival(), 5 * kSecond);
  Workload again(plan);
  EXPECT_EQ(drain(again, kSecond).size(), 30u);
}

TEST(Workload, LimitsHoldInClosedLoop) {
  auto plan = plan_of(std::string(kChat) + "max_requests: 50\nduration_s: 1000\n");
  Workload workload(plan);
  EXPECT_EQ(drain(workload, kSecond).size(), 50u);
  plan = plan_of(std::string(kChat) + "duration_s: 12\n");
  Workload timed(plan);
  const auto requests = drain(timed, kSecond);
  ASSERT_FALSE(requests.empty());
  EXPECT_LT(requests.back().arrival, 12 * kSecond);
  EXPECT_LT(requests.size(), plan->requests.size());
}

TEST(Workload, OneCursorDoesNotDisturbAnother) {
  auto plan = plan_of(kChat);
  Workload a(plan), b(plan);
  const auto x = drain(a, kSecond);
  const auto y = drain(b, kSecond);
  ASSERT_EQ(x.size(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i].index, y[i].index);
}

}  // namespace
}  // namespace lodestar::sim
