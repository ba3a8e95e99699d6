// SPDX-License-Identifier: Apache-2.0
#include "proxy/json_edit.h"

#include <algorithm>

namespace lodestar::proxy {
namespace {

std::unexpected<Error> bad(const char* what) {
  return fail(ErrorCode::kInvalidArgument, what, ErrorSource::kDownstream);
}

// Walks over JSON text without judging it.
class Walker {
 public:
  explicit Walker(std::string_view text) : text_(text) {}
  std::size_t at() const { return at_; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  // At a quote; ends behind the closing one.
  bool skip_string() {
    if (!take('"')) return false;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }
  // Strings are skipped as a whole, so only brackets outside of them count.
  bool skip_value() {
    std::size_t depth = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) return false;
        if (depth == 0) return true;
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c))) break;
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return depth == 0 && at_ > begin;
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  std::string_view text_;
  std::size_t at_ = 0;
};

// Is the raw text of a key the plain ASCII `name`? Resolves \uXXXX and the short escapes.
bool same_key(std::string_view raw, std::string_view name) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < raw.size(); ++n) {
    unsigned c = static_cast<unsigned char>(raw[i++]);
    if (c == '\\' && i < raw.size()) {
      c = static_cast<unsigned char>(raw[i++]);
      if (c == 'u') {
        c = 0;
        for (int k = 0; k < 4 && i < raw.size(); ++k) {
          const char d = raw[i++];
          const int digit = d >= '0' && d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10;
          c = c * 16 + static_cast<unsigned>(digit);
        }
      } else if (c == 'n' || c == 't' || c == 'r' || c == 'b' || c == 'f') {
        return false;  // no name that we edit holds a control character
      }
    }
    if (n >= name.size() || c != static_cast<unsigned char>(name[n])) return false;
  }
  return n == name.size();
}

}  // namespace

Result<std::vector<JsonField>> top_level_fields(std::string_view object) {
  Walker w(object);
  w.skip_space();
  if (!w.take('{')) return bad("not a JSON object");
  std::vector<JsonField> fields;
  w.skip_space();
  if (w.take('}')) return fields;
  while (true) {
    JsonField field;
    w.skip_space();
    field.begin = w.at();
    if (!w.skip_string()) return bad("a JSON object's key is not a string");
    field.key = object.substr(field.begin + 1, w.at() - field.begin - 2);
    field.escaped_key = field.key.find('\\') != std::string_view::npos;
    w.skip_space();
    if (!w.take(':')) return bad("a JSON object's key has no value");
    w.skip_space();
    const std::size_t value = w.at();
    if (!w.skip_value()) return bad("a JSON value does not end");
    field.end = w.at();
    field.value = object.substr(value, field.end - value);
    fields.push_back(field);
    w.skip_space();
    if (w.take('}')) return fields;
    if (!w.take(',')) return bad("a JSON object does not end");
  }
}

Result<std::string> edit_json(std::string_view object, const std::vector<JsonEdit>& edits) {
  auto fields = top_level_fields(object);
  if (!fields) return std::unexpected(fields.error());
  std::vector<bool> done(edits.size(), false);
  std::string out = "{";
  const auto separate = [&] {
    if (out.size() > 1) out += ',';
  };
  for (const JsonField& field : *fields) {
    const auto edit = std::find_if(edits.begin(), edits.end(), [&](const JsonEdit& e) {
      return field.escaped_key ? same_key(field.key, e.key) : field.key == e.key;
    });
    if (edit == edits.end()) {
      separate();
      out += object.substr(field.begin, field.end - field.begin);
      continue;
    }
    done[static_cast<std::size_t>(edit - edits.begin())] = true;
    if (edit->value.empty()) continue;
    separate();
    out.append("\"").append(edit->key).append("\":").append(edit->value);
  }
  for (std::size_t i = 0; i < edits.size(); ++i) {
    if (done[i] || edits[i].if_present || edits[i].value.empty()) continue;
    separate();
    out.append("\"").append(edits[i].key).append("\":").append(edits[i].value);
  }
  out += '}';
  return out;
}

}  // namespace lodestar::proxy
