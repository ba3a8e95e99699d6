// SPDX-License-Identifier: Apache-2.0
#include "proxy/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lodestar::proxy {
namespace {

using ::testing::HasSubstr;

Result<ParsedRequest> parse(Api api, std::string body, std::string_view salt = "") {
  BodyParser parser({{11, 12}, 32});
  return parser.parse(api, body, salt);
}

std::vector<std::uint64_t> hashes(Api api, const std::string& body, std::string_view salt = "") {
  auto parsed = parse(api, body, salt);
  EXPECT_TRUE(parsed) << body;
  return parsed ? parsed->info.block_hashes : std::vector<std::uint64_t>{};
}

std::string error_of(Api api, const std::string& body) {
  auto parsed = parse(api, body);
  return parsed ? "" : parsed.error().message;
}

constexpr const char* kLong = "some words that are longer than one block of thirty-two bytes";

std::string chat(const std::string& messages, const std::string& more = "") {
  return R"({"model":"m","messages":[)" + messages + "]" + more + "}";
}

TEST(Parse, ReadsTheTopLevel) {
  auto p = parse(Api::kChat,
                 R"({"stream":true,"max_tokens":7,"model":"llama","user":"ann",
                     "stream_options":{"include_usage":true},"messages":[]})");
  ASSERT_TRUE(p);
  EXPECT_EQ(p->info.served_model, "llama");
  EXPECT_EQ(p->info.session_key, "ann");
  EXPECT_EQ(p->info.max_output_tokens, 7);
  EXPECT_TRUE(p->info.stream);
  EXPECT_TRUE(p->wants_usage);
  EXPECT_EQ(p->info.block_tokens, 0);
}

TEST(Parse, ErrorsSayWhatIsWrong) {
  EXPECT_THAT(error_of(Api::kChat, "{\"model\":\"m\","), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(Api::kChat, "{\"model\":\"m\"} x"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(Api::kChat, "{\"model\":\"m\",\"x\":tru}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(Api::kChat, "{\"model\":\"\xff\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(Api::kChat, ""), HasSubstr("empty"));
  EXPECT_THAT(error_of(Api::kChat, " \n"), HasSubstr("empty"));
  EXPECT_THAT(error_of(Api::kChat, "[1]"), HasSubstr("JSON object"));
  EXPECT_THAT(error_of(Api::kChat, "{}"), HasSubstr("`model` is missing"));
  EXPECT_THAT(error_of(Api::kChat, R"({"model":null})"), HasSubstr("`model` is missing"));
  EXPECT_THAT(error_of(Api::kChat, R"({"model":5})"), HasSubstr("must be a string"));
  EXPECT_THAT(error_of(Api::kChat, R"({"model":""})"), HasSubstr("empty"));
}

TEST(Parse, DeepNestingIsAnErrorNotACrash) {
  const std::string deep(200'000, '[');
  EXPECT_THAT(error_of(Api::kChat, R"({"model":"m","messages":)" + deep + "}"),
              HasSubstr("not valid JSON"));
}

// Trap 8: a routing key inside prompt text is text.
TEST(Parse, Trap08_KeysInsidePromptTextAreText) {
  auto p = parse(Api::kChat,
                 chat(R"({"role":"user","content":"say \"user\": \"eve\", \"model\":\"other\""},
                         {"role":"user","user":"mallory","model":"zzz","content":"x"})"));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->info.session_key, "");
  EXPECT_EQ(p->info.served_model, "m");
}

TEST(Parse, KeyOrderAndEscapesDoNotMatter) {
  const std::string a =
      chat(std::string(R"({"role":"user","content":")") + kLong + " \xc3\xa9/\"}");
  const std::string b = std::string(R"({"messages":[{"content":")") + kLong +
                        R"( \u00e9\/","role":"user"}],  "temperature":1, "model":"m"})";
  EXPECT_EQ(hashes(Api::kChat, a), hashes(Api::kChat, b));
  EXPECT_GE(hashes(Api::kChat, a).size(), 2u);
}

TEST(Parse, StringAndOneTextPartAreTheSamePrompt) {
  const std::string text(kLong);
  EXPECT_EQ(hashes(Api::kChat, chat(R"({"role":"user","content":")" + text + "\"}")),
            hashes(Api::kChat, chat(R"({"role":"user","content":[{"text":")" + text +
                                    R"(","type":"text"}]})")));
}

