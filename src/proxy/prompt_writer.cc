// SPDX-License-Identifier: Apache-2.0
#include "proxy/prompt_writer.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace lodestar::proxy {
namespace {

namespace dom = simdjson::dom;
struct Field {
  std::string_view key;
  std::size_t place;  // in the object as written
  dom::element value;
};
using Fields = std::vector<Field>;

// By key; of a repeated key the last value counts, as in Python's json.
Fields sorted_fields(const dom::object& object) {
  Fields fields;
  for (auto field : object) fields.push_back({field.key, fields.size(), field.value});
  std::sort(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
    return a.key != b.key ? a.key < b.key : a.place < b.place;
  });
  Fields unique;
  for (const Field& field : fields) {
    if (!unique.empty() && unique.back().key == field.key) unique.pop_back();
    unique.push_back(field);
  }
  return unique;
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 40> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

void append_double(std::string& out, double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: up to it 1.0 and 1 are one number
  if (std::floor(value) == value && std::fabs(value) < kExact) {
    append_number(out, static_cast<std::int64_t>(value));
  } else {
    append_number(out, value);
  }
}

bool is_media(std::string_view type) {
  static constexpr std::array<std::string_view, 12> kMedia = {
      "image_url", "image",     "input_image", "image_embeds", "input_audio", "audio_url",
      "audio",     "video_url", "video",       "file",         "input_file",  "document"};
  return std::find(kMedia.begin(), kMedia.end(), type) != kMedia.end();
}

// Fields that steer sampling or transport and never become prompt.
bool is_knob(std::string_view key) {
  static constexpr std::array<std::string_view, 22> kKnobs = {"model",
                                                              "stream",
                                                              "stream_options",
                                                              "max_tokens",
                                                              "max_completion_tokens",
                                                              "max_output_tokens",
                                                              "temperature",
                                                              "top_p",
                                                              "top_k",
                                                              "top_n",
                                                              "n",
                                                              "seed",
                                                              "stop",
                                                              "user",
                                                              "logprobs",
                                                              "top_logprobs",
                                                              "metadata",
                                                              "encoding_format",
                                                              "dimensions",
                                                              "priority",
                                                              "prompt_cache_key",
                                                              "request_id"};
  return std::find(kKnobs.begin(), kKnobs.end(), key) != kKnobs.end();
}

}  // namespace

void append_canonical_json(std::string& out, const dom::element& value) {
  switch (value.type()) {
    case dom::element_type::ARRAY: {
      out += '[';
      bool first = true;
      for (dom::element item : dom::array(value)) {
        if (!std::exchange(first, false)) out += ',';
        append_canonical_json(out, item);
      }
      out += ']';
      return;
    }
    case dom::element_type::OBJECT: {
      out += '{';
      bool first = true;
      for (const auto& [key, place, item] : sorted_fields(dom::object(value))) {
        if (!std::exchange(first, false)) out += ',';
        append_string(out, key);
        out += ':';
        append_canonical_json(out, item);
      }
      out += '}';
      return;
    }
    case dom::element_type::STRING:
      return append_string(out, std::string_view(value));
    case dom::element_type::INT64:
      return append_number(out, std::int64_t(value));
    case dom::element_type::UINT64:
      return append_number(out, std::uint64_t(value));
    case dom::element_type::DOUBLE:
      return append_double(out, double(value));
    case dom::element_type::BOOL:
      out += bool(value) ? "true" : "false";
      return;
    case dom::element_type::NULL_VALUE:
      out += "null";
      return;
  }
}

void PromptWriter::write_json(const dom::element& value) {
  scratch_.clear();
  append_canonical_json(scratch_, value);
  hasher_.text(scratch_);
}

void PromptWriter::write(const PromptFields& fields) {
  if (fields.prompt != nullptr && fields.messages == nullptr && write_token_prompt(*fields.prompt))
    return;
  hasher_.begin_text(served_model_, {}, salt_);
  // Chat templates render tools and the system text first.
  if (fields.tools != nullptr && fields.tools->is_array() && dom::array(*fields.tools).size() > 0) {
    hasher_.mark(PromptMark::kTools);
    write_json(*fields.tools);
  }
  for (const dom::element* system : {fields.system, fields.instructions}) {
    if (system == nullptr || system->is_null()) continue;
    hasher_.mark(PromptMark::kMessage);
    hasher_.text("system");
    hasher_.mark(PromptMark::kContent);
    write_content(*system);
  }
  if (fields.messages != nullptr) {
    write_messages(*fields.messages);
  } else if (fields.prompt != nullptr) {
    write_text_prompt(*fields.prompt);
  }
  if (fields.input == nullptr) return;
  if (fields.input->is_string()) {  // short for one message of the user
    hasher_.mark(PromptMark::kMessage);
    hasher_.text("user");
    hasher_.mark(PromptMark::kContent);
    hasher_.text(std::string_view(*fields.input));
  } else {
    write_messages(*fields.input);
  }
}

