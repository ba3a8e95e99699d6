// SPDX-License-Identifier: Apache-2.0
#include "emulator/api_request.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace lodestar::emulator {
namespace {

ApiError error_of(std::string_view body, bool chat = false) {
  auto parsed = chat ? parse_chat_completion(body) : parse_completion(body);
  EXPECT_FALSE(parsed.has_value()) << body;
  return parsed ? ApiError{} : parsed.error();
}

TEST(ApiRequest, CompletionWithEveryField) {
  auto r = parse_completion(
      R"({"model":"m","prompt":"one two three","max_tokens":7,"min_tokens":3,"ignore_eos":true,
          "stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},
          "stop":["x"," y"],"cache_salt":"s","request_id":"r","echo":true,"temperature":0,
          "top_p":1,"n":1,"presence_penalty":-1.5,"logprobs":null,"unknown_field":{"a":[1]}})");
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->served_model, "m");
  EXPECT_EQ(detokenize(r->prompt), "one two three");
  EXPECT_EQ(r->prompt.size(), 3u);
  EXPECT_EQ(r->max_tokens, 7);
  EXPECT_EQ(r->min_tokens, 3);
  EXPECT_TRUE(r->ignore_eos && r->stream && r->include_usage && r->continuous_usage_stats);
  EXPECT_TRUE(r->echo);
  EXPECT_EQ(r->stop, (std::vector<std::string>{"x", " y"}));
  EXPECT_EQ(r->cache_salt, "s");
  EXPECT_EQ(r->request_id, "r");
  EXPECT_FALSE(r->chat);
}

TEST(ApiRequest, TokenIdsCountExactly) {
  auto r = parse_completion(R"({"prompt":[1,2,3,9007199254740991]})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->prompt, (std::vector<TokenId>{1, 2, 3, 9007199254740991u}));
  auto nested = parse_completion(R"({"prompt":[[5,6]]})");
  ASSERT_TRUE(nested);
  EXPECT_EQ(nested->prompt, (std::vector<TokenId>{5, 6}));
  EXPECT_EQ(error_of(R"({"prompt":[1,-2]})").status, 400);
  EXPECT_EQ(error_of(R"({"prompt":[1,"a"]})").status, 400);
  EXPECT_EQ(error_of(R"({"prompt":[1,9007199254740992]})").status, 400);
}

TEST(ApiRequest, EscapesAreTextNotBytes) {
  auto plain = parse_completion(R"({"prompt":"caf\u00e9 \"x\""})");
  auto raw = parse_completion("{\"prompt\":\"caf\xc3\xa9 \\\"x\\\"\"}");
  ASSERT_TRUE(plain && raw);
  EXPECT_EQ(plain->prompt, raw->prompt);
}

TEST(ApiRequest, ChatContentFormsAreTheSamePrompt) {
  auto text = parse_chat_completion(R"({"messages":[{"role":"user","content":"hi there"}]})");
  auto parts = parse_chat_completion(
      R"({"messages":[{"content":[{"type":"text","text":"hi"},{"text":" there","type":"text"}],
          "role":"user"}],"max_completion_tokens":9,"max_tokens":3})");
  ASSERT_TRUE(text && parts);
  EXPECT_EQ(text->prompt, parts->prompt);
  EXPECT_EQ(static_cast<std::int64_t>(text->prompt.size()),
            2 + kTokensPerMessage + kTokensOfAnswerHeader);
  EXPECT_EQ(parts->max_tokens, 9);  // the newer name wins
  auto null = parse_chat_completion(
      R"({"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]})");
  ASSERT_TRUE(null);
  EXPECT_GT(null->prompt.size(), 7u);  // the calls are part of the prompt
}

TEST(ApiRequest, ToolsAreInThePrompt) {
  const std::string with = R"({"tools":[{"type":"function","function":{"name":"f"}}],)";
  auto a = parse_chat_completion(with + R"("messages":[{"role":"user","content":"x"}]})");
  auto b = parse_chat_completion(R"({"messages":[{"role":"user","content":"x"}]})");
  ASSERT_TRUE(a && b);
  EXPECT_GT(a->prompt.size(), b->prompt.size() + 4);
}

struct Bad {
  const char* body;
  bool chat;
  const char* type;
  const char* param;
  const char* part_of_message;
};

class BadRequests : public testing::TestWithParam<Bad> {};

