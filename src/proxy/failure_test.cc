// SPDX-License-Identifier: Apache-2.0
// Clients that leave, engines that die, policies that hold and pair.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "proxy/test_rig.h"

namespace lodestar::proxy::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class FailureTest : public ::testing::TestWithParam<int> {
 protected:
  net::testing::LiveRuntime engines;
  Rig::Options options() const {
    Rig::Options o;
    o.workers = GetParam();
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Workers, FailureTest, ::testing::Values(1, 3));

TEST_P(FailureTest, AClientThatLeavesFreesTheLeaseAndTheEngine) {
  FakeEngine engine(engines.runtime, stalls_after(chat_stream(1).substr(0, 60)));
  Rig rig({engine.port()}, options());
  RawSocket client = RawSocket::connect(rig.port());
  client.send(request_text("POST", "/v1/chat/completions", kChat));
  ASSERT_TRUE(eventually([&] { return engine.active == 1; }));
  EXPECT_EQ(rig.own_inflight(), 1);
  client.reset();
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
  EXPECT_TRUE(eventually([&] { return engine.disconnects == 1; }));
  EXPECT_EQ(rig.counters().aborted, 1u);
  EXPECT_EQ(rig.counters().failed, 0u);
}

TEST_P(FailureTest, AnEngineThatDiesBeforeAnyByteIsReplaced) {
  FakeEngine dead(engines.runtime, dies_after("")), good(engines.runtime, streams(chat_stream(2)));
  Rig rig({dead.port(), good.port()}, options());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rig.post(kChat).body, chat_stream(2));
  EXPECT_GE(dead.posts, 1);
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
  EXPECT_EQ(rig.counters().ended, 10u);
  EXPECT_EQ(rig.counters().retried, static_cast<std::uint64_t>(dead.posts));
}

TEST_P(FailureTest, AServerErrorIsRetriedElsewhere) {
  FakeEngine bad(engines.runtime, answers(500, "{\"error\":{}}")),
      good(engines.runtime, answers(200, "{}"));
  Rig rig({bad.port(), good.port()}, options());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rig.post(kPlain).status, 200);
  EXPECT_GE(bad.posts, 1);
}

TEST_P(FailureTest, TheLastErrorOfAnEnginePassesThrough) {
  FakeEngine bad(engines.runtime, answers(500, R"({"error":{"message":"cuda"}})"));
  Rig rig({bad.port()}, options());
  const Reply reply = rig.post(kPlain);
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("cuda"));
  EXPECT_EQ(bad.posts, 1);  // nobody else to ask, and the same engine is not asked twice
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, NobodyLeftIsABadGateway) {
  FakeEngine dead(engines.runtime, dies_after(""));
  Rig rig({dead.port()}, options());
  const Reply reply = rig.post(kPlain);
  EXPECT_EQ(reply.status, 502);
  EXPECT_THAT(reply.body, HasSubstr("\"error\""));
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, AnEngineThatDiesInMidStreamIsAnErrorEvent) {
  const std::string head = chat_stream(2).substr(
      0, chat_stream(2).find("data: {\"choices\":[{\"index\":0,\"delta\":{}"));
  for (const std::string& part : {head, head + "data: {\"cho"}) {
    FakeEngine dead(engines.runtime, dies_after(part));
    Rig rig({dead.port()}, options());
    const Reply reply = rig.post(kChat);
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.complete);
    EXPECT_THAT(reply.body, StartsWith(part));
    EXPECT_THAT(reply.body, HasSubstr("\n\ndata: {\"error\":{\"message\":\"The engine failed"));
    EXPECT_THAT(reply.body, EndsWith("\n\ndata: [DONE]\n\n"));
    EXPECT_EQ(dead.posts, 1);  // bytes had left: never again
    EXPECT_TRUE(eventually([&] { return rig.idle(); }));
    EXPECT_EQ(rig.counters().failed, 1u);
    EXPECT_EQ(rig.counters().ignored_reports, 0u);
  }
}

TEST_P(FailureTest, AStreamThatEndsInOrderButTooEarlyIsAnErrorEvent) {
  const std::string part =
      "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
  FakeEngine engine(engines.runtime, ends_after(part));
  Rig rig({engine.port()}, options());
  const Reply reply = rig.post(kChat);
  EXPECT_THAT(reply.body, StartsWith(part + "data: {\"error\""));
}

TEST_P(FailureTest, AnErrorEventOfTheEngineIsNotDoubled) {
  const std::string part =
      "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
      "data: {\"error\":{\"message\":\"oom\"}}\n\ndata: [DONE]\n\n";
  FakeEngine engine(engines.runtime, streams(part));
  Rig rig({engine.port()}, options());
  EXPECT_EQ(rig.post(kChat).body, part);
  EXPECT_TRUE(eventually([&] { return rig.counters().failed == 1; }));
}