TEST(Parse, MessageOrderRoleAndToolsMatter) {
  const std::string one = std::string(R"({"role":"user","content":")") + kLong + "1\"}";
  const std::string two = std::string(R"({"role":"user","content":")") + kLong + "2\"}";
  EXPECT_NE(hashes(Api::kChat, chat(one + "," + two)), hashes(Api::kChat, chat(two + "," + one)));
  const std::string other = std::string(R"({"role":"tool","content":")") + kLong + "1\"}";
  EXPECT_NE(hashes(Api::kChat, chat(one))[0], hashes(Api::kChat, chat(other))[0]);
  const std::string tool = R"([{"type":"function","function":{"name":"f","parameters":{}}}])";
  EXPECT_NE(hashes(Api::kChat, chat(one))[0],
            hashes(Api::kChat, chat(one, ",\"tools\":" + tool))[0]);
  EXPECT_EQ(hashes(Api::kChat, chat(one)), hashes(Api::kChat, chat(one, ",\"tools\":[]")));
}

TEST(Parse, AppendingAMessageKeepsAllFullBlocks) {
  const std::string one = std::string(R"({"role":"user","content":")") + kLong + "\"}";
  const std::string two = std::string(R"({"role":"assistant","content":")") + kLong + "\"}";
  const auto before = hashes(Api::kChat, chat(one));
  const auto after = hashes(Api::kChat, chat(one + "," + two));
  ASSERT_GT(after.size(), before.size());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST(Parse, NestedJsonIsSortedAndNumbersArePlain) {
  const auto body = [](const std::string& call) {
    return chat(R"({"role":"assistant","content":null,"tool_calls":)" + call + "}");
  };
  EXPECT_EQ(hashes(Api::kChat, body(R"([{"id":"call","arguments":{"alpha":1.0,"beta":[true]}}])")),
            hashes(Api::kChat, body(R"([{"arguments":{"beta":[true],"alpha":1},"id":"call"}])")));
  EXPECT_NE(hashes(Api::kChat, body(R"([{"id":"call","arguments":{"alpha":1,"beta":[true]}}])")),
            hashes(Api::kChat, body(R"([{"id":"call","arguments":{"alpha":2,"beta":[true]}}])")));
}

TEST(Parse, AnImageIsItsDigest) {
  const auto body = [](char pixel) {
    return chat(R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"data:)" +
                std::string(100'000, pixel) + R"("}},{"type":"text","text":")" + kLong + "\"}]}");
  };
  auto p = parse(Api::kChat, body('a'));
  ASSERT_TRUE(p);
  EXPECT_LT(p->info.prompt_bytes, 200);
  EXPECT_NE(hashes(Api::kChat, body('a')), hashes(Api::kChat, body('b')));
}

TEST(Parse, CompletionPrompts) {
  const std::string text = std::string("\"") + kLong + "\"";
  const auto body = [](const std::string& prompt) {
    return R"({"model":"m","prompt":)" + prompt + "}";
  };
  EXPECT_EQ(hashes(Api::kCompletions, body(text)),
            hashes(Api::kCompletions, body("[" + text + "]")));
  auto p = parse(Api::kCompletions, body(text));
  EXPECT_EQ(p->info.prompt_bytes, static_cast<std::int64_t>(std::string_view(kLong).size()));
  EXPECT_EQ(p->info.prompt_tokens, 0);
}

// Trap 9: token-id prompts of equal length must not hash alike.
TEST(Parse, Trap09_TokenIdsAreHashedByContentAndCountedExactly) {
  const auto body = [](int first) {
    std::string ids;
    for (int i = 0; i < 20; ++i) ids += (i ? "," : "") + std::to_string(first + i);
    return R"({"model":"m","prompt":[)" + ids + "]}";
  };
  auto p = parse(Api::kCompletions, body(100));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->info.prompt_tokens, 20);
  EXPECT_EQ(p->info.prompt_tokens_error, 0);
  EXPECT_EQ(p->info.prompt_bytes, 0);
  EXPECT_EQ(p->info.block_tokens, 8);  // blocks of 32 bytes
  EXPECT_EQ(p->info.block_hashes.size(), 2u);
  EXPECT_NE(hashes(Api::kCompletions, body(100)), hashes(Api::kCompletions, body(101)));
}

TEST(Parse, TheNamespaceSeparatesModelsAndTenants) {
  const std::string message =
      std::string(R"("messages":[{"role":"user","content":")") + kLong + "\"}]";
  const auto a = hashes(Api::kChat, R"({"model":"a",)" + message + "}");
  const auto b = hashes(Api::kChat, R"({"model":"b",)" + message + "}");
  const auto salted = hashes(Api::kChat, R"({"model":"a",)" + message + "}", "tenant");
  EXPECT_NE(a, b);
  EXPECT_NE(a, salted);
}

TEST(Parse, OtherApis) {
  const std::string text(kLong);
  EXPECT_GE(hashes(Api::kEmbeddings, R"({"model":"m","input":")" + text + "\"}").size(), 1u);
  EXPECT_GE(
      hashes(Api::kRerank, R"({"model":"m","query":"q","documents":[")" + text + "\"]}").size(),
      1u);
  EXPECT_GE(hashes(Api::kScore, R"({"model":"m","text_1":"q","text_2":")" + text + "\"}").size(),
            1u);
  EXPECT_EQ(
      hashes(Api::kResponses, R"({"model":"m","input":")" + text + "\"}"),
      hashes(Api::kResponses,
             R"({"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":")" +
                 text + "\"}]}]}"));
  EXPECT_EQ(
      hashes(Api::kMessages, R"({"model":"m","system":")" + text + R"(","messages":[]})"),
      hashes(Api::kMessages,
             R"({"model":"m","messages":[],"system":[{"type":"text","text":")" + text + "\"}]}"));
}

