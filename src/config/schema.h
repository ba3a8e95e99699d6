// SPDX-License-Identifier: Apache-2.0
// Schema<T>: each field of a configuration struct declared once (name, type,
// bounds, unit, help, what a change needs). The declaration parses a YAML
// mapping into the struct, words the errors, and is what docs.h prints as
// reference documentation and JSON schema. The default of a field is the value
// the struct's own initialiser gives it.
//
//   Schema<Limits> limits_schema() {
//     return Schema<Limits>("limits")
//         .field("max_body_bytes", &Limits::max_body_bytes,
//                {.min = 1, .unit = "bytes", .help = "Largest request body."});
//   }
//
// A schema is a value: cheap to copy, safe to share between threads once built.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/node.h"

namespace lodestar::config {

enum class Reload { kRestart, kHot };  // does a running process take a change up?

// What is said of a field beside its name and place. Bounds hold for numbers,
// for the length of strings, and for each item of a list.
struct FieldSpec {
  bool required = false;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is excluded
  bool below_max = false;  // max itself is excluded
  std::string unit = {};
  std::string help = {};
  Reload reload = Reload::kRestart;
};

class SchemaBase;

// A declared field, as documentation sees it.
struct FieldInfo {
  std::string name = {};
  std::string type = {};  // "integer", "number", "true or false", "text", "list of ...", "a | b"
  std::string default_text = {};  // "" when required or when absence is the default
  FieldSpec spec = {};
  std::vector<std::string> choices = {};               // of an enumeration
  std::shared_ptr<const SchemaBase> nested = nullptr;  // of a mapping or a list of mappings
  bool is_list = false;
};

// Reads a value of each supported type; the error says where and what is
// expected. On error `out` is unspecified.
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, bool& out);
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, std::int32_t& out);
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, std::int64_t& out);
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, std::uint64_t& out);
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, double& out);
Result<void> read_value(const Node&, const std::string& path, const FieldSpec&, std::string& out);
template <class V>
Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::optional<V>& out) {
  return read_value(node, path, spec, out.emplace());
}
Result<void> expect_list(const Node&, const std::string& path);
std::string item_path(const std::string& path, std::size_t index);
template <class V>
Result<void> read_value(const Node& node, const std::string& path, const FieldSpec& spec,
                        std::vector<V>& out) {
  if (auto ok = expect_list(node, path); !ok) return ok;
  out.clear();
  for (std::size_t i = 0; i < node.items.size(); ++i)
    if (auto ok = read_value(node.items[i], item_path(path, i), spec, out.emplace_back()); !ok)
      return ok;
  return {};
}

// The type as documentation names it, and a value as text for "default".
inline std::string type_name(const bool&) { return "true or false"; }
inline std::string type_name(const std::int32_t&) { return "integer"; }
inline std::string type_name(const std::int64_t&) { return "integer"; }
inline std::string type_name(const std::uint64_t&) { return "integer"; }
inline std::string type_name(const double&) { return "number"; }
inline std::string type_name(const std::string&) { return "text"; }
template <class V>
std::string type_name(const std::optional<V>&) {
  return type_name(V{});
}
template <class V>
std::string type_name(const std::vector<V>&) {
  return "list of " + type_name(V{});
}
std::string show_value(bool value);
std::string show_value(std::int32_t value);
std::string show_value(std::int64_t value);
std::string show_value(std::uint64_t value);
std::string show_value(double value);
std::string show_value(const std::string& value);
template <class V>
std::string show_value(const std::optional<V>& value) {
  return value ? show_value(*value) : std::string();
}
template <class V>
std::string show_value(const std::vector<V>& value) {
  std::string text = "[";
  for (const V& v : value) text += (text.size() > 1 ? ", " : "") + show_value(v);
  return text + "]";
}

// The part that does not depend on T.
class SchemaBase {
 public:
  explicit SchemaBase(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  std::vector<FieldInfo> fields() const;

 protected:
  using Reader = std::function<Result<void>(const Node&, const std::string& path, void* object)>;
  using Check = std::function<std::string(const void* object)>;
  void add(FieldInfo info, Reader read);
  Result<void> read(const Node& node, const std::string& path, void* object) const;
  // Reads an enumeration's word; the index into choices, or an error that lists them.
  static Result<std::size_t> read_choice(const Node&, const std::string& path,
                                         const std::vector<std::string>& choices);

  struct Field {
    FieldInfo info;
    Reader read;
  };
  std::string name_;
  std::vector<Field> fields_;
  std::vector<Check> checks_;
};

template <class T>
class Schema : public SchemaBase {
 public:
  using SchemaBase::SchemaBase;

