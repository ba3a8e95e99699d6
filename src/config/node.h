// SPDX-License-Identifier: Apache-2.0
// Node: a YAML document as a plain value tree that remembers where each part
// stood, so that every later complaint can name file and line. The YAML library
// stays behind parse_yaml.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lodestar::config {

struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string scalar;             // kScalar: the text without quotes
  std::vector<std::string> keys;  // kMap: in file order, unique, parallel to items
  std::vector<int> key_lines;     // kMap: parallel to keys
  std::vector<Node> items;        // kList, kMap
  int line = 0;                   // 1-based
  std::shared_ptr<const std::string> origin;  // file name, or what stands for one

  const Node* find(std::string_view key) const;  // kMap: the value, or nullptr
  std::string where() const;                     // "file:line"
  std::string describe() const;                  // what it is, for "expected X, got Y"
};

// Limits on a document; over them it is refused (aliases count as often as they
// are used, so a small text cannot expand without bound).
inline constexpr std::size_t kMaxYamlBytes = 8u << 20;
inline constexpr std::size_t kMaxYamlNodes = 200'000;
inline constexpr std::size_t kMaxYamlKeys = 1000;  // in one mapping
inline constexpr int kMaxYamlDepth = 64;

// One document. Errors: not YAML, more than one document, a key that is not a
// scalar, a repeated key, over a limit. An empty text is a kNull node.
Result<Node> parse_yaml(const std::string& text, const std::string& origin);
// The text of a file. Errors: cannot be read, larger than kMaxYamlBytes.
Result<std::string> read_yaml_text(const std::string& path);

// "file:line: path: message" as an error about the node.
std::unexpected<Error> fail_at(const Node& node, std::string_view path, std::string_view message);

// The candidate closest to `word` by edit distance, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace lodestar::config
