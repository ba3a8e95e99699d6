// SPDX-License-Identifier: Apache-2.0
#include "loadgen/prompt_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace lodestar::loadgen {
namespace {

void append_answer_or_words(sim::TokenSpan span, const AnswerMemory& answers, std::string& out) {
  const std::string_view answer = answers.find(span);
  if (answer.empty()) {
    append_words(span, out);
  } else {
    out += answer;
  }
}

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string prompt_field(const sim::SimRequest& request, const AnswerMemory& answers) {
  std::string text;
  text.reserve(static_cast<std::size_t>(request.prompt_tokens) * kWordBytes);
  for (const sim::TokenSpan& span : request.content) append_answer_or_words(span, answers, text);
  return "\"prompt\":" + json_string(text);
}

std::string messages_field(const sim::SimRequest& request, const AnswerMemory& answers) {
  std::string out = "\"messages\":[", user;
  const auto message = [&](const char* role, const std::string& text) {
    if (out.back() == '}') out += ',';
    out += fmt::format("{{\"role\":\"{}\",\"content\":", role);
    out += json_string(text);
    out += '}';
  };
  for (const sim::TokenSpan& span : request.content) {
    const std::string_view answer = answers.find(span);
    if (answer.empty() || user.empty()) {
      append_answer_or_words(span, answers, user);
      continue;
    }
    message("user", user);
    message("assistant", std::string(answer));
    user.clear();
  }
  if (!user.empty() || out.back() != '}') message("user", user);
  return out + "]";
}

}  // namespace

void append_words(sim::TokenSpan span, std::string& out) {
  const std::uint64_t base = mix64(span.stream);
  for (std::int64_t k = 0; k < span.tokens; ++k) {
    const std::uint64_t position = span.first + static_cast<std::uint64_t>(k);
    std::uint64_t bits = mix64(base + position * 0x9e3779b97f4a7c15ULL);
    char word[kWordBytes] = {' '};
    for (std::size_t i = 1; i < kWordBytes; ++i, bits /= 26)
      word[i] = static_cast<char>('a' + bits % 26);
    out.append(word, kWordBytes);
  }
}

void AnswerMemory::remember(sim::TokenSpan output, std::string text) {
  if (text.size() != static_cast<std::size_t>(output.tokens) * kWordBytes) return;
  by_stream_.insert_or_assign(output.stream, Answer{output.first, std::move(text)});
}

std::string_view AnswerMemory::find(sim::TokenSpan span) const {
  const auto found = by_stream_.find(span.stream);
  if (found == by_stream_.end() || span.first < found->second.first) return {};
  const std::uint64_t skipped = span.first - found->second.first;
  const std::string_view text = found->second.text;
  const std::uint64_t words = text.size() / kWordBytes;
  if (skipped > words || static_cast<std::uint64_t>(span.tokens) > words - skipped) return {};
  return text.substr(static_cast<std::size_t>(skipped) * kWordBytes,
                     static_cast<std::size_t>(span.tokens) * kWordBytes);
}

std::string request_body(const sim::SimRequest& request, std::int64_t output_tokens,
                         const AnswerMemory& answers, const BodyOptions& options) {
  const bool chat = options.endpoint == Endpoint::kChat;
  std::string body = "{\"model\":" + json_string(options.served_model) + ",";
  body += chat ? messages_field(request, answers) : prompt_field(request, answers);
  body += fmt::format(",\"max_tokens\":{}", output_tokens);
  if (options.force_length) body += fmt::format(",\"min_tokens\":{},\"ignore_eos\":true", output_tokens);
  body += ",\"temperature\":0,\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
  return body;
}

}  // namespace lodestar::loadgen