TEST_P(FailureTest, HeldRequestsAreAnsweredOutOfOrder) {
  FakeEngine a(engines.runtime, answers(200, "{}")), b(engines.runtime, answers(200, "{}"));
  Rig::Options o = options();
  o.policy = "test-hold-reorder";
  Rig rig({a.port(), b.port()}, o);
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 10; ++i)
    clients.emplace_back([&] { good += rig.post(kPlain).status == 200; });
  for (auto& t : clients) t.join();
  EXPECT_EQ(good, 10);
  EXPECT_EQ(rig.counters().held, 10u);
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, AClientThatLeavesWhileHeldIsForgotten) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig::Options o = options();
  o.policy = "test-hold-reorder";
  Rig rig({engine.port()}, o);
  for (int i = 0; i < 3; ++i) {
    RawSocket client = RawSocket::connect(rig.port());
    client.send(request_text("POST", "/v1/chat/completions", kPlain));
    client.reset();
  }
  EXPECT_TRUE(eventually([&] { return rig.idle() && rig.proxy->inflight() == 0; }));
  EXPECT_EQ(rig.post(kPlain).status, 200);
}

TEST_P(FailureTest, APairRunsThePromptFirstAndThenTheAnswer) {
  const FakeEngine::Script script = [](FakeEngine& e, net::ServerRequest& q,
                                       net::ServerResponse& r) {
    const bool stream = q.body.find("\"stream\":true") != std::string::npos;
    return (stream
                ? streams(chat_stream(2))
                : answers(200, R"({"usage":{"prompt_tokens":5,"completion_tokens":1}})"))(e, q, r);
  };
  FakeEngine a(engines.runtime, script), b(engines.runtime, script);
  Rig::Options o = options();
  o.policy = "test-pair";
  Rig rig({a.port(), b.port()}, o);
  EXPECT_EQ(rig.post(kChat).body, chat_stream(2));
  ASSERT_EQ(a.posts + b.posts, 2);
  const auto first = a.posts == 2 ? a.seen() : std::vector{a.seen()[0], b.seen()[0]};
  const bool a_prefills = first[0].body != kChat;
  EXPECT_EQ(first[a_prefills ? 1 : 0].body, kChat);
  EXPECT_THAT(first[a_prefills ? 0 : 1].body, HasSubstr("\"max_tokens\":1"));
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
  EXPECT_EQ(rig.counters().ended, 2u);
}

TEST_P(FailureTest, APairWhosePromptIsRefusedAnswersOnce) {
  const auto refuse = answers(400, R"({"error":{"message":"temperature"}})");
  FakeEngine a(engines.runtime, refuse), b(engines.runtime, refuse);
  Rig::Options o = options();
  o.policy = "test-pair";
  Rig rig({a.port(), b.port()}, o);
  EXPECT_EQ(rig.post(kChat).status, 400);
  EXPECT_EQ(a.posts + b.posts, 1);  // the second instance is not asked
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, APairWhosePrefillFailsIsPlacedAgain) {
  FakeEngine dead(engines.runtime, dies_after("")), good(engines.runtime, streams(chat_stream(2)));
  Rig::Options o = options();
  o.policy = "test-pair";
  Rig rig({dead.port(), good.port()}, o);
  EXPECT_EQ(rig.post(kChat).body, chat_stream(2));
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, ABurstSpreads) {
  std::vector<std::unique_ptr<FakeEngine>> fakes;
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 4; ++i) {
    fakes.push_back(std::make_unique<FakeEngine>(engines.runtime, stalls_after("data: {}\n\n")));
    ports.push_back(fakes.back()->port());
  }
  Rig rig(ports, options());
  std::vector<RawSocket> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(RawSocket::connect(rig.port()));
    clients.back().send(request_text("POST", "/v1/chat/completions", kChat));
  }
  ASSERT_TRUE(eventually([&] { return rig.own_inflight() == 100; }));
  for (const auto& fake : fakes)
    EXPECT_TRUE(eventually([&] { return fake->posts == 25; })) << fake->posts;
  clients.clear();
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

TEST_P(FailureTest, ARestartedEngineIsANewIncarnationAndADeadOneNoCandidate) {
  FakeEngine a(engines.runtime, answers(200, "{}"));
  auto b = std::make_unique<FakeEngine>(engines.runtime, answers(200, "{}"));
  Rig rig({a.port(), b->port()}, options());
  const auto incarnation = [&] {
    return rig.live.on_worker([&] {
      const Fleet& fleet = rig.brain->router().fleet();
      return fleet.at(fleet.find(InstanceId{1})).info.incarnation;
    });
  };
  EXPECT_EQ(incarnation(), 0u);
  a.process_start = 2000;
  EXPECT_TRUE(eventually([&] { return incarnation() == 1; }));
  a.health_status = 503;
  EXPECT_TRUE(eventually([&] { return !rig.monitor->status()->at(0).up; }));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rig.post(kPlain).status, 200);
  EXPECT_EQ(a.posts, 0);
  EXPECT_EQ(b->posts, 4);
}

TEST_P(FailureTest, MetricsThatAreGarbageMeanUnknownNotZero) {
  FakeEngine a(engines.runtime, answers(200, "{}"));
  Rig rig({a.port()}, options());
  const auto known = [&] {
    return rig.live.on_worker([&] {
      const Fleet& fleet = rig.brain->router().fleet();
      return fleet.at(fleet.find(InstanceId{1})).load.has_value();
    });
  };
  EXPECT_TRUE(eventually(known));
  a.metrics_status = 404;
  EXPECT_TRUE(eventually([&] { return !known(); }));
  EXPECT_EQ(rig.post(kPlain).status, 200);  // served from our own account
}

}  // namespace
}  // namespace lodestar::proxy::testing
