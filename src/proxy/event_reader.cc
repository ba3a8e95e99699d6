// SPDX-License-Identifier: Apache-2.0
#include "proxy/event_reader.h"

#include <simdjson.h>

#include <string>

namespace lodestar::proxy {
namespace {

namespace dom = simdjson::dom;

std::optional<std::int64_t> integer(const dom::object& object, std::string_view key) {
  std::int64_t value = 0;
  if (object[key].get(value) != simdjson::SUCCESS || value < 0) return std::nullopt;
  return value;
}

bool has_text(const dom::object& object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS && !text.empty();
}

// The three dialects: OpenAI's prompt_tokens, the responses API's input_tokens, and
// the messages API's input_tokens, which leave out what came from the cache.
Usage usage_of(const dom::object& u) {
  Usage out;
  out.prompt_tokens = integer(u, "prompt_tokens");
  out.completion_tokens = integer(u, "completion_tokens");
  if (!out.completion_tokens) out.completion_tokens = integer(u, "output_tokens");
  if (!out.prompt_tokens) out.prompt_tokens = integer(u, "input_tokens");
  for (const char* details : {"prompt_tokens_details", "input_tokens_details"}) {
    dom::object d;
    if (u[details].get(d) == simdjson::SUCCESS) out.cached_tokens = integer(d, "cached_tokens");
    if (out.cached_tokens) return out;
  }
  const auto read = integer(u, "cache_read_input_tokens");
  const auto created = integer(u, "cache_creation_input_tokens");
  if (read) out.cached_tokens = read;
  if (out.prompt_tokens && (read || created))
    *out.prompt_tokens += read.value_or(0) + created.value_or(0);
  return out;
}

// Is there something in a chat delta beyond its role?
bool delta_has_content(const dom::object& delta) {
  for (const char* key : {"content", "reasoning_content", "reasoning", "refusal"})
    if (has_text(delta, key)) return true;
  dom::array calls;
  if (delta["tool_calls"].get(calls) == simdjson::SUCCESS && calls.size() > 0) return true;
  dom::object other;
  return delta["function_call"].get(other) == simdjson::SUCCESS ||
         delta["audio"].get(other) == simdjson::SUCCESS;
}

void read_choices(const dom::array& choices, EventFacts& facts) {
  for (dom::element element : choices) {
    dom::object choice;
    if (element.get(choice) != simdjson::SUCCESS) continue;
    dom::object delta;
    const bool chat = choice["delta"].get(delta) == simdjson::SUCCESS;
    if (chat ? delta_has_content(delta) : has_text(choice, "text")) ++facts.content;
    if (has_text(choice, "finish_reason")) facts.finished = true;
  }
}

// Events with a "type": the responses API and the messages API.
void read_typed(std::string_view type, const dom::object& event, EventFacts& facts) {
  if (type == "error" || type == "response.failed") facts.error = true;
  if (type == "message_stop" || type == "response.completed" || type == "response.incomplete")
    facts.finished = true;
  if (type == "content_block_delta") {
    dom::object delta;
    if (event["delta"].get(delta) != simdjson::SUCCESS) return;
    for (const char* key : {"text", "thinking", "partial_json"})
      if (has_text(delta, key)) facts.content = 1;
  } else if (type.ends_with(".delta")) {
    if (has_text(event, "delta")) facts.content = 1;
  }
}

void read_usage(const dom::object& event, EventFacts& facts) {
  dom::object usage;
  if (event["usage"].get(usage) == simdjson::SUCCESS) merge_usage(facts.usage, usage_of(usage));
  for (const char* holder : {"response", "message"}) {
    dom::object inner;
    if (event[holder].get(inner) == simdjson::SUCCESS &&
        inner["usage"].get(usage) == simdjson::SUCCESS)
      merge_usage(facts.usage, usage_of(usage));
  }
}

}  // namespace

struct EventReader::Impl {
  dom::parser parser;
  std::string padded;

  bool parse(std::string_view text, dom::object& object) {
    padded.assign(text);
    padded.reserve(padded.size() + simdjson::SIMDJSON_PADDING);
    return parser.parse(padded.data(), padded.size(), /*realloc_if_needed=*/false).get(object) ==
           simdjson::SUCCESS;
  }
};

EventReader::EventReader() : impl_(std::make_unique<Impl>()) {}
EventReader::~EventReader() = default;

EventFacts EventReader::read_event(std::string_view data) {
  EventFacts facts;
  if (data == "[DONE]") {
    facts.finished = true;
    return facts;
  }
  dom::object event;
  if (!impl_->parse(data, event)) return facts;
  dom::array choices;
  const bool has_choices = event["choices"].get(choices) == simdjson::SUCCESS;
  if (has_choices) read_choices(choices, facts);
  std::string_view type;
  if (!has_choices && event["type"].get(type) == simdjson::SUCCESS) read_typed(type, event, facts);
  dom::element error;
  if (event["error"].get(error) == simdjson::SUCCESS && !error.is_null()) facts.error = true;
  read_usage(event, facts);
  const bool any_usage = facts.usage.prompt_tokens || facts.usage.completion_tokens;
  facts.usage_only = has_choices && choices.size() == 0 && any_usage;
  return facts;
}

Usage EventReader::read_answer(std::string_view body) {
  EventFacts facts;
  dom::object answer;
  if (impl_->parse(body, answer)) read_usage(answer, facts);
  return facts.usage;
}

void merge_usage(Usage& into, const Usage& from) {
  if (from.prompt_tokens) into.prompt_tokens = from.prompt_tokens;
  if (from.cached_tokens) into.cached_tokens = from.cached_tokens;
  if (from.completion_tokens) into.completion_tokens = from.completion_tokens;
}

}  // namespace lodestar::proxy
