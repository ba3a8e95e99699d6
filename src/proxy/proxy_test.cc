// SPDX-License-Identifier: Apache-2.0
// The proxy over loopback: what passes, what is refused, what is said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/test_rig.h"

namespace lodestar::proxy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ProxyTest : public ::testing::Test {
 protected:
  net::testing::LiveRuntime engines;
};

TEST_F(ProxyTest, AStreamPassesThroughByteForByte) {
  const std::string odd =
      ": comment\r\n\r\nid: 7\nevent: x\ndata: {\"choices\":\ndata: []}\n\n\r\r" + chat_stream(3) +
      "retry: 5\n\n";
  for (std::size_t piece : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
    FakeEngine engine(engines.runtime, streams(odd, piece));
    Rig rig({engine.port()});
    const Reply reply = rig.post(kChat);
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.body, odd);
    EXPECT_EQ(reply.header("content-type"), "text/event-stream; charset=utf-8");
    EXPECT_NE(reply.header("x-request-id"), "");
    EXPECT_EQ(engine.seen()[0].body, kChat);
    EXPECT_TRUE(eventually([&] { return rig.idle(); }));
    EXPECT_EQ(rig.counters().ended, 1u);
    EXPECT_EQ(rig.counters().ignored_reports, 0u);
  }
}

TEST_F(ProxyTest, APlainAnswerPassesThroughAndItsUsageIsLearned) {
  const std::string body =
      R"({"choices":[{"message":{"content":"x"}}],)"
      R"("usage":{"prompt_tokens":8,"completion_tokens":2}})";
  FakeEngine engine(engines.runtime, answers(200, body));
  Rig rig({engine.port()});
  const Reply reply = rig.post(kPlain);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, body);
  EXPECT_EQ(reply.header("content-length"), std::to_string(body.size()));
  EXPECT_TRUE(eventually([&] { return rig.counters().ended == 1; }));
  const double ratio =
      rig.live.on_worker([&] { return rig.brain->router().tokens().bytes_per_token("m"); });
  EXPECT_NE(ratio, 4.0);  // the first sample has replaced the prior
  EXPECT_THAT(call(rig.port(), "GET", "/metrics").body,
              HasSubstr("lodestar_output_tokens_total{served_model=\"m\",api=\"chat\"} 2\n"));
}

TEST_F(ProxyTest, WrongRequestsGetAClearAnswer) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig rig({engine.port()});
  const Reply broken = rig.post("{\"model\":\"m\",");
  EXPECT_EQ(broken.status, 400);
  EXPECT_THAT(broken.body, HasSubstr("not valid JSON"));
  EXPECT_THAT(broken.body, HasSubstr("\"error\""));
  EXPECT_EQ(rig.post("{}").status, 400);
  const Reply unknown = rig.post(R"({"model":"nope","messages":[]})");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("The model `nope` does not exist."));
  EXPECT_THAT(unknown.body, HasSubstr("NotFoundError"));
  EXPECT_EQ(call(rig.port(), "GET", "/v1/chat/completions").status, 405);
  EXPECT_EQ(call(rig.port(), "DELETE", "/v1/models").status, 405);
  EXPECT_EQ(call(rig.port(), "POST", "/v1/nothing", "{}").status, 404);
  EXPECT_EQ(call(rig.port(), "GET", "/").status, 404);
  EXPECT_EQ(engine.posts, 0);
  EXPECT_TRUE(rig.idle());
}

TEST_F(ProxyTest, AnEnginesRefusalPassesThroughAndBlamesNobody) {
  const std::string body =
      R"({"error":{"message":"too long","type":"BadRequestError","code":400}})";
  FakeEngine a(engines.runtime, answers(400, body)), b(engines.runtime, answers(400, body));
  Rig rig({a.port(), b.port()});
  const Reply reply = rig.post(kChat);
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.body, body);
  EXPECT_EQ(a.posts + b.posts, 1);
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
  EXPECT_EQ(rig.counters().failed, 0u);
}

TEST_F(ProxyTest, OneMegabytePrompt) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig rig({engine.port()});
  const std::string body = R"({"model":"m","prompt":")" + std::string(1'000'000, 'x') + "\"}";
  EXPECT_EQ(rig.post(body, "", "/v1/completions").status, 200);
  EXPECT_EQ(engine.seen()[0].body, body);
}

TEST_F(ProxyTest, SpoofedHeadersNeverArriveAndNeverCount) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig rig({engine.port()});
  const Reply reply =
      rig.post(kPlain,
               "x-lodestar-instance: evil\r\nrouting-strategy: no-such\r\n"
               "target-pod: 1.2.3.4\r\nx-data-parallel-rank: 3\r\nX-Request-Id: mine\r\n"
               "x-lodestar-admin-token: guess\r\nAuthorization: Bearer k\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("x-lodestar-instance"), "");
  EXPECT_EQ(reply.header("x-request-id"), "mine");
  const auto head = engine.seen()[0].head;
  for (const char* name : {"x-lodestar-instance", "routing-strategy", "target-pod",
                           "x-data-parallel-rank", "x-lodestar-admin-token"})
    EXPECT_EQ(head.headers.find(name), nullptr) << name;
  EXPECT_EQ(*head.headers.find("x-request-id"), "mine");
  EXPECT_EQ(*head.headers.find("authorization"), "Bearer k");
}

