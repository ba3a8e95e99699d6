// SPDX-License-Identifier: Apache-2.0
#include "config/node.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "base/edit_distance.h"

namespace lodestar::config {
namespace {

std::unexpected<Error> bad(const std::string& origin, int line, std::string_view message) {
  return fail(ErrorCode::kInvalidArgument, line > 0
                                               ? fmt::format("{}:{}: {}", origin, line, message)
                                               : fmt::format("{}: {}", origin, message));
}

// What ends a parse early, with where and why; caught in parse_yaml.
struct Refusal {
  int line;
  std::string message;
};

// Builds the tree from the parser's events. (The YAML library's own loader of
// several documents never ends on a text that begins with a comma.)
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& origin)
      : origin_(std::make_shared<const std::string>(origin)) {}

  Node take() { return std::move(root_); }
  int documents() const { return documents_; }
  int last_document_line() const { return line_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    line_ = mark.line + 1;
    if (++documents_ == 1) root_ = make(Node::Kind::kNull, mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    finish(make(Node::Kind::kNull, mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = make(Node::Kind::kScalar, mark);
    node.scalar = value;
    finish(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refusal{mark.line + 1, "an alias inside its own anchor"};
    count(mark, found->second.size);
    finish(found->second.node, 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    YAML::anchor_t anchor = 0;
    std::size_t count_before = 0;
    bool has_key = false;  // a key waits for its value
  };
  struct Anchored {
    Node node;
    std::size_t size = 0;  // nodes in it
  };

  Node make(Node::Kind kind, const YAML::Mark& mark) {
    count(mark, 1);
    Node node;
    node.kind = kind;
    node.origin = origin_;
    node.line = mark.line + 1;
    return node;
  }
  void count(const YAML::Mark& mark, std::size_t more) {
    count_ += more;
    if (count_ > kMaxYamlNodes)
      throw Refusal{mark.line + 1, fmt::format("more than {} values", kMaxYamlNodes)};
  }
  void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (stack_.size() >= static_cast<std::size_t>(kMaxYamlDepth))
      throw Refusal{mark.line + 1, fmt::format("nested deeper than {} levels", kMaxYamlDepth)};
    const std::size_t before = count_;
    stack_.push_back({make(kind, mark), anchor, before, false});
  }
  void close() {
    Open done = std::move(stack_.back());
    stack_.pop_back();
    const std::size_t size = count_ - done.count_before;
    finish(std::move(done.node), done.anchor, size);
  }
  void finish(Node node, YAML::anchor_t anchor, std::size_t size = 1) {
    if (anchor != 0) anchors_[anchor] = {node, size};
    if (documents_ > 1) return;
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == Node::Kind::kMap && !parent.has_key) {
      add_key(parent, node);
      return;
    }
    parent.node.items.push_back(std::move(node));
    parent.has_key = false;
  }
  void add_key(Open& parent, const Node& key) {
    if (key.kind != Node::Kind::kScalar) throw Refusal{key.line, "a key must be a plain word"};
    if (parent.node.keys.size() >= kMaxYamlKeys)  // also keeps the look-up below cheap
      throw Refusal{key.line, fmt::format("more than {} keys in one mapping", kMaxYamlKeys)};
    if (parent.node.find(key.scalar) != nullptr)
      throw Refusal{key.line, fmt::format("key \"{}\" is given twice", key.scalar)};
    parent.node.keys.push_back(key.scalar);
    parent.node.key_lines.push_back(key.line);
    parent.has_key = true;
  }

  std::shared_ptr<const std::string> origin_;
  Node root_;
  std::vector<Open> stack_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t count_ = 0;
  int documents_ = 0, line_ = 0;
};

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
  TreeBuilder builder(origin);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder) && parser.HandleNextDocument(builder))
      return bad(origin, builder.last_document_line(),
                 "expected one YAML document, but the text goes on after its end");
  } catch (const YAML::Exception& e) {
    return bad(origin, e.mark.line + 1, fmt::format("not valid YAML: {}", e.msg));
  } catch (const Refusal& refusal) {
    return bad(origin, refusal.line, refusal.message);
  }
  return builder.take();
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
  return fail(ErrorCode::kInvalidArgument,
              path.empty() ? fmt::format("{}: {}", node.where(), message)
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
