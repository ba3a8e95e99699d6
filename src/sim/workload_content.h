// SPDX-License-Identifier: Apache-2.0
// What a prompt is made of, without any text: a list of token spans. Token k of a
// span has the identity (stream, first + k); two tokens are the same token exactly
// when their identities are equal. A trace's block id b of u tokens is the span
// (trace, b*u, u), so neighbouring ids merge into one span, and an engine's
// 16-token blocks, a router's blocks of any size and a load generator's text all
// come from the same list, each computed when it is needed.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace lodestar::sim {

struct TokenSpan {
  std::uint64_t stream = 0;  // already well mixed: a hash, not a small number
  std::uint64_t first = 0;
  std::int64_t tokens = 0;
  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

using TokenSpans = std::span<const TokenSpan>;

// Appends to spans[begin..]; a span that continues the last one is merged into it.
// Every list must be built with this: block_hashes relies on the merged form.
void append_span(std::vector<TokenSpan>& spans, std::size_t begin, TokenSpan span);

std::int64_t total_tokens(TokenSpans content);

// Leading tokens that two prompts share.
std::int64_t common_prefix_tokens(TokenSpans a, TokenSpans b);

// One 64-bit hash per FULL block of `block_tokens` tokens of `content` followed by
// `tail` (pass the output span to get the blocks that generation will complete;
// empty otherwise), chained: the i-th values of two prompts are equal exactly when
// their first (i+1)*block_tokens tokens are (but for 64-bit collisions). Values of
// different block sizes are unrelated. block_tokens >= 1. `out` is replaced.
void block_hashes(TokenSpans content, TokenSpan tail, int block_tokens,
                  std::vector<std::uint64_t>& out);
std::vector<std::uint64_t> block_hashes(TokenSpans content, int block_tokens);

}  // namespace lodestar::sim
