// SPDX-License-Identifier: Apache-2.0
#include "loadgen/stream_reader.h"

#include <simdjson.h>

namespace lodestar::loadgen {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kMaxMessage = 160;

std::string one_line(std::string_view text) {
  std::string out(text.substr(0, kMaxMessage));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return out;
}

std::string_view string_at(dom::object object, std::string_view name) {
  std::string_view text;
  return object[name].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

std::optional<std::int64_t> integer_at(dom::object object, std::string_view name) {
  std::int64_t value = 0;
  if (object[name].get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

std::string error_of(dom::object root) {
  dom::object error;
  if (root["error"].get(error) == simdjson::SUCCESS) {
    const std::string_view message = string_at(error, "message");
    return message.empty() ? "error without a message" : one_line(message);
  }
  for (const char* name : {"error", "detail", "message"})
    if (const std::string_view message = string_at(root, name); !message.empty())
      return one_line(message);
  return {};
}

// Adds the output of one choice to `text`; tool calls have none but count.
bool choice_output(dom::object choice, std::string* text) {
  const auto take = [text](std::string_view piece) {
    if (text != nullptr) *text += piece;
    return !piece.empty();
  };
  if (take(string_at(choice, "text"))) return true;
  for (const char* part : {"delta", "message"}) {
    dom::object delta;
    if (choice[part].get(delta) != simdjson::SUCCESS) continue;
    bool any = take(string_at(delta, "content"));
    for (const char* name : {"reasoning", "reasoning_content", "refusal"})
      any = !string_at(delta, name).empty() || any;
    dom::array calls;
    if (delta["tool_calls"].get(calls) == simdjson::SUCCESS) any = any || calls.size() > 0;
    if (any) return true;
  }
  return false;
}

}  // namespace

struct StreamReader::Parser {
  dom::parser dom;
};

StreamReader::StreamReader(bool keep_text)
    : parser_(std::make_unique<Parser>()), keep_text_(keep_text) {}
StreamReader::~StreamReader() = default;
StreamReader::StreamReader(StreamReader&&) noexcept = default;

bool StreamReader::event(std::string_view data) {
  if (data == "[DONE]") {
    totals_.done = true;
    return false;
  }
  dom::object root;
  if (parser_->dom.parse(data.data(), data.size()).get(root) != simdjson::SUCCESS) {
    totals_.error = "an event that is no JSON object: " + one_line(data);
    return false;
  }
  dom::array choices;
  bool output = false;
  if (root["choices"].get(choices) == simdjson::SUCCESS) {
    for (dom::element item : choices) {
      dom::object choice;
      if (item.get(choice) != simdjson::SUCCESS) continue;
      output = choice_output(choice, keep_text_ ? &totals_.text : nullptr) || output;
      if (const auto reason = string_at(choice, "finish_reason"); !reason.empty())
        totals_.finish_reason = reason;
    }
  } else if (std::string message = error_of(root); !message.empty()) {
    totals_.error = std::move(message);
  }
  dom::object usage, details;
  if (root["usage"].get(usage) == simdjson::SUCCESS) {
    totals_.prompt_tokens = integer_at(usage, "prompt_tokens");
    totals_.completion_tokens = integer_at(usage, "completion_tokens");
    if (usage["prompt_tokens_details"].get(details) == simdjson::SUCCESS)
      totals_.cached_tokens = integer_at(details, "cached_tokens");
  }
  totals_.content_events += output;
  return output;
}

std::string failure_name(const Error& error) {
  switch (error.code) {
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kConnection:
      return "connection: " + one_line(error.message);
    case ErrorCode::kUnavailable:
      return "connection limit: " + one_line(error.message);
    case ErrorCode::kProtocol:
      return "protocol: " + one_line(error.message);
    default:
      return one_line(error.message);
  }
}

std::string first_served_model(std::string_view body) {
  dom::parser parser;
  dom::object root, card;
  dom::array data;
  if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS ||
      root["data"].get(data) != simdjson::SUCCESS || data.size() == 0 ||
      (*data.begin()).get(card) != simdjson::SUCCESS)
    return {};
  return std::string(string_at(card, "id"));
}

std::string error_message_of(std::string_view body) {
  dom::parser parser;
  dom::object root;
  if (parser.parse(body.data(), body.size()).get(root) == simdjson::SUCCESS)
    if (std::string message = error_of(root); !message.empty()) return message;
  return one_line(body);
}

}  // namespace lodestar::loadgen
