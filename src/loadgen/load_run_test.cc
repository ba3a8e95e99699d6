// SPDX-License-Identifier: Apache-2.0
// Load against a small server written here, so that every kind of answer can be
// had: the engines have their own tests.
#include "loadgen/load_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "loadgen/bench_report.h"
#include "net/server.h"
#include "sim/workload_plan.h"

// g++ 12 takes Asio's recycled coroutine frames for a mismatch once it has inlined
// both ends of their life.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace lodestar::loadgen {
namespace {

using nlohmann::json;

enum class Manner { kGood, kRefuse, kCut, kErrorEvent, kSilent, kHang };

struct FakeEngine {
  std::vector<Manner> manners{Manner::kGood};  // taken in turn
  std::vector<json> bodies;
  std::string instance;
};

std::string chunk(const json& body, int i, bool last) {
  const std::string word = " w" + std::string(1, static_cast<char>('a' + i % 26)) + "xy";
  json choice{{"index", 0}, {"finish_reason", last ? json("length") : json()}};
  if (body.contains("messages")) {
    choice["delta"] = {{"content", word}};
  } else {
    choice["text"] = word;
  }
  return "data: " + json{{"choices", {choice}}}.dump() + "\n\n";
}

net::Task<void> stream_answer(FakeEngine& fake, net::ServerResponse& response, Manner manner) {
  const json body = fake.bodies.back();
  const int tokens = body["max_tokens"];
  net::Headers headers;
  headers.add("Content-Type", "text/event-stream");
  if (!fake.instance.empty()) headers.add("x-lodestar-instance", fake.instance);
  co_await response.start(200, std::move(headers));
  for (int i = 0; i < tokens && manner != Manner::kSilent; ++i) {
    const std::string event = chunk(body, i, i + 1 == tokens);
    co_await response.write(event);
    if (manner == Manner::kCut) {
      response.abort();
      co_return;
    }
    if (manner == Manner::kErrorEvent) {
      co_await response.finish("data: {\"error\":{\"message\":\"engine died\"}}\n\n");
      co_return;
    }
    if (manner == Manner::kHang) co_await net::sleep_for(30 * kSecond);
  }
  const json usage{{"prompt_tokens", 10},
                   {"completion_tokens", tokens},
                   {"prompt_tokens_details", {{"cached_tokens", 4}}}};
  const std::string last =
      "data: " + json{{"choices", json::array()}, {"usage", usage}}.dump() + "\n\ndata: [DONE]\n\n";
  co_await response.finish(last);
}

net::Task<void> serve(FakeEngine& fake, net::ServerRequest& request,
                      net::ServerResponse& response) {
  net::Headers headers;
  if (request.head.method == "GET") {
    co_await response.send(200, std::move(headers), R"({"data":[{"id":"found"}]})");
    co_return;
  }
  const Manner manner = fake.manners[fake.bodies.size() % fake.manners.size()];
  fake.bodies.push_back(json::parse(request.body));
  if (manner == Manner::kRefuse) {
    co_await response.send(503, std::move(headers), R"({"error":{"message":"no room"}})");
    co_return;
  }
  co_await stream_answer(fake, response, manner);
}

net::Task<void> drive(LoadRun& run, net::Runtime& runtime, Result<void>& result) {
  result = co_await run.run();
  runtime.stop();
}

net::Task<void> stop_soon(LoadRun& run) {
  while (run.progress().sent < 3) co_await net::sleep_for(kMillisecond);
  co_await net::sleep_for(20 * kMillisecond);
  run.stop();
}

std::shared_ptr<const sim::WorkloadPlan> plan_of(const std::string& text) {
  auto spec = sim::parse_workload(text, "test", ".");
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  auto plan = sim::make_plan(*spec);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  return *plan;
}

constexpr const char* kOpenLoop = R"(
synthetic:
  {kind: shared-prefix, share: 0.5, prompt_tokens: [10], prefixes_per_length: 2,
   uses_per_prefix: 10, output_tokens: {min: 3, max: 6}}
arrivals: {kind: poisson, rate_rps: 200}
max_requests: 40
warmup_requests: 5
seed: 3
)";

