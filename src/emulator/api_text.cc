// SPDX-License-Identifier: Apache-2.0
#include "emulator/api_text.h"

namespace lodestar::emulator {
namespace {

// Bytes of the UTF-8 character at `at`, or 0 if there is none (RFC 3629).
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned lead = byte(at), second = byte(at + 1);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(at + 1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && second < 0xa0, surrogate = lead == 0xed && second > 0x9f;
    return tail(at + 1) && tail(at + 2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && second < 0x90, beyond = lead == 0xf4 && second > 0x8f;
    return tail(at + 1) && tail(at + 2) && tail(at + 3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& out, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

void append_field(std::string& out, std::string_view name, std::int64_t value) {
  out += '"';
  out += name;
  out += "\":";
  out += std::to_string(value);
}

void append_usage(std::string& out, const Usage& usage, bool null_details) {
  out += "\"usage\":{";
  append_field(out, "prompt_tokens", usage.prompt_tokens);
  out += ',';
  append_field(out, "total_tokens", usage.prompt_tokens + usage.completion_tokens);
  out += ',';
  append_field(out, "completion_tokens", usage.completion_tokens);
  if (usage.cached_tokens > 0) {
    out += ",\"prompt_tokens_details\":{";
    append_field(out, "cached_tokens", usage.cached_tokens);
    out += '}';
  } else if (null_details) {
    out += ",\"prompt_tokens_details\":null";
  }
  out += '}';
}

void append_string_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

std::string head_of(std::string_view object, std::string_view id, std::string_view served_model,
                    std::int64_t created) {
  std::string head = "{\"id\":";
  append_json_string(head, id);
  head += ",\"object\":\"";
  head += object;
  head += "\",";
  append_field(head, "created", created);
  head += ",\"model\":";
  append_json_string(head, served_model);
  head += ",\"choices\":[";
  return head;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const bool plain = static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
    const std::size_t length = utf8_length(text, i);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (plain) {
      out.append(text, i, length);
    } else {
      append_escaped(out, c);
    }
    i += length == 0 ? 1 : length;
  }
  out += '"';
}

AnswerText::AnswerText(bool chat, std::string id, std::string served_model, std::int64_t created)
    : chat_(chat),
      id_(std::move(id)),
      head_(
          head_of(chat ? "chat.completion.chunk" : "text_completion", id_, served_model, created)),
      complete_head_(
          head_of(chat ? "chat.completion" : "text_completion", id_, served_model, created)) {}

void AnswerText::begin_event(std::string& out) const {
  out += "data: ";
  out += head_;
}

void AnswerText::append_chunk(std::string& out, std::string_view text, std::string_view finish,
                              std::string_view stop_reason, const Usage* usage) {
  if (chat_ && !role_sent_) {
    role_sent_ = true;
    begin_event(out);
    out +=
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
        "\"finish_reason\":null}]";
    if (usage != nullptr) {
      out += ',';
      append_usage(out, Usage{usage->prompt_tokens, 0, usage->cached_tokens}, false);
    }
    out += "}\n\n";
  }
  begin_event(out);
  out += chat_ ? "{\"index\":0,\"delta\":{\"content\":" : "{\"index\":0,\"text\":";
  append_json_string(out, text);
  out += chat_ ? "},\"logprobs\":null,\"finish_reason\":" : ",\"logprobs\":null,\"finish_reason\":";
  append_string_or_null(out, finish);
  if (!chat_ || !finish.empty()) {
    out += ",\"stop_reason\":";
    append_string_or_null(out, stop_reason);
  }
  out += chat_ ? "}]" : ",\"prompt_token_ids\":null,\"token_ids\":null}]";
  if (usage != nullptr) {
    out += ',';
    append_usage(out, *usage, false);
  } else if (!chat_) {
    out += ",\"usage\":null";
  }
  out += "}\n\n";
}

void AnswerText::append_usage_chunk(std::string& out, const Usage& usage) const {
  begin_event(out);
  out += "],";
  append_usage(out, usage, false);
  out += "}\n\n";
}

std::string AnswerText::complete(std::string_view text, std::string_view finish,
                                 std::string_view stop_reason, const Usage& usage) const {
  std::string out = complete_head_;
  out += chat_ ? "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
               : "{\"index\":0,\"text\":";
  append_json_string(out, text);
  if (chat_)
    out +=
        ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null,"
        "\"tool_calls\":[],\"reasoning\":null}";
  out += ",\"logprobs\":null,\"finish_reason\":";
  append_string_or_null(out, finish);
  out += ",\"stop_reason\":";
  append_string_or_null(out, stop_reason);
  out += chat_ ? ",\"token_ids\":null}]"
               : ",\"token_ids\":null,\"prompt_logprobs\":null,\"prompt_token_ids\":null}]";
  out += ",\"service_tier\":null,\"system_fingerprint\":null,";
  append_usage(out, usage, true);
  if (chat_) out += ",\"prompt_logprobs\":null,\"prompt_token_ids\":null";
  out += ",\"kv_transfer_params\":null}";
  return out;
}

std::string error_body(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":";
  append_json_string(out, error.message);
  out += ",\"type\":";
  append_json_string(out, error.type);
  out += ",\"param\":";
  append_string_or_null(out, error.param);
  out += ',';
  append_field(out, "code", error.status);
  out += "}}";
  return out;
}

std::string models_body(std::string_view served_model, std::int64_t created,
                        std::int64_t max_model_len) {
  std::string out = "{\"object\":\"list\",\"data\":[{\"id\":";
  append_json_string(out, served_model);
  out += ",\"object\":\"model\",";
  append_field(out, "created", created);
  out += ",\"owned_by\":\"vllm\",\"root\":";
  append_json_string(out, served_model);
  out += ",\"parent\":null,";
  append_field(out, "max_model_len", max_model_len);
  out += ",\"permission\":[{\"id\":\"modelperm-emulated\",\"object\":\"model_permission\",";
  append_field(out, "created", created);
  out +=
      ",\"allow_create_engine\":false,\"allow_sampling\":true,\"allow_logprobs\":true,"
      "\"allow_search_indices\":false,\"allow_view\":true,\"allow_fine_tuning\":false,"
      "\"organization\":\"*\",\"group\":null,\"is_blocking\":false}]}]}";
  return out;
}

std::string tokens_body(const std::vector<TokenId>& tokens, std::int64_t max_model_len) {
  std::string out = "{";
  append_field(out, "count", static_cast<std::int64_t>(tokens.size()));
  out += ',';
  append_field(out, "max_model_len", max_model_len);
  out += ",\"tokens\":[";
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(tokens[i]);
  }
  out += "],\"token_strs\":null}";
  return out;
}

std::string detokenized_body(std::string_view text) {
  std::string out = "{\"prompt\":";
  append_json_string(out, text);
  out += '}';
  return out;
}

}  // namespace lodestar::emulator