TEST_P(BadRequests, SayWhatIsWrong) {
  const ApiError error = error_of(GetParam().body, GetParam().chat);
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.type, GetParam().type);
  EXPECT_EQ(error.param, GetParam().param);
  EXPECT_NE(error.message.find(GetParam().part_of_message), std::string::npos) << error.message;
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRequests,
    testing::Values(
        Bad{"", false, "Bad Request", "", "JSON decode error"},
        Bad{"{\"prompt\":\"x\"", false, "Bad Request", "", "JSON decode error"},
        Bad{"[]", false, "Bad Request", "", "valid dictionary"},
        Bad{"{}", false, "BadRequestError", "prompt", "non-empty"},
        Bad{"{}", true, "Bad Request", "messages", "Field required"},
        Bad{R"({"prompt":""})", false, "BadRequestError", "prompt", "empty"},
        Bad{R"({"prompt":[]})", false, "BadRequestError", "prompt", "non-empty"},
        Bad{R"({"prompt":["a","b"]})", false, "BadRequestError", "prompt", "one prompt"},
        Bad{R"({"prompt":{"a":1}})", false, "Bad Request", "prompt", "string or a list"},
        Bad{R"({"prompt":"x","max_tokens":0})", false, "BadRequestError", "max_tokens",
            "at least 1, got 0"},
        Bad{R"({"prompt":"x","max_tokens":"7"})", false, "Bad Request", "max_tokens", "integer"},
        Bad{R"({"prompt":"x","max_tokens":1.5})", false, "Bad Request", "max_tokens", "integer"},
        Bad{R"({"prompt":"x","max_tokens":2,"min_tokens":3})", false, "BadRequestError",
            "min_tokens", "max_tokens=2, got 3"},
        Bad{R"({"prompt":"x","n":2})", false, "BadRequestError", "n", "n=1"},
        Bad{R"({"prompt":"x","n":0})", false, "BadRequestError", "n", "at least 1"},
        Bad{R"({"prompt":"x","temperature":-1})", false, "BadRequestError", "temperature",
            "non-negative"},
        Bad{R"({"prompt":"x","top_p":1.5})", false, "BadRequestError", "top_p", "(0, 1]"},
        Bad{R"({"prompt":"x","logprobs":5})", false, "BadRequestError", "logprobs", "log prob"},
        Bad{R"({"prompt":"x","stream":"yes"})", false, "Bad Request", "stream", "true or false"},
        Bad{R"({"prompt":"x","stream_options":{"include_usage":true}})", false, "BadRequestError",
            "stream_options", "stream=True"},
        Bad{R"({"prompt":"x","stop":[""]})", false, "BadRequestError", "stop", "empty string"},
        Bad{R"({"prompt":"x","stop":7})", false, "Bad Request", "stop", "string"},
        Bad{R"({"model":7,"prompt":"x"})", false, "Bad Request", "model", "string"},
        Bad{R"({"messages":[]})", true, "BadRequestError", "messages", "at least one"},
        Bad{R"({"messages":[{"content":"x"}]})", true, "Bad Request", "messages", "role"},
        Bad{R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", true,
            "BadRequestError", "messages", "image_url"},
        Bad{R"({"messages":"x"})", true, "Bad Request", "messages", "list"}));

TEST(ApiRequest, TokenizeAndDetokenizeRoundTrip) {
  auto tokens = parse_tokenize(R"({"prompt":"Hello world"})");
  ASSERT_TRUE(tokens);
  std::string body = "{\"tokens\":[";
  for (TokenId id : tokens->tokens) body += std::to_string(id) + ",";
  body.back() = ']';
  auto back = parse_detokenize(body + "}");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(detokenize(back->tokens), "Hello world");
  EXPECT_FALSE(parse_detokenize("{}"));
  EXPECT_FALSE(parse_tokenize("{}"));
}

// Nothing that a client sends may do more than give an error.
TEST(ApiRequest, MutatedBodiesNeverCrash) {
  const std::string seed =
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"a\ud83d\ude00b"}]}],
          "stop":["a"],"stream":true,"stream_options":{"include_usage":true},"max_tokens":5})";
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) {
    std::string body = seed;
    for (std::uint64_t k = 0, n = 1 + rng.below(4); k < n; ++k) {
      const std::size_t at = rng.below(body.size());
      switch (rng.below(3)) {
        case 0:
          body[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          body.erase(at, 1 + rng.below(8));
          break;
        default:
          body.insert(at, body.substr(rng.below(body.size()), rng.below(12)));
      }
      if (body.empty()) break;
    }
    for (bool chat : {false, true}) {
      auto parsed = chat ? parse_chat_completion(body) : parse_completion(body);
      EXPECT_TRUE(parsed || !parsed.error().message.empty());
    }
  }
}

}  // namespace
}  // namespace lodestar::emulator
