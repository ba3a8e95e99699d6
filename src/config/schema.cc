// SPDX-License-Identifier: Apache-2.0
#include "config/schema.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace lodestar::config {
namespace {

std::string bounds_text(const FieldSpec& spec) {
  const bool low = std::isfinite(spec.min);
  const bool high = std::isfinite(spec.max);
  const char* above = spec.above_min ? ">" : ">=";
  const char* below = spec.below_max ? "<" : "<=";
  if (low && high) return fmt::format(" {} {} and {} {}", above, spec.min, below, spec.max);
  if (low) return fmt::format(" {} {}", above, spec.min);
  if (high) return fmt::format(" {} {}", below, spec.max);
  return "";
}

bool within(double value, const FieldSpec& spec) {
  if (spec.above_min ? value <= spec.min : value < spec.min) return false;
  return spec.below_max ? value < spec.max : value <= spec.max;
}

Result<void> mismatch(const Node& node, const std::string& path, std::string_view what,
                      const FieldSpec& spec) {
  const std::string unit = spec.unit.empty() ? "" : fmt::format(" ({})", spec.unit);
  return fail_at(
      node, path,
      fmt::format("expected {}{}{}, got {}", what, bounds_text(spec), unit, node.describe()));
}

template <class V>
bool parse_whole(const std::string& text, V& out) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(begin, end, out);
  return error == std::errc() && rest == end && begin != end;
}

template <class Int>
Result<void> read_integer(const Node& node, const std::string& path, const FieldSpec& spec,
                          Int& out) {
  bool ok = node.kind == Node::Kind::kScalar && parse_whole(node.scalar, out);
  if (!ok && node.kind == Node::Kind::kScalar) {
    // "1e6" and "10000.0" are integers too, as long as a double holds them exactly.
    double value = 0;
    constexpr double kExact = 9007199254740992.0;
    const double lowest = std::is_signed_v<Int> ? -kExact : 0;
    const double highest = std::min(kExact, static_cast<double>(std::numeric_limits<Int>::max()));
    ok = parse_whole(node.scalar, value) && std::floor(value) == value && value >= lowest &&
         value <= highest && value >= static_cast<double>(std::numeric_limits<Int>::min());
    if (ok) out = static_cast<Int>(value);
  }
  if (!ok || !within(static_cast<double>(out), spec))
    return mismatch(node, path, "an integer", spec);
  return {};
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string child_path(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

}  // namespace

Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        bool& out) {
  if (node.kind == Node::Kind::kScalar && (node.scalar == "true" || node.scalar == "false")) {
    out = node.scalar == "true";
    return {};
  }
  return mismatch(node, path, "true or false", spec);
}

Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::int32_t& out) {
  return read_integer(node, path, spec, out);
}
Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::int64_t& out) {
  return read_integer(node, path, spec, out);
}
Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::uint64_t& out) {
  return read_integer(node, path, spec, out);
}

Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        double& out) {
  const bool ok = node.kind == Node::Kind::kScalar && parse_whole(node.scalar, out) &&
                  std::isfinite(out) && within(out, spec);
  if (!ok) return mismatch(node, path, "a number", spec);
  return {};
}

Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::string& out) {
  if (node.kind != Node::Kind::kScalar) return mismatch(node, path, "text", FieldSpec{});
  out = node.scalar;
  if (!within(static_cast<double>(out.size()), spec))
    return mismatch(node, path, "text with a number of characters", spec);
  return {};
}

Result<void> expect_list(const Node& node, const std::string& path) {
  if (node.kind == Node::Kind::kList) return {};
  return fail_at(node, path, fmt::format("expected a list, got {}", node.describe()));
}

std::string item_path(const std::string& path, std::size_t index) {
  return fmt::format("{}[{}]", path, index);
}

std::string show_value(bool value) { return value ? "true" : "false"; }
std::string show_value(std::int32_t value) { return fmt::format("{}", value); }
std::string show_value(std::int64_t value) { return fmt::format("{}", value); }
std::string show_value(std::uint64_t value) { return fmt::format("{}", value); }
std::string show_value(double value) { return fmt::format("{}", value); }
std::string show_value(const std::string& value) { return value; }

std::vector<FieldInfo> SchemaBase::fields() const {
  std::vector<FieldInfo> out;
  for (const Field& field : fields_) out.push_back(field.info);
  return out;
}

void SchemaBase::add(FieldInfo info, Reader read) {
  fields_.push_back({std::move(info), std::move(read)});
}

Result<std::size_t> SchemaBase::read_choice(const Node& node, const std::string& path,
                                            const std::vector<std::string>& choices) {
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (node.kind == Node::Kind::kScalar && node.scalar == choices[i]) return i;
  return fail_at(node, path,
                 fmt::format("expected one of {}, got {}", join(choices), node.describe()));
}

Result<void> SchemaBase::read(const Node& node, const std::string& path, void* object) const {
  if (node.kind != Node::Kind::kMap) {
    std::vector<std::string> names;
    for (const Field& field : fields_) names.push_back(field.info.name);
    return fail_at(node, path,
                   fmt::format("expected a mapping with keys of {} ({}), got {}", name_,
                               join(names), node.describe()));
  }
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const Field* known = nullptr;
    for (const Field& field : fields_)
      if (field.info.name == node.keys[i]) known = &field;
    if (known == nullptr) {
      std::vector<std::string> names;
      for (const Field& field : fields_) names.push_back(field.info.name);
      Node key = node.items[i];
      key.line = node.key_lines[i];
      const std::string near = nearest(node.keys[i], names);
      return fail_at(key, path,
                     near.empty() ? fmt::format("unknown key \"{}\"; known keys of {}: {}",
                                                node.keys[i], name_, join(names))
                                  : fmt::format("unknown key \"{}\"; did you mean \"{}\"?",
                                                node.keys[i], near));
    }
    if (auto ok = known->read(node.items[i], child_path(path, node.keys[i]), object); !ok)
      return ok;
  }
  for (const Field& field : fields_)
    if (field.info.spec.required && node.find(field.info.name) == nullptr)
      return fail_at(node, path,
                     fmt::format("key \"{}\" is missing{}{}", field.info.name,
                                 field.info.spec.help.empty() ? "" : ": ", field.info.spec.help));
  for (const Check& check : checks_)
    if (const std::string wrong = check(object); !wrong.empty()) return fail_at(node, path, wrong);
  return {};
}

}  // namespace lodestar::config
