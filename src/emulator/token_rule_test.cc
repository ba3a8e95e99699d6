// SPDX-License-Identifier: Apache-2.0
#include "emulator/token_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"

namespace lodestar::emulator {
namespace {

using testing::ElementsAre;

std::vector<std::string> pieces(std::string_view text) {
  std::vector<TokenId> ids;
  tokenize(text, ids);
  std::vector<std::string> out;
  for (TokenId id : ids) append_token_text(id, out.emplace_back());
  return out;
}

std::vector<TokenId> ids_of(std::string_view text) {
  std::vector<TokenId> ids;
  tokenize(text, ids);
  return ids;
}

std::string random_text(Rng& rng, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i)
    text += rng.below(4) == 0 ? ' ' : static_cast<char>(rng.below(256));
  return text;
}

TEST(TokenRule, CutsAtSpacesAndAfterSixBytes) {
  EXPECT_THAT(pieces("The quick brown fox"), ElementsAre("The", " quick", " brown", " fox"));
  EXPECT_THAT(pieces("internationally so"), ElementsAre("intern", "ationa", "lly", " so"));
  EXPECT_THAT(pieces("  a"), ElementsAre(" ", " a"));
  EXPECT_THAT(pieces(""), ElementsAre());
  EXPECT_THAT(pieces(std::string_view("\0\xff", 2)), ElementsAre(std::string("\0\xff", 2)));
}

TEST(TokenRule, AnyTextRoundTripsAndCounts) {
  Rng rng(7);
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_text(rng, rng.below(200));
    const std::vector<TokenId> ids = ids_of(text);
    EXPECT_EQ(detokenize(ids), text);
    EXPECT_EQ(count_tokens(text), static_cast<std::int64_t>(ids.size()));
    for (TokenId id : ids) EXPECT_LE(id, kMaxTokenId);
  }
}

TEST(TokenRule, TextThatStartsWithASpaceAddsUp) {
  Rng rng(8);
  for (int i = 0; i < 500; ++i) {
    const std::string a = random_text(rng, rng.below(60));
    const std::string b = " " + random_text(rng, rng.below(60));
    std::vector<TokenId> expected = ids_of(a);
    tokenize(b, expected);
    EXPECT_EQ(ids_of(a + b), expected);
  }
}

TEST(TokenRule, SharedBytesGiveSharedTokens) {
  Rng rng(9);
  for (int i = 0; i < 300; ++i) {
    const std::string shared = random_text(rng, 1 + rng.below(100));
    const std::vector<TokenId> alone = ids_of(shared);
    const std::vector<TokenId> longer = ids_of(shared + random_text(rng, 30));
    // Only the last token of the shared part may go on into what follows.
    ASSERT_GE(longer.size(), alone.size() - 1);
    for (std::size_t k = 0; k + 1 < alone.size(); ++k) EXPECT_EQ(longer[k], alone[k]);
  }
}

TEST(TokenRule, GeneratedTokensAreWordsThatTokenizeToThemselves) {
  std::vector<TokenId> generated;
  for (int i = 0; i < 1000; ++i) generated.push_back(generated_token(42, i));
  const std::string text = detokenize(generated);
  EXPECT_EQ(text.size(), 5000u);
  EXPECT_EQ(ids_of(text), generated);
  // Also right after a prompt that ends within a token.
  std::vector<TokenId> both = ids_of("ab");
  both.insert(both.end(), generated.begin(), generated.end());
  EXPECT_EQ(ids_of("ab" + text), both);
  EXPECT_NE(generated_token(42, 0), generated_token(43, 0));
}

TEST(TokenRule, ChatTemplateCostsFourPerMessageAndThree) {
  std::vector<TokenId> ids;
  append_message("system", "Be brief.", ids);
  append_message("user", "Why is the sky blue?", ids);
  append_answer_header(ids);
  EXPECT_EQ(static_cast<std::int64_t>(ids.size()),
            count_tokens("Be brief.") + count_tokens("Why is the sky blue?") +
                2 * kTokensPerMessage + kTokensOfAnswerHeader);
}

TEST(TokenRule, SecondTurnStartsWithTheFirstTurnAndItsAnswer) {
  std::vector<TokenId> first;
  append_message("user", "hello there", first);
  append_answer_header(first);
  std::string answer;
  for (int i = 0; i < 50; ++i) {
    const TokenId token = generated_token(5, i);
    append_token_text(token, answer);
    first.push_back(token);
  }
  std::vector<TokenId> second;
  append_message("user", "hello there", second);
  append_message("assistant", answer, second);
  append_message("user", "go on", second);
  append_answer_header(second);
  ASSERT_GT(second.size(), first.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), second.begin()));
}

TEST(BlockChain, BlocksAgreeExactlyAsFarAsTokensDo) {
  BlockChain a(16, ""), b(16, ""), salted(16, "tenant");
  for (TokenId t = 0; t < 100; ++t) {
    a.add(t);
    b.add(t == 40 ? 1'000'000 : t);
    salted.add(t);
  }
  ASSERT_EQ(a.blocks().size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(a.blocks()[i] == b.blocks()[i], i < 2) << i;
    EXPECT_NE(a.blocks()[i], salted.blocks()[i]);
  }
  EXPECT_NE(a.digest(), b.digest());
}

TEST(NaturalLength, StaysInBoundsWithItsMedian) {
  int below = 0;
  for (std::uint64_t s = 0; s < 4000; ++s) {
    const std::int64_t tokens = natural_output_tokens(s);
    ASSERT_GE(tokens, 1);
    ASSERT_LE(tokens, 2000);
    below += tokens < 120;
  }
  EXPECT_NEAR(below, 2000, 150);
  EXPECT_EQ(natural_output_tokens(77), natural_output_tokens(77));
}

}  // namespace
}  // namespace lodestar::emulator
