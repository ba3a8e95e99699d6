// SPDX-License-Identifier: Apache-2.0
// The whole engine over real sockets, in one thread: server and client share the
// runtime's worker.
#include "emulator/engine_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "emulator/engine_setup.h"
#include "net/client.h"
#include "net/sse.h"

// g++ 12 takes Asio's recycled coroutine frames for a mismatch once it has inlined
// both ends of their life.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace lodestar::emulator {
namespace {

using nlohmann::json;

// What a test does: a coroutine with the server and a client at hand.
struct World {
  net::Runtime* runtime = nullptr;
  EngineServer* server = nullptr;
  net::ClientPool* client = nullptr;
};
using Script = net::Task<void> (*)(World);

net::Task<void> play(Script script, World world) {
  try {
    co_await script(world);
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what();
  }
  world.runtime->stop();
}

EngineServerOptions fast_engine(double time_scale = 50) {
  auto options = load_engine(
      {.config = {}, .group = {}, .instance = {}, .gpu = "h100", .served_model = "llama-3.1-8b"});
  EXPECT_TRUE(options) << options.error().message;
  options->engine.config.kv_capacity_tokens = 32'000;
  options->engine.config.max_model_len = 16'000;
  options->time_scale = time_scale;
  return *options;
}

void run(Script script, const EngineServerOptions& options = fast_engine()) {
  net::Runtime runtime(1);
  auto server = EngineServer::start(runtime, options);
  ASSERT_TRUE(server) << server.error().message;
  net::Url url;
  url.host = "127.0.0.1";
  url.port = (*server)->port();
  net::ClientPool client(runtime.executor(0), url);
  net::spawn(runtime.executor(0), play(script, {&runtime, server->get(), &client}), "test");
  runtime.run();
}

net::RequestHead head_of(const char* method, const char* path) {
  net::RequestHead head;
  head.method = method;
  head.target = path;
  if (head.method == "POST") head.headers.add("Content-Type", "application/json");
  return head;
}

net::Task<net::Response> call(World w, const char* method, const char* path, std::string body) {
  net::RequestHead head = head_of(method, path);
  net::RequestOptions options;
  auto response = co_await w.client->fetch(std::move(head), body, options);
  EXPECT_TRUE(response) << (response ? "" : response.error().message);
  if (!response) co_return net::Response{};
  co_return std::move(*response);
}

std::vector<std::string> events_of(const std::string& body) {
  net::SseScanner scanner;
  scanner.feed(body);
  std::vector<std::string> out;
  for (net::SseEvent e; scanner.next(e);) out.emplace_back(e.data);
  return out;
}

TEST(EngineServer, StreamsOneChunkPerTokenThenUsageThenDone) {
  run([](World w) -> net::Task<void> {
    const net::Response r = co_await call(
        w, "POST", "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":"hello there"}],"max_tokens":4,"ignore_eos":true,
            "stream":true,"stream_options":{"include_usage":true}})");
    EXPECT_EQ(r.head.status, 200);
    EXPECT_EQ(*r.head.headers.find("content-type"), "text/event-stream; charset=utf-8");
    const auto events = events_of(r.body);
    EXPECT_EQ(events.size(), 1u + 4 + 1 + 1);
    if (events.size() != 7) co_return;
    EXPECT_EQ(json::parse(events[0])["choices"][0]["delta"]["role"], "assistant");
    EXPECT_TRUE(json::parse(events[3])["choices"][0]["finish_reason"].is_null());
    EXPECT_EQ(json::parse(events[4])["choices"][0]["finish_reason"], "length");
    const json usage = json::parse(events[5]);
    EXPECT_TRUE(usage["choices"].empty());
    EXPECT_EQ(usage["usage"]["prompt_tokens"], 2 + kTokensPerMessage + kTokensOfAnswerHeader);
    EXPECT_EQ(usage["usage"]["completion_tokens"], 4);
    EXPECT_EQ(events[6], "[DONE]");
  });
}

TEST(EngineServer, StreamedAndWholeAnswersHaveTheSameText) {
  run([](World w) -> net::Task<void> {
    const std::string body = R"({"prompt":"the same prompt","max_tokens":20,"min_tokens":20)";
    const net::Response whole = co_await call(w, "POST", "/v1/completions", body + "}");
    const net::Response parts =
        co_await call(w, "POST", "/v1/completions", body + ",\"stream\":true}");
    std::string text;
    for (const std::string& event : events_of(parts.body))
      if (event != "[DONE]") text += json::parse(event)["choices"][0]["text"];
    EXPECT_EQ(text.size(), 100u);
    EXPECT_EQ(json::parse(whole.body)["choices"][0]["text"], text);
  });
}