LoadOutcome bench(FakeEngine& fake, const std::string& workload, LoadOptions options = {},
                  bool stop = false) {
  net::Runtime runtime(1);
  auto server = net::Server::listen(
      runtime, {}, [&fake](net::ServerRequest& request, net::ServerResponse& response) {
        return serve(fake, request, response);
      });
  EXPECT_TRUE(server);
  net::Url url;
  url.host = "127.0.0.1";
  url.port = (*server)->port();
  options.targets.push_back(url);
  LoadRun run(runtime.executor(0), plan_of(workload), options);
  Result<void> result;
  net::spawn(runtime.executor(0), drive(run, runtime, result), "drive");
  if (stop) net::spawn(runtime.executor(0), stop_soon(run), "stop");
  runtime.run();
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return run.take_outcome();
}

TEST(LoadRun, SendsEveryRequestOfThePlan) {
  FakeEngine fake;
  fake.instance = "engine-7";
  LoadOutcome out = bench(fake, kOpenLoop);
  ASSERT_EQ(out.records.size(), 40u);
  EXPECT_EQ(out.served_model, "found");
  EXPECT_TRUE(out.failure_counts.empty());
  EXPECT_EQ(out.instances, std::vector<std::string>{"engine-7"});
  EXPECT_EQ(out.prompts_as_planned, 40u);
  for (std::size_t i = 0; i < out.records.size(); ++i) {
    const sim::RequestRecord& r = out.records[i];
    EXPECT_EQ(r.output_tokens, fake.bodies[i]["max_tokens"]);
    EXPECT_EQ(r.cached_tokens, 4);
    EXPECT_EQ(r.counted, i >= 5);
    EXPECT_GE(r.first_token, r.arrival);
    EXPECT_GE(r.last_token, r.first_token);
    EXPECT_GE(r.arrival, i == 0 ? 0 : out.records[i - 1].arrival);
    EXPECT_GE(out.lateness[i], 0);
  }
  const sim::CellResult cell = bench_cell(out, {});
  EXPECT_EQ(cell.requests, 35u);
  EXPECT_EQ(cell.failed, 0u);
  EXPECT_NEAR(*cell.prefix_hit_ratio, 0.4, 1e-9);
  EXPECT_EQ(cell.instances[0].requests, 35u);
}

TEST(LoadRun, TimesAreWorkloadTimesUnderATimeScale) {
  FakeEngine fake;
  LoadOptions options;
  options.time_scale = 20;
  const LoadOutcome out = bench(fake, kOpenLoop, options);
  const auto plan = plan_of(kOpenLoop);
  sim::Workload workload(plan);
  for (const sim::RequestRecord& r : out.records) EXPECT_EQ(r.arrival, workload.take().arrival);
  const json result = json::parse(bench_json(
      out, {.policy = "p", .workload = "w", .target = "t", .seed = 3, .time_scale = 20}));
  const json& cell = result["cells"][0];
  EXPECT_EQ(cell["policy"], "p");
  EXPECT_FALSE(cell.contains("decision_hash"));
  EXPECT_NEAR(cell["ttft_ms"]["mean"].get<double>(),
              result["bench"]["wall"]["ttft_ms"]["mean"].get<double>() * 20, 1e-6);
  EXPECT_EQ(result["bench"]["time_scale"], 20);
}

