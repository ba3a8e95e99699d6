// SPDX-License-Identifier: Apache-2.0
#include "loadgen/stream_reader.h"

#include <gtest/gtest.h>

namespace lodestar::loadgen {
namespace {

TEST(StreamReader, RoleAloneIsNoOutput) {
  StreamReader r(true);
  EXPECT_FALSE(r.event(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})"));
  EXPECT_TRUE(r.event(R"({"choices":[{"delta":{"content":" a"},"finish_reason":null}]})"));
  EXPECT_TRUE(r.event(R"({"choices":[{"delta":{"content":" b"},"finish_reason":"stop"}]})"));
  EXPECT_FALSE(r.event(
      R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,
          "prompt_tokens_details":{"cached_tokens":8}}})"));
  EXPECT_FALSE(r.event("[DONE]"));
  EXPECT_EQ(r.totals().content_events, 2u);
  EXPECT_EQ(r.totals().text, " a b");
  EXPECT_EQ(r.totals().prompt_tokens, 9);
  EXPECT_EQ(r.totals().completion_tokens, 2);
  EXPECT_EQ(r.totals().cached_tokens, 8);
  EXPECT_EQ(r.totals().finish_reason, "stop");
  EXPECT_TRUE(r.totals().done);
  EXPECT_TRUE(r.totals().error.empty());
}

TEST(StreamReader, ReasoningAndToolCallsAndCompletionTextAreOutput) {
  StreamReader r(false);
  EXPECT_TRUE(r.event(R"({"choices":[{"delta":{"reasoning_content":"hm"}}]})"));
  EXPECT_TRUE(r.event(R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})"));
  EXPECT_TRUE(r.event(R"({"choices":[{"text":"x"}],"usage":null})"));
  EXPECT_FALSE(r.event(R"({"choices":[{"text":""}]})"));
  EXPECT_EQ(r.totals().text, "");
  EXPECT_FALSE(r.totals().cached_tokens.has_value());
}

TEST(StreamReader, ErrorsInTheStream) {
  StreamReader r(false);
  r.event(R"({"error":{"message":"engine died","type":"x","code":500}})");
  EXPECT_EQ(r.totals().error, "engine died");
  StreamReader broken(false);
  broken.event("{half");
  EXPECT_NE(broken.totals().error.find("no JSON"), std::string::npos);
}

TEST(ErrorMessage, OfEveryForm) {
  EXPECT_EQ(error_message_of(R"({"error":{"message":"m"}})"), "m");
  EXPECT_EQ(error_message_of(R"({"error":"plain"})"), "plain");
  EXPECT_EQ(error_message_of(R"({"detail":"Not Found"})"), "Not Found");
  EXPECT_EQ(error_message_of("<html>\nBad Gateway"), "<html> Bad Gateway");
  EXPECT_EQ(error_message_of(""), "");
}

TEST(FirstServedModel, FromModels) {
  EXPECT_EQ(first_served_model(R"({"object":"list","data":[{"id":"a"},{"id":"b"}]})"), "a");
  EXPECT_EQ(first_served_model(R"({"data":[]})"), "");
  EXPECT_EQ(first_served_model("nope"), "");
}

}  // namespace
}  // namespace lodestar::loadgen