TEST(EngineServer, RepeatedPromptIsCachedButForItsLastBlock) {
  run([](World w) -> net::Task<void> {
    std::string words;
    for (int i = 0; i < 64; ++i) words += " word";
    const std::string body = R"({"prompt":")" + words + R"(","max_tokens":2,"ignore_eos":true})";
    const net::Response cold = co_await call(w, "POST", "/v1/completions", body);
    const net::Response warm = co_await call(w, "POST", "/v1/completions", body);
    EXPECT_EQ(json::parse(cold.body)["usage"]["prompt_tokens"], 64);
    EXPECT_TRUE(json::parse(cold.body)["usage"]["prompt_tokens_details"].is_null());
    EXPECT_EQ(json::parse(warm.body)["usage"]["prompt_tokens_details"]["cached_tokens"], 48);
    // Another salt is another cache.
    std::string salted = body;
    salted.insert(1, "\"cache_salt\":\"x\",");
    const net::Response other = co_await call(w, "POST", "/v1/completions", salted);
    EXPECT_TRUE(json::parse(other.body)["usage"]["prompt_tokens_details"].is_null());
  });
}

TEST(EngineServer, NextTurnHitsGeneratedBlocks) {
  run([](World w) -> net::Task<void> {
    const std::string question = R"({"role":"user","content":"tell me a story"})";
    const std::string tail = R"(],"max_tokens":100,"ignore_eos":true})";
    const net::Response first =
        co_await call(w, "POST", "/v1/chat/completions", R"({"messages":[)" + question + tail);
    const std::string answer = json::parse(first.body)["choices"][0]["message"]["content"];
    const json assistant{{"role", "assistant"}, {"content", answer}};
    const net::Response second =
        co_await call(w, "POST", "/v1/chat/completions",
                      R"({"messages":[)" + question + "," + assistant.dump() +
                          R"(,{"role":"user","content":"more"})" + tail);
    // 11 prompt tokens and 100 generated ones; the last of those has no KV yet.
    const json usage = json::parse(second.body)["usage"];
    EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 96);
  });
}

net::Task<void> one_stream(World w, int i, int* finished) {
  const std::string body = R"({"prompt":"stream number )" + std::to_string(i) +
                           R"(","max_tokens":50,"ignore_eos":true,"stream":true})";
  const net::Response r = co_await call(w, "POST", "/v1/completions", body);
  const auto events = events_of(r.body);
  EXPECT_EQ(events.size(), 51u);
  *finished += 1;
}

TEST(EngineServer, ServesSixtyFourStreamsAtOnce) {
  run(
      [](World w) -> net::Task<void> {
        int finished = 0;
        for (int i = 0; i < 64; ++i)
          net::spawn(w.runtime->executor(0), one_stream(w, i, &finished), "stream");
        std::size_t most = 0;
        while (finished < 64) {
          co_await net::sleep_for(kMillisecond);
          most = std::max(most, w.server->driver().in_flight());
        }
        EXPECT_GT(most, 8u);  // one after the other would be 1
        EXPECT_EQ(w.server->driver().metrics().endings(Ending::kLength), 64u);
        EXPECT_EQ(w.server->driver().in_flight(), 0u);
      },
      fast_engine(2));
}

TEST(EngineServer, DisconnectFreesTheSequenceAndCountsAbort) {
  run(
      [](World w) -> net::Task<void> {
        for (const bool stream : {true, false}) {
          auto cancel = std::make_shared<net::Cancel>();
          net::RequestOptions options;
          options.cancel = cancel;
          net::RequestHead head = head_of("POST", "/v1/completions");
          const std::string body = std::string(R"({"prompt":"never ending","max_tokens":15000,)") +
                                   R"("ignore_eos":true,"stream":)" + (stream ? "true}" : "false}");
          if (stream) {
            auto answer = co_await w.client->request(std::move(head), body, options);
            EXPECT_TRUE(answer);
            co_await answer->read_some();
            EXPECT_EQ(w.server->driver().in_flight(), 1u);
            EXPECT_GT(w.server->driver().engine().kv_usage_now(), 0);
            answer->close();
          } else {
            net::post(w.runtime->executor(0), [cancel] { cancel->cancel(); });
            options.first_byte_timeout = 200 * kMillisecond;
            auto answer = co_await w.client->request(std::move(head), body, options);
            EXPECT_FALSE(answer);
          }
          for (int i = 0; i < 2000 && w.server->driver().in_flight() > 0; ++i)
            co_await net::sleep_for(kMillisecond);
          EXPECT_EQ(w.server->driver().in_flight(), 0u);
          EXPECT_EQ(w.server->driver().engine().kv_usage_now(), 0);
        }
        EXPECT_GE(w.server->driver().metrics().endings(Ending::kAbort), 1u);
      },
      fast_engine(1));
}