TEST(LoadRun, CountsFailuresByReason) {
  FakeEngine fake;
  fake.manners = {Manner::kGood, Manner::kRefuse, Manner::kCut, Manner::kErrorEvent,
                  Manner::kSilent};
  LoadOutcome out = bench(fake, kOpenLoop);
  EXPECT_EQ(out.failure_counts.at("HTTP 503: no room"), 8u);
  EXPECT_EQ(out.failure_counts.at("error in the stream: engine died"), 8u);
  EXPECT_EQ(out.failure_counts.at("no content in the answer"), 8u);
  EXPECT_EQ(out.failure_counts.size(), 4u);  // and the cut connections
  const sim::CellResult cell = bench_cell(out, {});
  EXPECT_EQ(cell.requests, 35u);
  EXPECT_EQ(cell.failed, 28u);
  const std::string csv = bench_samples(out, true);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 41);
  EXPECT_THAT(csv, testing::HasSubstr("HTTP 503: no room"));
  const std::string lines = bench_samples(out, false);
  EXPECT_EQ(json::parse(lines.substr(0, lines.find('\n')))["ok"], true);
  EXPECT_THAT(bench_table(out, {}), testing::HasSubstr("8 x HTTP 503: no room"));
}

TEST(LoadRun, TimeoutsAreFailures) {
  FakeEngine fake;
  fake.manners = {Manner::kHang};
  LoadOptions options;
  options.timeout = 100 * kMillisecond;
  const LoadOutcome out = bench(fake, kOpenLoop, options);
  EXPECT_EQ(out.failure_counts.at("timeout"), 40u);
}

TEST(LoadRun, NobodyListensIsAFailureOfEachRequest) {
  net::Runtime runtime(1);
  net::Url url;
  url.host = "127.0.0.1";
  url.port = 1;  // reserved, nobody there
  LoadOptions options;
  options.targets.push_back(url);
  options.body.served_model = "m";
  LoadRun run(runtime.executor(0), plan_of(kOpenLoop), options);
  Result<void> result;
  net::spawn(runtime.executor(0), drive(run, runtime, result), "drive");
  runtime.run();
  const LoadOutcome out = run.take_outcome();
  EXPECT_EQ(out.records.size(), 40u);
  for (const sim::RequestRecord& r : out.records) EXPECT_TRUE(r.failed);
}

TEST(LoadRun, StopReportsWhatIsThere) {
  FakeEngine fake;
  fake.manners = {Manner::kGood, Manner::kHang};
  const LoadOutcome out = bench(
      fake, std::string(kOpenLoop).replace(std::string(kOpenLoop).find("200"), 3, "20"), {}, true);
  EXPECT_TRUE(out.interrupted);
  EXPECT_LT(out.records.size(), 40u);
  EXPECT_EQ(out.unsent, 40 - out.records.size());
  EXPECT_TRUE(out.failure_counts.empty());
  std::size_t open = 0;
  for (const sim::RequestRecord& r : out.records) open += r.last_token == kNever;
  EXPECT_GE(open, 1u);
  EXPECT_TRUE(json::parse(bench_json(out, {}))["bench"]["interrupted"].get<bool>());
}

constexpr const char* kTurns = R"(
synthetic:
  {kind: multi-turn, sessions: 3, turns: 3, system_prompt_tokens: 10, new_tokens: 6,
   think_time_s: 0.01, output_tokens: 5}
arrivals: {kind: closed, concurrency: 2}
seed: 1
)";

TEST(LoadRun, ClosedLoopRepeatsTheAnswersThatCame) {
  FakeEngine fake;
  LoadOptions options;
  options.body.endpoint = Endpoint::kChat;
  const LoadOutcome out = bench(fake, kTurns, options);
  ASSERT_EQ(out.records.size(), 9u);
  EXPECT_TRUE(out.failure_counts.empty());
  std::map<std::size_t, int> by_messages;
  for (const json& body : fake.bodies) {
    const json& messages = body["messages"];
    ++by_messages[messages.size()];
    for (std::size_t i = 1; i < messages.size(); i += 2) {
      EXPECT_EQ(messages[i]["role"], "assistant");
      EXPECT_EQ(messages[i]["content"], " waxy wbxy wcxy wdxy wexy");
    }
  }
  EXPECT_EQ(by_messages, (std::map<std::size_t, int>{{1, 3}, {3, 3}, {5, 3}}));
}

}  // namespace
}  // namespace lodestar::loadgen
