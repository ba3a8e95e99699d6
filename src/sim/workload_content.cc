// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_content.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace lodestar::sim {
namespace {

constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15ULL;

// Hashes token after token of a list of spans into blocks.
class BlockHasher {
 public:
  BlockHasher(int block_tokens, std::vector<std::uint64_t>& out)
      : block_(block_tokens),
        chain_(mix64(kOdd + static_cast<std::uint64_t>(block_tokens))),
        out_(out) {}

  void add(TokenSpan span) {
    while (span.tokens > 0) {
      if (filled_ == 0 && span.tokens >= block_) {
        whole_blocks(span);
        continue;
      }
      const std::int64_t taken = std::min(block_ - filled_, span.tokens);
      chain_ =
          hash_combine(chain_, hash_combine(identity(span), static_cast<std::uint64_t>(taken)));
      filled_ += taken;
      span.first += static_cast<std::uint64_t>(taken);
      span.tokens -= taken;
      if (filled_ == block_) {
        out_.push_back(chain_);
        filled_ = 0;
      }
    }
  }

 private:
  static std::uint64_t identity(const TokenSpan& span) {
    return mix64(span.stream + span.first * kOdd);
  }
  void whole_blocks(TokenSpan& span) {
    const auto step = static_cast<std::uint64_t>(block_);
    for (; span.tokens >= block_; span.tokens -= block_, span.first += step) {
      chain_ = hash_combine(chain_, identity(span));
      out_.push_back(chain_);
    }
  }

  std::int64_t block_;
  std::int64_t filled_ = 0;  // tokens of the block in progress
  std::uint64_t chain_;
  std::vector<std::uint64_t>& out_;
};

bool continues(const TokenSpan& a, const TokenSpan& b) {
  return a.stream == b.stream && a.first + static_cast<std::uint64_t>(a.tokens) == b.first;
}

}  // namespace

void append_span(std::vector<TokenSpan>& spans, std::size_t begin, TokenSpan span) {
  if (span.tokens <= 0) return;
  if (spans.size() > begin && continues(spans.back(), span)) {
    spans.back().tokens += span.tokens;
    return;
  }
  spans.push_back(span);
}

std::int64_t total_tokens(TokenSpans content) {
  std::int64_t sum = 0;
  for (const TokenSpan& span : content) sum += span.tokens;
  return sum;
}

std::int64_t common_prefix_tokens(TokenSpans a, TokenSpans b) {
  std::int64_t same = 0;
  // Merged form on both sides: as long as everything before was equal, span
  // borders coincide, so spans can be compared one by one.
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i].stream != b[i].stream || a[i].first != b[i].first) break;
    same += std::min(a[i].tokens, b[i].tokens);
    if (a[i].tokens != b[i].tokens) break;
  }
  return same;
}

void block_hashes(TokenSpans content, TokenSpan tail, int block_tokens,
                  std::vector<std::uint64_t>& out) {
  LODESTAR_CHECK(block_tokens >= 1);
  out.clear();
  out.reserve(static_cast<std::size_t>((total_tokens(content) + tail.tokens) / block_tokens));
  BlockHasher hasher(block_tokens, out);
  if (content.empty()) {
    hasher.add(tail);
    return;
  }
  for (const TokenSpan& span : content.first(content.size() - 1)) hasher.add(span);
  TokenSpan last = content.back();
  if (continues(last, tail)) {  // as append_span would have it
    last.tokens += tail.tokens;
    tail.tokens = 0;
  }
  hasher.add(last);
  hasher.add(tail);
}

std::vector<std::uint64_t> block_hashes(TokenSpans content, int block_tokens) {
  std::vector<std::uint64_t> out;
  block_hashes(content, TokenSpan{}, block_tokens, out);
  return out;
}

}  // namespace lodestar::sim