TEST(EngineServer, ErrorsHaveVllmsShape) {
  run([](World w) -> net::Task<void> {
    const net::Response unknown =
        co_await call(w, "POST", "/v1/chat/completions",
                      R"({"model":"gpt","messages":[{"role":"user","content":"x"}]})");
    EXPECT_EQ(unknown.head.status, 404);
    EXPECT_EQ(json::parse(unknown.body)["error"]["type"], "NotFoundError");
    EXPECT_EQ(json::parse(unknown.body)["error"]["message"], "The model `gpt` does not exist.");
    const net::Response broken = co_await call(w, "POST", "/v1/chat/completions", "{\"mess");
    EXPECT_EQ(broken.head.status, 400);
    EXPECT_EQ(json::parse(broken.body)["error"]["code"], 400);
    std::string megabyte = "{\"prompt\":\"";
    for (int i = 0; i < 200'000; ++i) megabyte += " abcd";
    const net::Response large = co_await call(w, "POST", "/v1/completions", megabyte + "\"}");
    EXPECT_EQ(large.head.status, 400);
    EXPECT_THAT(json::parse(large.body)["error"]["message"].get<std::string>(),
                testing::StartsWith("This model's maximum context length is 16000 tokens."));
    const net::Response nowhere = co_await call(w, "GET", "/v2", "");
    EXPECT_EQ(nowhere.head.status, 404);
    const net::Response method = co_await call(w, "GET", "/v1/completions", "");
    EXPECT_EQ(method.head.status, 405);
    net::RequestHead head = head_of("POST", "/v1/completions");
    head.headers.set("Content-Type", "text/plain");
    net::RequestOptions options;
    auto typed = co_await w.client->fetch(std::move(head), R"({"prompt":"x"})", options);
    EXPECT_EQ(typed->head.status, 400);
    EXPECT_EQ(w.server->driver().in_flight(), 0u);
  });
}

TEST(EngineServer, SmallEndpoints) {
  run([](World w) -> net::Task<void> {
    const net::Response models = co_await call(w, "GET", "/v1/models", "");
    EXPECT_EQ(json::parse(models.body)["data"][0]["id"], "llama-3.1-8b");
    const net::Response health = co_await call(w, "GET", "/health", "");
    EXPECT_EQ(health.head.status, 200);
    EXPECT_EQ(health.body, "");
    const net::Response version = co_await call(w, "GET", "/version", "");
    EXPECT_TRUE(json::parse(version.body).contains("version"));
    const net::Response load = co_await call(w, "GET", "/load", "");
    EXPECT_EQ(json::parse(load.body)["server_load"], 0);
    const net::Response tokens =
        co_await call(w, "POST", "/tokenize", R"({"prompt":"Hello world"})");
    EXPECT_EQ(json::parse(tokens.body)["count"], 2);
    const net::Response text = co_await call(
        w, "POST", "/detokenize", "{\"tokens\":" + json::parse(tokens.body)["tokens"].dump() + "}");
    EXPECT_EQ(json::parse(text.body)["prompt"], "Hello world");
    const net::Response reset = co_await call(w, "POST", "/reset_prefix_cache", "");
    EXPECT_EQ(reset.head.status, 200);
    const net::Response metrics = co_await call(w, "GET", "/metrics", "");
    EXPECT_THAT(metrics.body, testing::HasSubstr("http_requests_total{handler=\"/tokenize\","
                                                 "method=\"POST\",status=\"2xx\"} 1.0"));
  });
}

TEST(EngineServer, StopStringsEndTheAnswer) {
  run([](World w) -> net::Task<void> {
    const std::string start = R"({"prompt":"find the stop","max_tokens":30,"ignore_eos":true)";
    const net::Response full = co_await call(w, "POST", "/v1/completions", start + "}");
    const std::string text = json::parse(full.body)["choices"][0]["text"];
    const std::string stop = text.substr(52, 4);  // within the eleventh and twelfth word
    const std::size_t at = text.find(stop);
    const json body{
        {"prompt", "find the stop"}, {"max_tokens", 30}, {"ignore_eos", true}, {"stop", stop}};
    const net::Response cut = co_await call(w, "POST", "/v1/completions", body.dump());
    const json choice = json::parse(cut.body)["choices"][0];
    EXPECT_EQ(choice["text"], text.substr(0, at));
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["stop_reason"], stop);
  });
}

