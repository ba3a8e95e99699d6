// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_content.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"

namespace lodestar::sim {
namespace {

using Spans = std::vector<TokenSpan>;

Spans build(std::initializer_list<TokenSpan> parts) {
  Spans out;
  for (const TokenSpan& part : parts) append_span(out, 0, part);
  return out;
}

// The identity of each token, one by one: the definition that the hashes must agree with.
std::vector<std::pair<std::uint64_t, std::uint64_t>> tokens_of(TokenSpans content) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> out;
  for (const TokenSpan& s : content)
    for (std::int64_t k = 0; k < s.tokens; ++k)
      out.emplace_back(s.stream, s.first + static_cast<std::uint64_t>(k));
  return out;
}

// Few streams and short spans, so that prompts meet and part again.
Spans random_prompt(Rng& rng) {
  Spans out;
  const std::int64_t parts = rng.between(0, 6);
  std::uint64_t next = 0;
  for (std::int64_t i = 0; i < parts; ++i) {
    const std::uint64_t stream = 1000 + rng.below(2);
    const std::uint64_t first = rng.below(3) == 0 ? next : rng.below(2) * 8;
    const std::int64_t n = rng.between(1, 20);
    append_span(out, 0, {stream, first, n});
    next = first + static_cast<std::uint64_t>(n);
  }
  return out;
}

std::size_t equal_prefix(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b) {
  const auto [i, j] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(i - a.begin());
}

TEST(Content, NeighbouringSpansMerge) {
  EXPECT_EQ(build({{7, 0, 512}, {7, 512, 512}, {7, 2048, 512}, {8, 2560, 1}}),
            (Spans{{7, 0, 1024}, {7, 2048, 512}, {8, 2560, 1}}));
  EXPECT_TRUE(build({{7, 0, 0}}).empty());
}

TEST(Content, MergingStaysInsideTheRequest) {
  Spans spans{{7, 0, 10}};
  append_span(spans, 1, {7, 10, 5});  // another request begins at 1
  EXPECT_EQ(spans.size(), 2u);
}

TEST(Content, OnlyFullBlocksAreHashed) {
  const Spans prompt = build({{7, 0, 47}});
  EXPECT_EQ(block_hashes(prompt, 16).size(), 2u);
  EXPECT_EQ(block_hashes(prompt, 47).size(), 1u);
  EXPECT_EQ(block_hashes(prompt, 48).size(), 0u);
  EXPECT_TRUE(block_hashes(Spans{}, 16).empty());
}

TEST(Content, TraceIdsOf100TokensStraddleBlocks) {
  // ids 5, 6, 9 replayed as 100 tokens each; a second prompt shares ids 5 and 6.
  const Spans a = build({{7, 500, 100}, {7, 600, 100}, {7, 900, 100}});
  const Spans b = build({{7, 500, 100}, {7, 600, 100}, {7, 1200, 100}});
  EXPECT_EQ(common_prefix_tokens(a, b), 200);
  EXPECT_EQ(equal_prefix(block_hashes(a, 16), block_hashes(b, 16)), 12u);  // 192 of 200 tokens
  EXPECT_EQ(equal_prefix(block_hashes(a, 512), block_hashes(b, 512)), 0u);
}

TEST(Content, TheSameTokensElsewhereAreAnotherPrefix) {
  const Spans a = build({{7, 0, 32}, {8, 0, 32}});
  const Spans b = build({{9, 0, 32}, {8, 0, 32}});
  const auto ha = block_hashes(a, 16), hb = block_hashes(b, 16);
  for (std::uint64_t x : ha) EXPECT_EQ(std::count(hb.begin(), hb.end(), x), 0);
}

TEST(Content, TailContinuesThePrompt) {
  const Spans prompt = build({{7, 0, 40}});
  std::vector<std::uint64_t> with_output;
  block_hashes(prompt, {7, 40, 24}, 16, with_output);
  // The next turn's prompt holds question and answer in one span.
  EXPECT_EQ(with_output, block_hashes(build({{7, 0, 64}}), 16));
  block_hashes(prompt, {9, 0, 24}, 16, with_output);
  EXPECT_EQ(with_output, block_hashes(build({{7, 0, 40}, {9, 0, 24}}), 16));
}

RC_GTEST_PROP(ContentProperty, EqualHashMeansEqualPrefixAtEveryBlockSize, (std::uint64_t seed)) {
  Rng rng(seed);
  const Spans a = random_prompt(rng), b = random_prompt(rng);
  const auto ta = tokens_of(a), tb = tokens_of(b);
  const auto [i, j] = std::mismatch(ta.begin(), ta.end(), tb.begin(), tb.end());
  const auto same = static_cast<std::int64_t>(i - ta.begin());
  RC_ASSERT(common_prefix_tokens(a, b) == same);
  for (int block : {1, 2, 3, 7, 16, 64}) {
    const auto ha = block_hashes(a, block), hb = block_hashes(b, block);
    RC_ASSERT(ha.size() == ta.size() / static_cast<std::size_t>(block));
    RC_ASSERT(equal_prefix(ha, hb) == static_cast<std::size_t>(same / block));
    // Chained: after the first difference nothing is equal again.
    for (std::size_t k = equal_prefix(ha, hb); k < std::min(ha.size(), hb.size()); ++k)
      RC_ASSERT(ha[k] != hb[k]);
  }
}

TEST(Content, NoCollisionsAmongManyBlocks) {
  std::set<std::uint64_t> seen;
  std::size_t total = 0;
  for (std::uint64_t stream = 1; stream <= 50; ++stream)
    for (std::uint64_t x : block_hashes(build({{stream * 0x9e3779b97f4a7c15ULL, 0, 16000}}), 16)) {
      seen.insert(x);
      ++total;
    }
  EXPECT_EQ(seen.size(), total);
}

}  // namespace
}  // namespace lodestar::sim
