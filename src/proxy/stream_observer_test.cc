// SPDX-License-Identifier: Apache-2.0
#include "proxy/stream_observer.h"

#include <gtest/gtest.h>

namespace lodestar::proxy {
namespace {

constexpr const char* kRole =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
constexpr const char* kHello =
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n";
constexpr const char* kStop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
constexpr const char* kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"
    "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";

EventFacts facts(std::string_view data) {
  EventReader reader;
  return reader.read_event(data);
}

TEST(EventReader, WhatIsContent) {
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})").content, 0);
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"role":"assistant","content":"a"}}]})").content, 1);
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"reasoning_content":"a"}}]})").content, 1);
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"reasoning":"a"}}]})").content, 1);
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})").content, 1);
  EXPECT_EQ(facts(R"({"choices":[{"delta":{"tool_calls":[]}}]})").content, 0);
  EXPECT_EQ(facts(R"({"choices":[{"text":"a"},{"text":"b"}]})").content, 2);
  EXPECT_EQ(facts(R"({"choices":[{"text":"","finish_reason":"length"}]})").content, 0);
  EXPECT_EQ(facts(R"({"type":"response.output_text.delta","delta":"a"})").content, 1);
  EXPECT_EQ(facts(R"({"type":"response.created","response":{"usage":null}})").content, 0);
  EXPECT_EQ(
      facts(R"({"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}})").content,
      1);
  EXPECT_EQ(facts(R"({"type":"content_block_start","content_block":{"type":"text"}})").content, 0);
  EXPECT_EQ(facts("not json").content, 0);
  EXPECT_EQ(facts("[1,2]").content, 0);
  EXPECT_EQ(facts("").content, 0);
}

TEST(EventReader, UsageOfThreeDialects) {
  const auto openai = facts(
      R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,)"
      R"("prompt_tokens_details":{"cached_tokens":4}}})");
  EXPECT_TRUE(openai.usage_only);
  EXPECT_EQ(openai.usage.prompt_tokens, 9);
  EXPECT_EQ(openai.usage.completion_tokens, 5);
  EXPECT_EQ(openai.usage.cached_tokens, 4);
  const auto responses = facts(
      R"({"type":"response.completed","response":{"usage":{"input_tokens":7,)"
      R"("output_tokens":3,"input_tokens_details":{"cached_tokens":2}}}})");
  EXPECT_TRUE(responses.finished);
  EXPECT_EQ(responses.usage.prompt_tokens, 7);
  EXPECT_EQ(responses.usage.completion_tokens, 3);
  EXPECT_EQ(responses.usage.cached_tokens, 2);
  const auto messages = facts(
      R"({"type":"message_start","message":{"usage":{"input_tokens":3,)"
      R"("cache_read_input_tokens":10,"output_tokens":1}}})");
  EXPECT_EQ(messages.usage.prompt_tokens, 13);
  EXPECT_EQ(messages.usage.cached_tokens, 10);
  EXPECT_FALSE(facts(R"({"choices":[],"usage":null})").usage_only);
  EXPECT_FALSE(facts(R"({"usage":{"prompt_tokens":-1}})").usage.prompt_tokens);
}

TEST(EventReader, EndsAndErrors) {
  EXPECT_TRUE(facts("[DONE]").finished);
  EXPECT_TRUE(facts(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})").finished);
  EXPECT_FALSE(facts(R"({"choices":[{"delta":{},"finish_reason":null}]})").finished);
  EXPECT_TRUE(facts(R"({"type":"message_stop"})").finished);
  EXPECT_TRUE(facts(R"({"error":{"message":"x"}})").error);
  EXPECT_FALSE(facts(R"({"type":"response.created","error":null})").error);
}

TEST(StreamObserver, TheFirstTokenIsContentNotARoleOrAComment) {
  EventReader reader;
  StreamObserver o(reader, true);
  o.feed(": ping\n\n", 1);
  o.feed(kRole, 2);
  EXPECT_EQ(o.first_token_at(), 0);
  o.feed(kHello, 3);
  o.feed(kHello, 4);
  o.feed(kStop, 5);
  EXPECT_EQ(o.first_token_at(), 3);
  EXPECT_EQ(o.last_token_at(), 4);
  EXPECT_EQ(o.output_tokens(), 2);
  EXPECT_TRUE(o.finished());
  o.feed(kUsage, 6);
  EXPECT_EQ(o.output_tokens(), 5);  // usage knows better
  EXPECT_EQ(o.content_events(), 2);
  EXPECT_EQ(o.last_token_at(), 4);
}

TEST(StreamObserver, CutAtEveryByte) {
  const std::string stream = std::string(kRole) + kHello +
                             "data: {\"choices\":[],\r\ndata:\"usage\":"
                             "{\"completion_tokens\":8}}\r\n\r\n" +
                             kHello + "data: [DONE]\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    EventReader reader;
    StreamObserver o(reader, true);
    o.feed(std::string_view(stream).substr(0, cut), 1);
    o.feed(std::string_view(stream).substr(cut), 2);
    ASSERT_EQ(o.content_events(), 2) << cut;
    ASSERT_EQ(o.output_tokens(), 8) << cut;
    ASSERT_TRUE(o.finished()) << cut;
  }
}

TEST(StreamObserver, AWholeAnswer) {
  EventReader reader;
  StreamObserver o(reader, false);
  o.feed(R"({"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_)", 1);
  o.feed(R"(tokens":3,"completion_tokens":2}})", 2);
  o.end();
  EXPECT_EQ(o.usage().prompt_tokens, 3);
  EXPECT_EQ(o.output_tokens(), 2);
  EXPECT_EQ(o.first_token_at(), 0);
}

}  // namespace
}  // namespace lodestar::proxy