TEST_F(ProxyTest, ExposedRoutingNamesTheInstanceAndHonoursTheStrategy) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig::Options options;
  options.proxy.expose_routing = true;
  Rig rig({engine.port()}, options);
  const Reply reply = rig.post(kPlain, "routing-strategy: random\r\n");
  EXPECT_EQ(reply.header("x-lodestar-instance"), "e1");
  EXPECT_EQ(reply.header("x-lodestar-policy"), "random");
  EXPECT_EQ(rig.post(kPlain).header("x-lodestar-policy"), "least-request");
  const Reply wrong = rig.post(kPlain, "routing-strategy: no-such\r\n");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_THAT(wrong.body, HasSubstr("least-request"));
}

TEST_F(ProxyTest, TheAdminTokenExposesOneRequest) {
  FakeEngine engine(engines.runtime, answers(200, "{}"));
  Rig::Options options;
  options.proxy.admin_token = "s3cret";
  Rig rig({engine.port()}, options);
  EXPECT_EQ(rig.post(kPlain, "x-lodestar-admin-token: s3cret\r\n").header("x-lodestar-instance"),
            "e1");
  EXPECT_EQ(rig.post(kPlain, "x-lodestar-admin-token: s3cre\r\n").header("x-lodestar-instance"),
            "");
}

TEST_F(ProxyTest, UsageInjectionIsInvisibleToTheClient) {
  FakeEngine engine(engines.runtime, streams(chat_stream(4, /*usage=*/true), 13));
  Rig::Options options;
  options.proxy.usage_injection = true;
  Rig rig({engine.port()}, options);
  EXPECT_EQ(rig.post(kChat).body, chat_stream(4));
  EXPECT_THAT(engine.seen()[0].body, HasSubstr("\"stream_options\":{\"include_usage\":true}"));
  const std::string asked =
      R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]})";
  EXPECT_EQ(rig.post(asked).body, chat_stream(4, true));
  EXPECT_EQ(engine.seen()[1].body, asked);
  EXPECT_THAT(call(rig.port(), "GET", "/metrics").body,
              HasSubstr("lodestar_cached_tokens_total{served_model=\"m\",api=\"chat\"} 8\n"));
}

TEST_F(ProxyTest, ModelsAreMergedOverTheFleet) {
  FakeEngine a(engines.runtime, answers(200, "{}"), {"m", "shared"});
  FakeEngine b(engines.runtime, answers(200, "{}"), {"shared", "other/x"});
  Rig rig({a.port(), b.port()});
  const Reply list = call(rig.port(), "GET", "/v1/models");
  EXPECT_EQ(list.status, 200);
  EXPECT_THAT(list.body, HasSubstr("\"id\":\"m\""));
  EXPECT_THAT(list.body, HasSubstr("\"id\":\"other/x\""));
  EXPECT_EQ(list.body.find("\"id\":\"shared\""), list.body.rfind("\"id\":\"shared\""));
  EXPECT_EQ(call(rig.port(), "GET", "/v1/models/other/x").status, 200);
  EXPECT_EQ(call(rig.port(), "GET", "/v1/models/zzz").status, 404);
  // Each model goes where it is served.
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(rig.post(R"({"model":"other/x","messages":[]})").status, 200);
  EXPECT_EQ(a.posts, 0);
  EXPECT_EQ(b.posts, 4);
}

TEST_F(ProxyTest, HealthReadyMetrics) {
  FakeEngine engine(engines.runtime, streams(chat_stream(3)));
  Rig rig({engine.port()});
  EXPECT_EQ(call(rig.port(), "GET", "/healthz").status, 200);
  EXPECT_EQ(call(rig.port(), "GET", "/readyz").status, 200);
  EXPECT_EQ(rig.post(kChat).status, 200);
  const std::string page = call(rig.port(), "GET", "/metrics").body;
  EXPECT_THAT(
      page, HasSubstr("lodestar_requests_total{served_model=\"m\",api=\"chat\",code=\"200\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("lodestar_ttft_seconds_count{served_model=\"m\",api=\"chat\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("lodestar_tpot_seconds_count{served_model=\"m\",api=\"chat\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("lodestar_decision_seconds_count 1\n"));
  EXPECT_THAT(page, HasSubstr("lodestar_instance_up{instance=\"e1\"} 1\n"));
  rig.proxy->start_draining();
  EXPECT_EQ(call(rig.port(), "GET", "/readyz").status, 503);
  EXPECT_EQ(call(rig.port(), "GET", "/healthz").status, 200);
  const Reply refused = rig.post(kChat);
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.header("retry-after"), "");
}

TEST_F(ProxyTest, TooManyInFlightAreRefused) {
  FakeEngine engine(engines.runtime, stalls_after(chat_stream(1).substr(0, 60)));
  Rig::Options options;
  options.proxy.max_inflight = 1;
  Rig rig({engine.port()}, options);
  RawSocket first = RawSocket::connect(rig.port());
  first.send(request_text("POST", "/v1/chat/completions", kChat));
  ASSERT_TRUE(eventually([&] { return engine.active == 1; }));
  EXPECT_EQ(rig.post(kChat).status, 503);
  first.close();
  EXPECT_TRUE(eventually([&] { return rig.idle(); }));
}

}  // namespace
}  // namespace lodestar::proxy::testing