// [1,2,3] or [[1,2],[3]]; anything else is left for write_text_prompt.
bool PromptWriter::write_token_prompt(const dom::element& prompt) {
  if (!prompt.is_array()) return false;
  const dom::array list(prompt);
  const auto is_token = [](const dom::element& e) {
    return e.is_int64() && std::int64_t(e) >= 0 && std::int64_t(e) < 0xffffffffLL;
  };
  const auto all_tokens = [&](const dom::array& items) {
    return items.size() > 0 && std::all_of(items.begin(), items.end(), is_token);
  };
  const auto put = [&](const dom::array& items) {
    for (dom::element e : items) hasher_.token(static_cast<std::uint32_t>(std::int64_t(e)));
  };
  const bool flat = all_tokens(list);
  const bool nested =
      !flat && list.size() > 0 && std::all_of(list.begin(), list.end(), [&](const dom::element& e) {
        return e.is_array() && all_tokens(dom::array(e));
      });
  if (!flat && !nested) return false;
  is_tokens_ = true;
  hasher_.begin_tokens(served_model_, {}, salt_);
  if (flat) {
    put(list);
  } else {
    for (dom::element prompt_of_batch : list) put(dom::array(prompt_of_batch));
  }
  return true;
}

void PromptWriter::write_text_prompt(const dom::element& prompt) {
  if (prompt.is_string()) return hasher_.text(std::string_view(prompt));
  if (!prompt.is_array()) return write_json(prompt);
  bool first = true;
  for (dom::element one : dom::array(prompt)) {
    if (!std::exchange(first, false)) hasher_.mark(PromptMark::kPrompt);
    if (one.is_string()) {
      hasher_.text(std::string_view(one));
    } else {
      write_json(one);
    }
  }
}

void PromptWriter::write_messages(const dom::element& messages) {
  if (!messages.is_array()) return write_json(messages);
  for (dom::element message : dom::array(messages)) write_message(message);
}

void PromptWriter::write_message(const dom::element& message) {
  hasher_.mark(PromptMark::kMessage);
  if (!message.is_object()) return write_json(message);
  const Fields fields = sorted_fields(dom::object(message));
  const auto find = [&](std::string_view key) {
    return std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.key == key; });
  };
  if (const auto role = find("role"); role != fields.end() && role->value.is_string())
    hasher_.text(std::string_view(role->value));
  if (const auto content = find("content"); content != fields.end() && !content->value.is_null()) {
    hasher_.mark(PromptMark::kContent);
    write_content(content->value);
  }
  for (const auto& [key, place, value] : fields) {
    if (key == "role" || key == "content" || value.is_null()) continue;
    hasher_.mark(PromptMark::kExtra);
    hasher_.text(key);
    hasher_.mark(PromptMark::kValue);
    write_json(value);
  }
}

// "text" and [{"type":"text","text":"text"}] say the same.
void PromptWriter::write_content(const dom::element& content) {
  if (content.is_string()) return hasher_.text(std::string_view(content));
  if (!content.is_array()) return write_json(content);
  bool first = true;
  for (dom::element part : dom::array(content)) {
    if (!std::exchange(first, false)) hasher_.mark(PromptMark::kPart);
    write_part(part);
  }
}

void PromptWriter::write_part(const dom::element& part) {
  if (part.is_string()) return hasher_.text(std::string_view(part));
  std::string_view type, text;
  if (!part.is_object() || part["type"].get(type) != simdjson::SUCCESS) return write_json(part);
  if (type.ends_with("text") && part["text"].get(text) == simdjson::SUCCESS)
    return hasher_.text(text);
  if (!is_media(type)) return write_json(part);
  hasher_.mark(PromptMark::kImage);
  scratch_.clear();
  append_canonical_json(scratch_, part);
  hasher_.digest_of(scratch_);
}

void PromptWriter::write_whole(const dom::object& body) {
  hasher_.begin_text(served_model_, {}, salt_);
  for (const auto& [key, place, value] : sorted_fields(body)) {
    if (is_knob(key)) continue;
    hasher_.mark(PromptMark::kExtra);
    hasher_.text(key);
    hasher_.mark(PromptMark::kValue);
    write_json(value);
  }
}

}  // namespace lodestar::proxy