  template <class V>
  Schema& field(const std::string& name, V T::* member, FieldSpec spec = {}) {
    const T defaults{};
    FieldInfo info{.name = name, .type = type_name(defaults.*member)};
    info.is_list = info.type.starts_with("list of ");
    if (!spec.required) info.default_text = show_value(defaults.*member);
    info.spec = spec;
    add(std::move(info), [member, spec](const Node& node, const std::string& path, void* object) {
      return read_value(node, path, spec, static_cast<T*>(object)->*member);
    });
    return *this;
  }

  // One of a few words.
  template <class E>
  Schema& choice(const std::string& name, E T::* member,
                 std::vector<std::pair<std::string, E>> words, FieldSpec spec = {}) {
    const T defaults{};
    FieldInfo info{.name = name, .type = "word", .spec = spec};
    for (const auto& [word, value] : words) {
      info.choices.push_back(word);
      if (!spec.required && value == defaults.*member) info.default_text = word;
    }
    auto read = [member, words = std::move(words), choices = info.choices](
                    const Node& node, const std::string& path, void* object) -> Result<void> {
      auto index = read_choice(node, path, choices);
      if (!index) return std::unexpected(index.error());
      static_cast<T*>(object)->*member = words[*index].second;
      return {};
    };
    add(std::move(info), std::move(read));
    return *this;
  }

  // A nested mapping, into U, std::optional<U> or, as a list of mappings, std::vector<U>.
  template <class U>
  Schema& section(const std::string& name, U T::* member, Schema<U> schema, FieldSpec spec = {}) {
    auto nested = std::make_shared<const Schema<U>>(std::move(schema));
    add(nested_info(name, "mapping", nested, spec),
        [member, nested](const Node& node, const std::string& path, void* object) {
          return nested->read(node, path, &(static_cast<T*>(object)->*member));
        });
    return *this;
  }
  template <class U>
  Schema& section(const std::string& name, std::optional<U> T::* member, Schema<U> schema,
                  FieldSpec spec = {}) {
    auto nested = std::make_shared<const Schema<U>>(std::move(schema));
    add(nested_info(name, "mapping", nested, spec),
        [member, nested](const Node& node, const std::string& path, void* object) {
          return nested->read(node, path, &(static_cast<T*>(object)->*member).emplace());
        });
    return *this;
  }
  template <class U>
  Schema& list(const std::string& name, std::vector<U> T::* member, Schema<U> schema,
               FieldSpec spec = {}) {
    auto nested = std::make_shared<const Schema<U>>(std::move(schema));
    FieldInfo info = nested_info(name, "list of mappings", nested, spec);
    info.is_list = true;
    auto read = [member, nested](const Node& node, const std::string& path,
                                 void* object) -> Result<void> {
      if (auto ok = expect_list(node, path); !ok) return ok;
      std::vector<U>& out = static_cast<T*>(object)->*member;
      out.clear();
      for (std::size_t i = 0; i < node.items.size(); ++i)
        if (auto ok = nested->read(node.items[i], item_path(path, i), &out.emplace_back()); !ok)
          return ok;
      return {};
    };
    add(std::move(info), std::move(read));
    return *this;
  }

  // A value with its own reader, e.g. "NAME or mapping". `nested` is for documentation.
  Schema& custom(const std::string& name, const std::string& type,
                 std::function<Result<void>(const Node&, const std::string& path, T&)> reader,
                 FieldSpec spec = {}, std::shared_ptr<const SchemaBase> nested = nullptr) {
    FieldInfo info{.name = name, .type = type, .spec = std::move(spec)};
    info.nested = std::move(nested);
    add(std::move(info),
        [reader = std::move(reader)](const Node& node, const std::string& path, void* object) {
          return reader(node, path, *static_cast<T*>(object));
        });
    return *this;
  }

  // A rule over the whole struct, run after its fields were read: "" or what is wrong.
  Schema& check(std::function<std::string(const T&)> rule) {
    checks_.push_back([rule = std::move(rule)](const void* object) {
      return rule(*static_cast<const T*>(object));
    });
    return *this;
  }

  // Fields absent from the mapping keep what `out` holds already. Errors:
  // unknown key (with the nearest known one), missing required key, a value of
  // the wrong type or out of bounds, a rule broken.
  Result<void> parse(const Node& node, T& out, const std::string& path = "") const {
    return SchemaBase::read(node, path, &out);
  }

 private:
  template <class U>
  friend class Schema;
  static FieldInfo nested_info(const std::string& name, const std::string& type,
                               std::shared_ptr<const SchemaBase> nested, const FieldSpec& spec) {
    FieldInfo info{.name = name, .type = type, .spec = spec};
    info.nested = std::move(nested);
    return info;
  }
};

}  // namespace lodestar::config
