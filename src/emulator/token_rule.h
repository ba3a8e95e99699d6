// SPDX-License-Identifier: Apache-2.0
// The emulated engine's tokenizer. There is no vocabulary: a token is a run of
// bytes, and its id spells those bytes.
//
//   A token starts at the start of a text, at every space (0x20), and after
//   kMaxTokenBytes bytes; it runs until the next token starts.
//
// "The quick brown fox" is "The", " quick", " brown", " fox". English comes out at
// about 1.3 tokens per word, as with the usual byte-pair vocabularies. What follows
// from the rule, and what clients build on:
// - a text of words " abcd" (one space and 1 to 5 bytes that are no space) has
//   exactly as many tokens as words;
// - if B starts with a space, tokens(A + B) = tokens(A) + tokens(B) for every A;
// - texts that share their first n bytes share every token that ends before byte n;
// - generated tokens are words " abcd", so a prompt that repeats an earlier answer
//   has the tokens which the engine generated, and hits their blocks.
//
// A chat prompt is, per message, the control tokens <start> <role> <newline>, the
// tokens of the content (a text of its own), and <end>; then the header of the
// answer, <start> <assistant> <newline>. So a chat prompt has
// sum(tokens(content)) + 4 * messages + 3 tokens.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lodestar::emulator {

// Text tokens: length in bits 48..50 (1..6), bytes below, first byte lowest. Ids
// below 2^48 and from 7 * 2^48 on are control tokens and what clients send as
// numbers. All ids fit a JSON number exactly (< 2^53).
using TokenId = std::uint64_t;

inline constexpr std::size_t kMaxTokenBytes = 6;
inline constexpr std::int64_t kTokensPerMessage = 4;
inline constexpr std::int64_t kTokensOfAnswerHeader = 3;
inline constexpr TokenId kMaxTokenId = (TokenId{1} << 53) - 1;
inline constexpr TokenId kControlBase = TokenId{7} << 48;
inline constexpr TokenId kMessageStart = kControlBase + 1;
inline constexpr TokenId kMessageNewline = kControlBase + 2;
inline constexpr TokenId kMessageEnd = kControlBase + 3;

// Appends the tokens of a text.
void tokenize(std::string_view text, std::vector<TokenId>& out);
std::int64_t count_tokens(std::string_view text);
// Appends what the token spells: its bytes, or "<id>" where it spells none.
void append_token_text(TokenId id, std::string& out);
std::string detokenize(const std::vector<TokenId>& ids);

// One message of a chat prompt, and the header of the answer after the last one.
void append_message(std::string_view role, std::string_view content, std::vector<TokenId>& out);
void append_answer_header(std::vector<TokenId>& out);

// Generated token i (from 0) of an answer: a word of a space and four letters.
TokenId generated_token(std::uint64_t output_seed, std::int64_t index);

// Chained identity of token sequences: equal blocks mean equal tokens from the
// start (but for 64-bit collisions). `salt` separates caches (cache_salt).
class BlockChain {
 public:
  BlockChain(std::int64_t block_tokens, std::string_view salt);
  void add(TokenId id);
  // One value per full block so far.
  std::vector<std::uint64_t>& blocks() { return blocks_; }
  // The identity of all tokens so far, a started block included.
  std::uint64_t digest() const { return state_; }

 private:
  std::int64_t block_tokens_;
  std::int64_t in_block_ = 0;
  std::uint64_t state_;
  std::vector<std::uint64_t> blocks_;
};

// How long an answer is when the client forces no length: a draw that depends on
// the prompt alone, lognormal with median 120 and sigma 0.9 (mean about 180),
// within 1..2000.
std::int64_t natural_output_tokens(std::uint64_t prompt_digest);

}  // namespace lodestar::emulator
