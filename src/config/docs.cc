// SPDX-License-Identifier: Apache-2.0
#include "config/docs.h"

#include <fmt/format.h>

#include <cmath>

namespace lodestar::config {
namespace {

std::string bounds_of(const FieldSpec& spec) {
  std::string text;
  if (std::isfinite(spec.min)) text += fmt::format("{} {}", spec.above_min ? ">" : "≥", spec.min);
  if (std::isfinite(spec.max))
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", spec.below_max ? "<" : "≤", spec.max);
  return text;
}

std::string type_of(const FieldInfo& field) {
  if (field.choices.empty()) return field.type;
  std::string text;
  for (const std::string& word : field.choices)
    text += (text.empty() ? "" : ", ") + ("`" + word + "`");
  return text;
}

std::string cell(const std::string& text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

void add_table(const SchemaBase& schema, const std::string& path, int level, std::string& out) {
  const std::vector<FieldInfo> fields = schema.fields();
  bool any_hot = false;
  for (const FieldInfo& field : fields) any_hot |= field.spec.reload == Reload::kHot;
  out += fmt::format("{} {}\n\n", std::string(static_cast<std::size_t>(level), '#'),
                     path.empty() ? schema.name() : "`" + path + "`");
  out += any_hot
             ? "| key | type | default | bounds | change | meaning |\n|---|---|---|---|---|---|\n"
             : "| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n";
  for (const FieldInfo& field : fields) {
    const std::string fallback = field.spec.required          ? "**required**"
                                 : field.default_text.empty() ? ""
                                                              : "`" + field.default_text + "`";
    std::string bounds = bounds_of(field.spec);
    if (!field.spec.unit.empty()) bounds += (bounds.empty() ? "" : " ") + field.spec.unit;
    out += fmt::format("| `{}` | {} | {} | {} | {}{} |\n", field.name, cell(type_of(field)),
                       cell(fallback), bounds,
                       !any_hot                            ? ""
                       : field.spec.reload == Reload::kHot ? "live | "
                                                           : "restart | ",
                       cell(field.spec.help));
  }
  out += "\n";
  for (const FieldInfo& field : fields)
    if (field.nested)
      add_table(*field.nested,
                (path.empty() ? "" : path + ".") + field.name + (field.is_list ? "[]" : ""),
                std::min(level + 1, 6), out);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

std::string json_limits(const FieldSpec& spec, bool is_text) {
  std::string out;
  if (std::isfinite(spec.min))
    out += fmt::format(", \"{}\": {}",
                       is_text          ? "minLength"
                       : spec.above_min ? "exclusiveMinimum"
                                        : "minimum",
                       spec.min);
  if (std::isfinite(spec.max))
    out += fmt::format(", \"{}\": {}",
                       is_text          ? "maxLength"
                       : spec.below_max ? "exclusiveMaximum"
                                        : "maximum",
                       spec.max);
  return out;
}

std::string json_of(const SchemaBase& schema);

std::string json_type(const FieldInfo& field) {
  if (!field.choices.empty()) {
    std::string words;
    for (const std::string& word : field.choices)
      words += (words.empty() ? "" : ", ") + quoted(word);
    return "\"enum\": [" + words + "]";
  }
  const auto scalar = [&](const std::string& type) -> std::string {
    if (type == "integer") return "\"type\": \"integer\"" + json_limits(field.spec, false);
    if (type == "number") return "\"type\": \"number\"" + json_limits(field.spec, false);
    if (type == "true or false") return "\"type\": \"boolean\"";
    if (type == "text") return "\"type\": \"string\"" + json_limits(field.spec, true);
    return "";
  };
  if (field.nested && field.is_list)
    return "\"type\": \"array\", \"items\": " + json_of(*field.nested);
  if (field.type == "mapping") {
    std::string nested = json_of(*field.nested);
    return nested.substr(1, nested.size() - 2);
  }
  if (field.is_list)
    return "\"type\": \"array\", \"items\": {" + scalar(field.type.substr(8)) + "}";
  if (const std::string plain = scalar(field.type); !plain.empty()) return plain;
  // A value with its own reader: a scalar, or the nested mapping.
  if (field.nested)
    return "\"anyOf\": [{\"type\": [\"string\", \"number\"]}, " + json_of(*field.nested) + "]";
  return "";
}

std::string json_of(const SchemaBase& schema) {
  std::string properties, required;
  for (const FieldInfo& field : schema.fields()) {
    const std::string type = json_type(field);
    std::string help = field.spec.help;
    if (!field.spec.unit.empty()) help += (help.empty() ? "[" : " [") + field.spec.unit + "]";
    properties += fmt::format("{}{}: {{{}{}\"description\": {}}}", properties.empty() ? "" : ", ",
                              quoted(field.name), type, type.empty() ? "" : ", ", quoted(help));
    if (field.spec.required) required += (required.empty() ? "" : ", ") + quoted(field.name);
  }
  return fmt::format(
      "{{\"type\": \"object\", \"additionalProperties\": false{}, \"properties\": {{{}}}}}",
      required.empty() ? "" : ", \"required\": [" + required + "]", properties);
}

}  // namespace

std::string to_markdown(const SchemaBase& schema, int level) {
  std::string out;
  add_table(schema, "", level, out);
  return out;
}

std::string to_json_schema(const SchemaBase& schema) {
  const std::string body = json_of(schema);
  return "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": " +
         quoted(schema.name()) + ", " + body.substr(1) + "\n";
}

}  // namespace lodestar::config
