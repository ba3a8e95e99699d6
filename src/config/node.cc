// SPDX-License-Identifier: Apache-2.0
#include "config/node.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>

namespace lodestar::config {
namespace {

std::unexpected<Error> bad(const std::string& origin, int line, std::string_view message) {
  return fail(ErrorCode::kInvalidArgument,
              line > 0 ? fmt::format("{}:{}: {}", origin, line, message)
                       : fmt::format("{}: {}", origin, message));
}

class Converter {
 public:
  explicit Converter(std::string origin)
      : origin_(std::make_shared<const std::string>(std::move(origin))) {}

  Result<Node> convert(const YAML::Node& from, int depth) {
    Node node;
    node.origin = origin_;
    node.line = from.Mark().line + 1;
    if (depth > kMaxYamlDepth)
      return bad(*origin_, node.line, fmt::format("nested deeper than {} levels", kMaxYamlDepth));
    if (++nodes_ > kMaxYamlNodes)
      return bad(*origin_, node.line, fmt::format("more than {} values", kMaxYamlNodes));
    switch (from.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return node;
      case YAML::NodeType::Scalar:
        node.kind = Node::Kind::kScalar;
        node.scalar = from.Scalar();
        return node;
      case YAML::NodeType::Sequence:
        return list(from, depth, std::move(node));
      case YAML::NodeType::Map:
        return map(from, depth, std::move(node));
    }
    return node;
  }

 private:
  Result<Node> list(const YAML::Node& from, int depth, Node node) {
    node.kind = Node::Kind::kList;
    for (const YAML::Node& child : from) {
      auto item = convert(child, depth + 1);
      if (!item) return item;
      node.items.push_back(std::move(*item));
    }
    return node;
  }

  Result<Node> map(const YAML::Node& from, int depth, Node node) {
    node.kind = Node::Kind::kMap;
    for (const auto& entry : from) {
      const int line = entry.first.Mark().line + 1;
      if (!entry.first.IsScalar()) return bad(*origin_, line, "a key must be a plain word");
      const std::string& key = entry.first.Scalar();
      if (node.keys.size() >= kMaxYamlKeys)  // also keeps the look-up below cheap
        return bad(*origin_, line, fmt::format("more than {} keys in one mapping", kMaxYamlKeys));
      if (node.find(key) != nullptr)
        return bad(*origin_, line, fmt::format("key \"{}\" is given twice", key));
      auto item = convert(entry.second, depth + 1);
      if (!item) return item;
      node.keys.push_back(key);
      node.key_lines.push_back(line);
      node.items.push_back(std::move(*item));
    }
    return node;
  }

  std::shared_ptr<const std::string> origin_;
  std::size_t nodes_ = 0;
};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return &items[i];
  return nullptr;
}

std::string Node::where() const { return fmt::format("{}:{}", origin ? *origin : "?", line); }

std::string Node::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return scalar.size() <= 60 ? fmt::format("\"{}\"", scalar)
                                 : fmt::format("\"{}...\"", scalar.substr(0, 57));
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a mapping";
  }
  return "?";
}

Result<Node> parse_yaml(const std::string& text, const std::string& origin) {
  if (text.size() > kMaxYamlBytes)
    return bad(origin, 0, fmt::format("larger than {} bytes", kMaxYamlBytes));
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1)
      return bad(origin, documents[1].Mark().line + 1, "expected one YAML document, got several");
    return Converter(origin).convert(documents.empty() ? YAML::Node() : documents[0], 0);
  } catch (const YAML::Exception& e) {
    return bad(origin, e.mark.line + 1, fmt::format("not valid YAML: {}", e.msg));
  }
}

Result<std::string> read_yaml_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxYamlBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof()))  // a directory opens, but cannot be read
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: cannot be read; check the path and its permissions", path));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kMaxYamlBytes)
    return bad(path, 0, fmt::format("larger than {} bytes", kMaxYamlBytes));
  return text;
}

std::unexpected<Error> fail_at(const Node& node, std::string_view path, std::string_view message) {
  return fail(ErrorCode::kInvalidArgument, path.empty()
                                               ? fmt::format("{}: {}", node.where(), message)
                                               : fmt::format("{}: {}: {}", node.where(), path, message));
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 100) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace lodestar::config
