// SPDX-License-Identifier: Apache-2.0
#include "loadgen/prompt_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace lodestar::loadgen {
namespace {

// All pieces of a prompt, in order.
std::vector<AnswerMemory::Piece> pieces_of(const sim::SimRequest& request,
                                           const AnswerMemory& answers) {
  std::vector<AnswerMemory::Piece> all;
  for (const sim::TokenSpan& span : request.content)
    for (const AnswerMemory::Piece& piece : answers.pieces(span)) all.push_back(piece);
  return all;
}

void append_piece(const AnswerMemory::Piece& piece, std::string& out) {
  if (piece.answer.empty()) {
    append_words(piece.span, out);
  } else {
    out += piece.answer;
  }
}

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string prompt_field(const sim::SimRequest& request, const AnswerMemory& answers) {
  std::string text;
  text.reserve(static_cast<std::size_t>(request.prompt_tokens) * kWordBytes);
  for (const AnswerMemory::Piece& piece : pieces_of(request, answers)) append_piece(piece, text);
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
  for (const AnswerMemory::Piece& piece : pieces_of(request, answers)) {
    if (piece.answer.empty() || user.empty()) {
      append_piece(piece, user);
      continue;
    }
    message("user", user);
    message("assistant", std::string(piece.answer));
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
  if (output.tokens < 1 || text.size() != static_cast<std::size_t>(output.tokens) * kWordBytes)
    return;
  std::vector<Answer>& answers = by_stream_[output.stream];
  const auto at =
      std::upper_bound(answers.begin(), answers.end(), output.first,
                       [](std::uint64_t first, const Answer& a) { return first < a.first; });
  answers.insert(at, {output.first, output.first + static_cast<std::uint64_t>(output.tokens),
                      std::move(text)});
}

std::vector<AnswerMemory::Piece> AnswerMemory::pieces(sim::TokenSpan span) const {
  std::vector<Piece> out;
  std::uint64_t at = span.first;
  const std::uint64_t end = span.first + static_cast<std::uint64_t>(span.tokens);
  const auto add = [&](std::uint64_t to, std::string_view answer) {
    if (to > at) out.push_back({{span.stream, at, static_cast<std::int64_t>(to - at)}, answer});
    at = std::max(at, to);
  };
  if (const auto found = by_stream_.find(span.stream); found != by_stream_.end()) {
    for (const Answer& answer : found->second) {
      if (answer.end <= at) continue;
      if (answer.first >= end) break;
      add(answer.first, {});
      const std::uint64_t to = std::min(answer.end, end);
      add(to, std::string_view(answer.text)
                  .substr(static_cast<std::size_t>(at - answer.first) * kWordBytes,
                          static_cast<std::size_t>(to - at) * kWordBytes));
    }
  }
  add(end, {});
  return out;
}

std::string request_body(const sim::SimRequest& request, std::int64_t output_tokens,
                         const AnswerMemory& answers, const BodyOptions& options) {
  const bool chat = options.endpoint == Endpoint::kChat;
  std::string body = "{\"model\":" + json_string(options.served_model) + ",";
  body += chat ? messages_field(request, answers) : prompt_field(request, answers);
  body += fmt::format(",\"max_tokens\":{}", output_tokens);
  if (options.force_length)
    body += fmt::format(",\"min_tokens\":{},\"ignore_eos\":true", output_tokens);
  body += ",\"temperature\":0,\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
  return body;
}

}  // namespace lodestar::loadgen
