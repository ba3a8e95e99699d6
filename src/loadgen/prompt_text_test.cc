// SPDX-License-Identifier: Apache-2.0
#include "loadgen/prompt_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/rng.h"

namespace lodestar::loadgen {
namespace {

using nlohmann::json;
using sim::TokenSpan;

std::string words(std::vector<TokenSpan> spans) {
  std::string text;
  for (const TokenSpan& span : spans) append_words(span, text);
  return text;
}

sim::SimRequest request_of(const std::vector<TokenSpan>& spans) {
  sim::SimRequest r;
  r.content = spans;
  r.prompt_tokens = sim::total_tokens(r.content);
  return r;
}

TEST(PromptText, OneFiveByteWordPerToken) {
  const std::string text = words({{77, 0, 1000}});
  ASSERT_EQ(text.size(), 5000u);
  std::set<std::string> different;
  for (std::size_t i = 0; i < text.size(); i += 5) {
    EXPECT_EQ(text[i], ' ');
    for (std::size_t k = 1; k < 5; ++k) EXPECT_TRUE(text[i + k] >= 'a' && text[i + k] <= 'z');
    different.insert(text.substr(i, 5));
  }
  EXPECT_GT(different.size(), 990u);  // 1,000 draws from 456,976 words
}

TEST(PromptText, SharesExactlyTheWordsOfSharedTokens) {
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t a = rng.next(), b = rng.next(), c = rng.next();
    const auto shared = static_cast<std::int64_t>(1 + rng.below(500));
    const std::vector<TokenSpan> one{{a, 10, shared}, {b, 0, 100}};
    const std::vector<TokenSpan> two{{a, 10, shared}, {c, 0, 100}};
    const std::string x = words(one), y = words(two);
    const auto same = std::mismatch(x.begin(), x.end(), y.begin()).first - x.begin();
    EXPECT_EQ(sim::common_prefix_tokens(one, two), shared);
    EXPECT_EQ(same / 5, shared);  // both go on with a space, so the byte count is above 5 * shared
  }
}

TEST(PromptText, SpansMayBeCutAnywhere) {
  EXPECT_EQ(words({{9, 0, 100}}), words({{9, 0, 33}, {9, 33, 67}}));
}

TEST(PromptText, CompletionBody) {
  const std::vector<TokenSpan> spans{{1, 0, 20}};
  BodyOptions options;
  options.served_model = "name \"quoted\"";
  const json body = json::parse(request_body(request_of(spans), 42, {}, options));
  EXPECT_EQ(body["model"], "name \"quoted\"");
  EXPECT_EQ(body["prompt"], words(spans));
  EXPECT_EQ(body["max_tokens"], 42);
  EXPECT_EQ(body["min_tokens"], 42);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
  options.force_length = false;
  EXPECT_FALSE(
      json::parse(request_body(request_of(spans), 42, {}, options)).contains("min_tokens"));
}

TEST(PromptText, LaterPromptRepeatsTheAnswerThatCame) {
  // Stream 2 is a conversation: a question of 3 tokens, an answer of 3, a question of 2.
  const std::vector<TokenSpan> spans{{1, 0, 4}, {2, 0, 8}};
  const std::string system = words({{1, 0, 4}}), first = words({{2, 0, 3}}),
                    second = words({{2, 6, 2}});
  AnswerMemory answers;
  answers.remember({2, 3, 3}, " real answ ered");
  answers.remember({5, 0, 3}, "of another tokenizer");
  const auto cut = answers.pieces({2, 4, 3});
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(cut[0].answer, " answ ered");
  EXPECT_EQ(cut[1].span, (TokenSpan{2, 6, 1}));
  ASSERT_EQ(answers.pieces({5, 0, 3}).size(), 1u);
  EXPECT_EQ(answers.pieces({5, 0, 3})[0].answer, "");

  BodyOptions options;
  const json plain = json::parse(request_body(request_of(spans), 1, answers, options));
  EXPECT_EQ(plain["prompt"], system + first + " real answ ered" + second);
  options.endpoint = Endpoint::kChat;
  const json chat = json::parse(request_body(request_of(spans), 1, answers, options))["messages"];
  ASSERT_EQ(chat.size(), 3u);
  EXPECT_EQ(chat[0], (json{{"role", "user"}, {"content", system + first}}));
  EXPECT_EQ(chat[1], (json{{"role", "assistant"}, {"content", " real answ ered"}}));
  EXPECT_EQ(chat[2], (json{{"role", "user"}, {"content", second}}));
}

}  // namespace
}  // namespace lodestar::loadgen