TEST(EngineServer, StreamIntervalBundlesTokens) {
  EngineServerOptions options = fast_engine();
  options.stream_interval = 10;
  run(
      [](World w) -> net::Task<void> {
        const net::Response r =
            co_await call(w, "POST", "/v1/completions",
                          R"({"prompt":"x","max_tokens":35,"ignore_eos":true,"stream":true})");
        std::vector<std::size_t> sizes;
        for (const std::string& event : events_of(r.body))
          if (event != "[DONE]")
            sizes.push_back(json::parse(event)["choices"][0]["text"].get<std::string>().size() / 5);
        EXPECT_THAT(sizes, testing::ElementsAre(1, 10, 10, 10, 4));
      },
      options);
}

TEST(EngineServer, CrashCutsStreamsAndTheNextLifeStartsCold) {
  EngineServerOptions options = fast_engine(2);
  options.engine.faults.push_back({sim::EngineFault::Kind::kCrash, from_s(2), from_s(4), 1});
  run(
      [](World w) -> net::Task<void> {
        net::RequestHead head = head_of("POST", "/v1/completions");
        net::RequestOptions request;
        auto answer = co_await w.client->request(
            std::move(head), R"({"prompt":"x","max_tokens":15000,"ignore_eos":true,"stream":true})",
            request);
        EXPECT_TRUE(answer);
        auto all = co_await answer->read_all();
        EXPECT_FALSE(all);  // cut, not ended
        EXPECT_FALSE(w.server->driver().up());
        net::RequestHead ping = head_of("GET", "/health");
        auto dead = co_await w.client->fetch(std::move(ping), {}, request);
        EXPECT_FALSE(dead);
        while (!w.server->driver().up()) co_await net::sleep_for(5 * kMillisecond);
        const net::Response alive = co_await call(w, "GET", "/health", "");
        EXPECT_EQ(alive.head.status, 200);
        EXPECT_EQ(w.server->driver().metrics().endings(Ending::kAbort), 0u);
        EXPECT_EQ(w.server->driver().engine().stats().generation_tokens, 0);
      },
      options);
}

TEST(EngineServer, FailAfterKillsTheEngine) {
  EngineServerOptions options = fast_engine();
  options.fail_after = 2;
  run(
      [](World w) -> net::Task<void> {
        const std::string body = R"({"prompt":"x","max_tokens":2})";
        for (int i = 0; i < 2; ++i) {
          const net::Response r = co_await call(w, "POST", "/v1/completions", body);
          EXPECT_EQ(r.head.status, 200);
        }
        net::RequestHead head = head_of("POST", "/v1/completions");
        net::RequestOptions request;
        auto third = co_await w.client->fetch(std::move(head), body, request);
        EXPECT_FALSE(third);
        EXPECT_FALSE(w.server->driver().up());
      },
      options);
}

TEST(EngineServer, RequestIdRules) {
  EngineServerOptions options = fast_engine();
  options.request_id_headers = true;
  run(
      [](World w) -> net::Task<void> {
        net::RequestHead head = head_of("POST", "/v1/completions");
        head.headers.add("X-Request-Id", "abc");
        net::RequestOptions request;
        const std::string body = R"({"prompt":"x","max_tokens":1})";
        auto named = co_await w.client->fetch(std::move(head), body, request);
        EXPECT_TRUE(named);
        EXPECT_EQ(json::parse(named->body)["id"], "cmpl-abc");
        EXPECT_EQ(*named->head.headers.find("x-request-id"), "abc");
        const net::Response a = co_await call(w, "POST", "/v1/completions", body);
        const net::Response b = co_await call(w, "POST", "/v1/completions", body);
        EXPECT_NE(json::parse(a.body)["id"], json::parse(b.body)["id"]);
      },
      options);
}

TEST(EngineSetup, ExplainsWhatIsMissing) {
  EXPECT_FALSE(load_engine({}));
  auto unknown =
      load_engine({.config = {}, .group = {}, .instance = {}, .gpu = "abacus", .served_model = {}});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("a30"), std::string::npos) << unknown.error().message;
}

}  // namespace
}  // namespace lodestar::emulator