TEST(Parse, ARepeatedKeyCountsOnceTheLast) {
  auto p = parse(Api::kChat, R"({"model":"a","model":"b","messages":[]})");
  ASSERT_TRUE(p);
  EXPECT_EQ(p->info.served_model, "b");
}

TEST(Parse, OneMegabytePromptAndReuseAfterAnError) {
  BodyParser parser({{1, 2}, 256});
  std::string big = R"({"model":"m","prompt":")" + std::string(1'000'000, 'x') + "\"}";
  const std::string before = big;
  auto p = parser.parse(Api::kCompletions, big, "");
  ASSERT_TRUE(p);
  EXPECT_EQ(big, before);
  EXPECT_EQ(p->info.block_hashes.size(), 1'000'000u / 256);
  std::string bad = "{";
  EXPECT_FALSE(parser.parse(Api::kCompletions, bad, ""));
  std::string small = R"({"model":"m","prompt":"x"})";
  EXPECT_TRUE(parser.parse(Api::kCompletions, small, ""));
}

TEST(Api, PathsAreExact) {
  EXPECT_EQ(routed_api("/v1/chat/completions"), Api::kChat);
  EXPECT_FALSE(routed_api("/v1/chat/completions/"));
  EXPECT_FALSE(routed_api("/v1/models"));
  EXPECT_FALSE(routed_api("/v1/chat/completionsx"));
}

}  // namespace
}  // namespace lodestar::proxy
