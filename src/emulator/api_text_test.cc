// SPDX-License-Identifier: Apache-2.0
#include "emulator/api_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lodestar::emulator {
namespace {

TEST(ApiText, CompletionChunkHasNullFields) {
  AnswerText text(false, "cmpl-1", "m", 5);
  std::string out;
  text.append_chunk(out, " ab", "", "", nullptr);
  EXPECT_EQ(out,
            "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"m\","
            "\"choices\":[{\"index\":0,\"text\":\" ab\",\"logprobs\":null,\"finish_reason\":null,"
            "\"stop_reason\":null,\"prompt_token_ids\":null,\"token_ids\":null}],\"usage\":null}"
            "\n\n");
  out.clear();
  const Usage usage{10, 2, 0};
  text.append_chunk(out, " cd", "length", "", &usage);
  EXPECT_NE(out.find("\"finish_reason\":\"length\""), std::string::npos);
  EXPECT_NE(
      out.find("\"usage\":{\"prompt_tokens\":10,\"total_tokens\":12,\"completion_tokens\":2}}"),
      std::string::npos);
}

TEST(ApiText, ChatChunkLeavesUnsetFieldsOut) {
  AnswerText text(true, "chatcmpl-1", "m", 5);
  std::string out;
  text.append_chunk(out, " ab", "", "", nullptr);
  EXPECT_EQ(out,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
            "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" ab\"},"
            "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  out.clear();
  text.append_chunk(out, " cd", "stop", "END", nullptr);
  EXPECT_EQ(out,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" cd\"},"
            "\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":\"END\"}]}\n\n");
}

TEST(ApiText, UsageChunkHasNoChoicesAndShowsCachedTokensOnlyAboveZero) {
  const AnswerText text(true, "chatcmpl-1", "m", 5);
  std::string out;
  text.append_usage_chunk(out, {100, 7, 64});
  EXPECT_EQ(out,
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"total_tokens\":107,"
            "\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":64}}}\n\n");
  out.clear();
  text.append_usage_chunk(out, {100, 7, 0});
  EXPECT_EQ(out.find("details"), std::string::npos);
}

TEST(ApiText, CompleteAnswers) {
  const auto chat = nlohmann::json::parse(
      AnswerText(true, "chatcmpl-1", "m", 5).complete(" hi", "stop", "", {3, 1, 0}));
  EXPECT_EQ(chat["object"], "chat.completion");
  EXPECT_EQ(chat["choices"][0]["message"]["content"], " hi");
  EXPECT_EQ(chat["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(chat["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(chat["usage"]["prompt_tokens_details"].is_null());
  const auto plain = nlohmann::json::parse(
      AnswerText(false, "cmpl-1", "m", 5).complete(" hi", "length", "", {3, 1, 2}));
  EXPECT_EQ(plain["object"], "text_completion");
  EXPECT_EQ(plain["choices"][0]["text"], " hi");
  EXPECT_EQ(plain["usage"]["total_tokens"], 4);
  EXPECT_EQ(plain["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

TEST(ApiText, StringsAreAlwaysValidJson) {
  const std::string nasty = std::string("a\"\\\n\x01\0b", 7) +
                            "\xc3\xa9 \xf0\x9f\x98\x80 \xff \xc3 \xed\xa0\x80 \xf5 \xe0\x80";
  std::string out;
  append_json_string(out, nasty);
  const std::string back = nlohmann::json::parse(out).get<std::string>();
  EXPECT_EQ(back.substr(0, 7), nasty.substr(0, 7));
  EXPECT_NE(back.find("\xc3\xa9 \xf0\x9f\x98\x80 \xef\xbf\xbd"), std::string::npos);
}

TEST(ApiText, ErrorsAndCardsParse) {
  const auto error = nlohmann::json::parse(
      error_body({404, "NotFoundError", "The model `x\"` does not exist.", "model"}));
  EXPECT_EQ(error["error"]["code"], 404);
  EXPECT_EQ(error["error"]["param"], "model");
  EXPECT_EQ(error["error"]["message"], "The model `x\"` does not exist.");
  EXPECT_TRUE(nlohmann::json::parse(error_body({400, "t", "m", ""}))["error"]["param"].is_null());
  const auto models = nlohmann::json::parse(models_body("m", 5, 4096));
  EXPECT_EQ(models["data"][0]["id"], "m");
  EXPECT_EQ(models["data"][0]["max_model_len"], 4096);
  EXPECT_TRUE(models["data"][0]["parent"].is_null());
}

}  // namespace
}  // namespace lodestar::emulator
