// SPDX-License-Identifier: Apache-2.0
// Bodies of POST /v1/completions, /v1/chat/completions, /tokenize and /detokenize
// as values, checked as vLLM checks them. Any bytes give a request or an error in
// vLLM's shape: {"error": {"message", "type", "param", "code"}}.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/token_rule.h"

namespace lodestar::emulator {

struct ApiError {
  int status = 400;
  std::string type = "BadRequestError";
  std::string message;
  std::string param;  // empty: null
};

template <class T>
using ApiResult = std::expected<T, ApiError>;

struct GenerateRequest {
  bool chat = false;
  std::string served_model;  // empty: not given, the engine's own
  std::vector<TokenId> prompt;  // chat: with the template
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage_stats = false;
  std::optional<std::int64_t> max_tokens;  // or max_completion_tokens
  std::int64_t min_tokens = 0;
  bool ignore_eos = false;
  bool echo = false;               // completions only
  std::vector<std::string> stop;
  bool include_stop = false;       // include_stop_str_in_output
  std::string cache_salt;
  std::string request_id;          // body field; a header goes before it
};

// Errors: not JSON, wrong types, missing prompt or messages, what vLLM refuses
// (limits of max_tokens, stream_options without stream, ...), and what only real
// engines can do (n > 1, logprobs, images, several prompts), said so.
ApiResult<GenerateRequest> parse_completion(std::string_view body);
ApiResult<GenerateRequest> parse_chat_completion(std::string_view body);

struct TokenizeRequest {
  std::string served_model;
  std::vector<TokenId> tokens;
};
// {"prompt": TEXT} or {"messages": [...], "add_generation_prompt": true}.
ApiResult<TokenizeRequest> parse_tokenize(std::string_view body);
// {"tokens": [...]}.
ApiResult<TokenizeRequest> parse_detokenize(std::string_view body);

}  // namespace lodestar::emulator
