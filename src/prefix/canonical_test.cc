// SPDX-License-Identifier: Apache-2.0
#include "prefix/canonical.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace lodestar {
namespace {

constexpr HashKey kKey{1, 2};

std::vector<std::uint64_t> hash_text(std::string_view text, std::size_t block = 16,
                                     HashKey key = kKey, std::string_view served_model = "m",
                                     std::string_view adapter = "", std::string_view salt = "") {
  CanonicalHasher h(key, block);
  h.begin_text(served_model, adapter, salt);
  h.text(text);
  return h.take_hashes();
}

TEST(Canonical, OnlyFullBlocksGiveHashes) {
  EXPECT_EQ(hash_text("").size(), 0u);
  EXPECT_EQ(hash_text(std::string(15, 'a')).size(), 0u);
  EXPECT_EQ(hash_text(std::string(16, 'a')).size(), 1u);
  EXPECT_EQ(hash_text(std::string(33, 'a')).size(), 2u);
}

TEST(Canonical, HowTheTextIsCutDoesNotMatter) {
  Rng rng(7);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + rng.below(26));
  const auto whole = hash_text(text);
  for (int round = 0; round < 50; ++round) {
    CanonicalHasher h(kKey, 16);
    h.begin_text("m", "", "");
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t take = std::min<std::size_t>(rng.below(60), text.size() - at);
      h.text(std::string_view(text).substr(at, take));
      at += take;
    }
    ASSERT_EQ(h.hashes(), whole);
    ASSERT_EQ(h.bytes(), 1000);
  }
}

TEST(Canonical, EqualHashMeansEqualPrefix) {
  const std::string base(64, 'a');
  const auto original = hash_text(base);
  for (std::size_t at = 0; at < base.size(); ++at) {
    std::string other = base;
    other[at] = 'b';
    const auto changed = hash_text(other);
    for (std::size_t block = 0; block < original.size(); ++block)
      EXPECT_EQ(changed[block] == original[block], block < at / 16) << at << " " << block;
  }
}

TEST(Canonical, AGrowingTextKeepsItsBlocks) {
  const auto before = hash_text(std::string(40, 'x'));
  const auto after = hash_text(std::string(40, 'x') + "and more of it");
  ASSERT_EQ(before.size(), 2u);
  ASSERT_EQ(after.size(), 3u);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST(Canonical, TheNamespaceAndTheKeySeparate) {
  const std::string text(16, 'a');
  std::set<std::uint64_t> seen;
  seen.insert(hash_text(text)[0]);
  seen.insert(hash_text(text, 16, {1, 3})[0]);
  seen.insert(hash_text(text, 16, kKey, "other")[0]);
  seen.insert(hash_text(text, 16, kKey, "m", "lora")[0]);
  seen.insert(hash_text(text, 16, kKey, "m", "", "lora")[0]);
  seen.insert(hash_text(text, 16, kKey, "ml", "ora")[0]);
  EXPECT_EQ(seen.size(), 6u);
}

TEST(Canonical, MarksAreNotText) {
  CanonicalHasher a(kKey, 16), b(kKey, 16);
  a.begin_text("m", "", "");
  a.mark(PromptMark::kMessage);
  a.text("user and more of the text");
  b.begin_text("m", "", "");
  b.text("muser and more of the text.");
  EXPECT_NE(a.hashes(), b.hashes());
}

TEST(Canonical, TokenIdsOfEqualNumberDiffer) {
  const auto tokens = [](std::uint32_t first) {
    CanonicalHasher h(kKey, 16);
    h.begin_tokens("m", "", "");
    for (std::uint32_t i = 0; i < 9; ++i) h.token(first + i);
    EXPECT_EQ(h.tokens(), 9);
    return h.take_hashes();
  };
  EXPECT_EQ(tokens(5), tokens(5));
  EXPECT_EQ(tokens(5).size(), 2u);  // 4 tokens per block of 16 bytes
  EXPECT_NE(tokens(5)[0], tokens(6)[0]);
}

TEST(Canonical, TokensAndTextLiveApart) {
  CanonicalHasher h(kKey, 16);
  h.begin_tokens("m", "", "");
  for (int i = 0; i < 4; ++i) h.token(0x61616161);
  EXPECT_NE(h.hashes(), hash_text(std::string(16, 'a')));
}

TEST(Canonical, ADigestStandsForABlob) {
  CanonicalHasher h(kKey, 16);
  h.begin_text("m", "", "");
  h.digest_of(std::string(1'000'000, 'x'));
  EXPECT_EQ(h.bytes(), 32);
  EXPECT_EQ(h.hashes().size(), 2u);
}

}  // namespace
}  // namespace lodestar
