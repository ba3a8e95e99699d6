// SPDX-License-Identifier: Apache-2.0
#include "emulator/token_rule.h"

#include <algorithm>

#include "base/hash.h"
#include "base/rng.h"

namespace lodestar::emulator {
namespace {

constexpr int kLengthShift = 48;
constexpr TokenId kByteMask = (TokenId{1} << kLengthShift) - 1;

// The end of the token that starts at `at`.
std::size_t token_end(std::string_view text, std::size_t at) {
  const std::size_t limit = std::min(text.size(), at + kMaxTokenBytes);
  std::size_t end = at + 1;
  while (end < limit && text[end] != ' ') ++end;
  return end;
}

TokenId text_token(std::string_view bytes) {
  TokenId id = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    id |= static_cast<TokenId>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return id | (static_cast<TokenId>(bytes.size()) << kLengthShift);
}

TokenId role_token(std::string_view role) {
  // Any role is one token; the range keeps clear of the fixed control tokens.
  return kControlBase + 16 + (hash_string(role) & 0xffffffffULL);
}

}  // namespace

void tokenize(std::string_view text, std::vector<TokenId>& out) {
  out.reserve(out.size() + text.size() / 4);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = token_end(text, at);
    out.push_back(text_token(text.substr(at, end - at)));
    at = end;
  }
}

std::int64_t count_tokens(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = 0; at < text.size(); at = token_end(text, at)) ++count;
  return count;
}

void append_token_text(TokenId id, std::string& out) {
  const TokenId length = id >> kLengthShift;
  if (length < 1 || length > kMaxTokenBytes) {
    out += '<';
    out += std::to_string(id);
    out += '>';
    return;
  }
  TokenId bytes = id & kByteMask;
  for (TokenId i = 0; i < length; ++i, bytes >>= 8) out += static_cast<char>(bytes & 0xff);
}

std::string detokenize(const std::vector<TokenId>& ids) {
  std::string text;
  text.reserve(ids.size() * 5);
  for (TokenId id : ids) append_token_text(id, text);
  return text;
}

void append_message(std::string_view role, std::string_view content, std::vector<TokenId>& out) {
  out.push_back(kMessageStart);
  out.push_back(role_token(role));
  out.push_back(kMessageNewline);
  tokenize(content, out);
  out.push_back(kMessageEnd);
}

void append_answer_header(std::vector<TokenId>& out) {
  out.push_back(kMessageStart);
  out.push_back(role_token("assistant"));
  out.push_back(kMessageNewline);
}

TokenId generated_token(std::uint64_t output_seed, std::int64_t index) {
  std::uint64_t bits = hash_combine(output_seed, static_cast<std::uint64_t>(index));
  char word[5] = {' '};
  for (int i = 1; i < 5; ++i, bits /= 26) word[i] = static_cast<char>('a' + bits % 26);
  return text_token(std::string_view(word, sizeof word));
}

BlockChain::BlockChain(std::int64_t block_tokens, std::string_view salt)
    : block_tokens_(block_tokens), state_(hash_string(salt)) {}

void BlockChain::add(TokenId id) {
  state_ = hash_combine(state_, id);
  if (++in_block_ < block_tokens_) return;
  in_block_ = 0;
  blocks_.push_back(state_);
}

std::int64_t natural_output_tokens(std::uint64_t prompt_digest) {
  constexpr double kLnMedian = 4.787491742782046;  // ln 120
  const double draw = Rng(prompt_digest).fork("output-length").lognormal(kLnMedian, 0.9);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(draw + 0.5), 1, 2000);
}

}  // namespace lodestar::emulator
