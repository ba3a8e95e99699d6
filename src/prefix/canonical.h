// SPDX-License-Identifier: Apache-2.0
// The canonical form of a prompt, hashed block by block as it is written.
//
// Two requests with the same meaning for the engine's prompt (same roles, texts,
// tools, images, token ids) give the same stream of bytes whatever their JSON looked
// like; every full block of `block_bytes` of that stream gives one chained hash: equal
// hash = equal stream up to the end of that block. A conversation that grows by a
// message, or a text that grows at its end, keeps all full blocks it had.
//
// Text is UTF-8, where the byte 0xFF cannot occur: it introduces the structure
// marks, so no text can imitate a structure. The namespace (served model, adapter,
// tenant salt) is the start of the chain and counts no bytes. Hashes are keyed: who
// has no key can neither compute nor reverse them.
//
// A value type; not thread-safe. Nothing here can fail.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace lodestar {

inline constexpr std::size_t kDefaultBlockBytes = 256;

// Structure marks. Their values are part of the hash: never renumber.
enum class PromptMark : unsigned char {
  kTools = 't',      // the tools follow, as canonical JSON
  kMessage = 'm',    // a message begins; its role follows
  kContent = 'c',    // the text of its content follows
  kPart = 'p',       // another text part of the same content
  kImage = 'i',      // digest of an image (or audio, file) follows
  kExtra = 'x',      // a further field of the message: name, 'v', canonical JSON
  kValue = 'v',
  kPrompt = 'P',     // one more prompt of a batch
};

class CanonicalHasher {
 public:
  CanonicalHasher(HashKey key, std::size_t block_bytes);

  // Starts a prompt of text. Everything before is forgotten.
  void begin_text(std::string_view served_model, std::string_view adapter,
                  std::string_view tenant_salt);
  // Starts a prompt of token ids; only token() may follow.
  void begin_tokens(std::string_view served_model, std::string_view adapter,
                    std::string_view tenant_salt);

  void text(std::string_view bytes);
  void mark(PromptMark what);
  // A blob that engines do not see as text: its digest stands for it, so that its
  // size does not count as prompt bytes.
  void digest_of(std::string_view blob);
  void token(std::uint32_t id);

  std::int64_t bytes() const { return bytes_; }    // of the stream so far
  std::int64_t tokens() const { return tokens_; }  // of a prompt of token ids
  std::size_t block_bytes() const { return block_bytes_; }
  static constexpr std::size_t kBytesPerToken = 4;  // of a prompt of token ids
  // One per full block.
  const std::vector<std::uint64_t>& hashes() const { return hashes_; }
  std::vector<std::uint64_t> take_hashes() { return std::move(hashes_); }

 private:
  void begin(char mode, std::string_view served_model, std::string_view adapter,
             std::string_view tenant_salt);
  void close_block(std::string_view block);

  HashKey key_;
  std::size_t block_bytes_;
  std::uint64_t chain_ = 0;
  std::string partial_;  // the bytes of the block that is not full yet
  std::int64_t bytes_ = 0;
  std::int64_t tokens_ = 0;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace lodestar
