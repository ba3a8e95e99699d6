// SPDX-License-Identifier: Apache-2.0
// What the engine answers, byte for byte in vLLM's shapes. In completion chunks
// unset fields are present as null; in chat chunks they are absent (vLLM dumps the
// first with exclude_unset=False, the second with True).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/api_request.h"

namespace lodestar::emulator {

// Appends the text as a JSON string with its quotes. Bytes that are no UTF-8
// (a token may end within a character) become U+FFFD, as a detokenizer shows them.
void append_json_string(std::string& out, std::string_view text);

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = -1;  // shown when > 0
};

// One generation's envelope and how far it has got.
class AnswerText {
 public:
  // `created`: Unix time, s.
  AnswerText(bool chat, std::string id, std::string served_model, std::int64_t created);
  const std::string& id() const { return id_; }

  // One server-sent event with `text`; `finish` is "" before the last.
  // `stop_reason` (of finish "stop"): the stop string that ended it, or "".
  // The first chunk of a chat is preceded by the event that names the role.
  // `usage`: continuous_usage_stats, or nullptr.
  void append_chunk(std::string& out, std::string_view text, std::string_view finish,
                    std::string_view stop_reason, const Usage* usage);
  // The event with the usage alone.
  void append_usage_chunk(std::string& out, const Usage& usage) const;
  // The whole answer as one JSON document.
  std::string complete(std::string_view text, std::string_view finish, std::string_view stop_reason,
                       const Usage& usage) const;

 private:
  void begin_event(std::string& out) const;

  bool chat_;
  bool role_sent_ = false;
  std::string id_;
  std::string head_;  // {"id":…,"object":…,"created":…,"model":…,"choices":[
  std::string complete_head_;
};

inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

std::string error_body(const ApiError& error);
std::string models_body(std::string_view served_model, std::int64_t created,
                        std::int64_t max_model_len);
std::string tokens_body(const std::vector<TokenId>& tokens, std::int64_t max_model_len);
std::string detokenized_body(std::string_view text);

}  // namespace lodestar::emulator
