// SPDX-License-Identifier: Apache-2.0
#include "emulator/api_request.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>

namespace lodestar::emulator {
namespace {

namespace dom = simdjson::dom;

// pydantic's complaints come with the phrase of the status as their type, the
// engine's own with BadRequestError.
ApiError invalid(std::string message, std::string param = {}) {
  return {400, "Bad Request", std::move(message), std::move(param)};
}
ApiError refused(std::string message, std::string param = {}) {
  return {400, "BadRequestError", std::move(message), std::move(param)};
}

// A field, or nothing when it is absent or null.
std::optional<dom::element> field(dom::object object, std::string_view name) {
  dom::element value;
  if (object[name].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

// Reads typed fields of one object; keeps the first error.
class Fields {
 public:
  explicit Fields(dom::object object) : object_(object) {}

  std::optional<dom::element> raw(std::string_view name) const { return field(object_, name); }

  void read(std::string_view name, bool& out) {
    if (auto value = raw(name); value && value->get(out) != simdjson::SUCCESS)
      complain(name, "true or false");
  }
  void read(std::string_view name, std::string& out) {
    auto value = raw(name);
    if (!value) return;
    std::string_view text;
    if (value->get(text) != simdjson::SUCCESS) return complain(name, "a string");
    out = text;
  }
  std::optional<std::int64_t> integer(std::string_view name) {
    auto value = raw(name);
    if (!value) return std::nullopt;
    std::int64_t whole = 0;
    if (value->get(whole) == simdjson::SUCCESS) return whole;
    double number = 0;  // 5.0 is an integer to pydantic
    if (value->get(number) == simdjson::SUCCESS && std::abs(number) < 9e15 &&
        number == std::floor(number))
      return static_cast<std::int64_t>(number);
    complain(name, "an integer");
    return std::nullopt;
  }
  std::optional<double> number(std::string_view name) {
    auto value = raw(name);
    if (!value) return std::nullopt;
    double out = 0;
    if (value->get(out) == simdjson::SUCCESS) return out;
    complain(name, "a number");
    return std::nullopt;
  }
  void require(bool holds, std::string_view name, std::string message) {
    if (!holds) set(refused(std::move(message), std::string(name)));
  }
  void complain(std::string_view name, std::string_view expected) {
    set(invalid(
        fmt::format("[{{'loc': ('body', '{}'), 'msg': 'Input should be {}'}}]", name, expected),
        std::string(name)));
  }
  void set(ApiError error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<ApiError>& error() const { return error_; }

 private:
  dom::object object_;
  std::optional<ApiError> error_;
};

std::optional<ApiError> parse_object(dom::parser& parser, std::string_view body, dom::object& out) {
  dom::element root;
  const simdjson::padded_string padded(body);
  if (auto error = parser.parse(padded).get(root); error != simdjson::SUCCESS)
    return invalid(
        fmt::format("[{{'type': 'json_invalid', 'loc': ('body',), 'msg': 'JSON decode "
                    "error', 'ctx': {{'error': '{}'}}}}]",
                    simdjson::error_message(error)));
  if (root.get(out) != simdjson::SUCCESS)
    return invalid("[{'loc': ('body',), 'msg': 'Input should be a valid dictionary'}]");
  return std::nullopt;
}

std::optional<ApiError> read_token_ids(dom::array ids, std::string_view name,
                                       std::vector<TokenId>& out) {
  for (dom::element item : ids) {
    std::uint64_t id = 0;
    if (item.get(id) != simdjson::SUCCESS || id > kMaxTokenId)
      return invalid(fmt::format("[{{'loc': ('body', '{}'), 'msg': 'Token ids should be whole "
                                 "numbers from 0 to 2^53-1'}}]",
                                 name),
                     std::string(name));
    out.push_back(id);
  }
  return std::nullopt;
}

// A string, an array of token ids, or a list that holds one of either.
std::optional<ApiError> read_prompt(dom::element value, int depth, std::vector<TokenId>& out) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    tokenize(text, out);
    return std::nullopt;
  }
  dom::array list;
  if (value.get(list) != simdjson::SUCCESS)
    return invalid("[{'loc': ('body', 'prompt'), 'msg': 'Input should be a string or a list'}]",
                   "prompt");
  if (list.begin() == list.end())
    return refused("Either prompt or prompt_embeds must be provided and non-empty.", "prompt");
  const dom::element first = *list.begin();
  if (depth == 0 && !first.is_number()) {
    if (auto second = list.begin(); ++second != list.end())
      return refused("The emulated engine answers one prompt per request; send several requests.",
                     "prompt");
    return read_prompt(first, 1, out);
  }
  return read_token_ids(list, "prompt", out);
}

// Content as one text: a string, or parts of type text.
std::optional<ApiError> read_content(dom::element content, std::string& out) {
  std::string_view text;
  if (content.get(text) == simdjson::SUCCESS) {
    out = text;
    return std::nullopt;
  }
  dom::array parts;
  if (content.get(parts) != simdjson::SUCCESS)
    return invalid(
        "[{'loc': ('body', 'messages'), 'msg': 'content should be a string or a list "
        "of parts'}]",
        "messages");
  for (dom::element item : parts) {
    if (item.get(text) == simdjson::SUCCESS) {
      out += text;
      continue;
    }
    dom::object part;
    std::string_view type;
    if (item.get(part) != simdjson::SUCCESS || part["type"].get(type) != simdjson::SUCCESS)
      return invalid("[{'loc': ('body', 'messages'), 'msg': 'a content part needs a type'}]",
                     "messages");
    if (type != "text" && type != "input_text" && type != "refusal")
      return refused(fmt::format("The served model takes text only, not content parts of type "
                                 "'{}'.",
                                 type),
                     "messages");
    if (part[type == "refusal" ? "refusal" : "text"].get(text) != simdjson::SUCCESS)
      return invalid("[{'loc': ('body', 'messages'), 'msg': 'a text part needs a text'}]",
                     "messages");
    out += text;
  }
  return std::nullopt;
}

std::optional<ApiError> read_messages(Fields& fields, bool answer_header,
                                      std::vector<TokenId>& out) {
  auto value = fields.raw("messages");
  if (!value)
    return invalid("[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}]",
                   "messages");
  dom::array messages;
  if (value->get(messages) != simdjson::SUCCESS)
    return invalid("[{'loc': ('body', 'messages'), 'msg': 'Input should be a valid list'}]",
                   "messages");
  if (messages.begin() == messages.end())
    return refused("messages must hold at least one message.", "messages");
  // Tools are part of the prompt: one message of their JSON before the others.
  if (auto tools = fields.raw("tools"); tools && tools->is_array())
    append_message("tools", simdjson::minify(*tools), out);
  for (dom::element item : messages) {
    dom::object message;
    std::string_view role;
    if (item.get(message) != simdjson::SUCCESS || message["role"].get(role) != simdjson::SUCCESS)
      return invalid("[{'loc': ('body', 'messages'), 'msg': 'a message needs a role'}]",
                     "messages");
    std::string text;
    if (auto content = field(message, "content"))
      if (auto error = read_content(*content, text)) return error;
    if (auto calls = field(message, "tool_calls")) text += simdjson::minify(*calls);
    append_message(role, text, out);
  }
  if (answer_header) append_answer_header(out);
  return std::nullopt;
}

void read_stop(Fields& fields, std::vector<std::string>& out) {
  auto value = fields.raw("stop");
  if (!value) return;
  std::string_view text;
  dom::array list;
  if (value->get(text) == simdjson::SUCCESS) {
    out.emplace_back(text);
  } else if (value->get(list) == simdjson::SUCCESS) {
    for (dom::element item : list) {
      if (item.get(text) != simdjson::SUCCESS) return fields.complain("stop", "a list of strings");
      out.emplace_back(text);
    }
  } else {
    return fields.complain("stop", "a string or a list of strings");
  }
  for (const std::string& s : out)
    fields.require(!s.empty(), "stop", "stop cannot contain an empty string.");
}

void read_lengths(Fields& fields, GenerateRequest& request) {
  request.max_tokens = fields.integer("max_tokens");
  if (request.chat)
    if (auto newer = fields.integer("max_completion_tokens")) request.max_tokens = newer;
  if (request.max_tokens)
    fields.require(*request.max_tokens >= 1, "max_tokens",
                   fmt::format("max_tokens must be at least 1, got {}.", *request.max_tokens));
  request.min_tokens = fields.integer("min_tokens").value_or(0);
  fields.require(
      request.min_tokens >= 0, "min_tokens",
      fmt::format("min_tokens must be greater than or equal to 0, got {}.", request.min_tokens));
  if (request.max_tokens)
    fields.require(request.min_tokens <= *request.max_tokens, "min_tokens",
                   fmt::format("min_tokens must be less than or equal to max_tokens={}, got {}.",
                               *request.max_tokens, request.min_tokens));
  fields.read("ignore_eos", request.ignore_eos);
}

void read_sampling(Fields& fields) {
  const std::int64_t n = fields.integer("n").value_or(1);
  fields.require(n >= 1, "n", fmt::format("n must be at least 1, got {}.", n));
  fields.require(n <= 1, "n", "The emulated engine makes one answer per request (n=1).");
  const std::int64_t best_of = fields.integer("best_of").value_or(1);
  fields.require(best_of <= 1, "best_of", "The emulated engine does not support best_of > 1.");
  const double temperature = fields.number("temperature").value_or(1);
  fields.require(temperature >= 0, "temperature",
                 fmt::format("temperature must be non-negative, got {}.", temperature));
  const double top_p = fields.number("top_p").value_or(1);
  fields.require(top_p > 0 && top_p <= 1, "top_p",
                 fmt::format("top_p must be in (0, 1], got {}.", top_p));
  for (const char* name : {"presence_penalty", "frequency_penalty"}) {
    const double penalty = fields.number(name).value_or(0);
    fields.require(penalty >= -2 && penalty <= 2, name,
                   fmt::format("{} must be in [-2, 2], got {}.", name, penalty));
  }
  if (auto logprobs = fields.raw("logprobs")) {
    bool flag = true;
    const bool off = logprobs->get(flag) == simdjson::SUCCESS && !flag;
    fields.require(off, "logprobs", "The emulated engine has no log probabilities to give.");
  }
}

void read_streaming(Fields& fields, GenerateRequest& request) {
  fields.read("stream", request.stream);
  auto options = fields.raw("stream_options");
  if (!options) return;
  fields.require(request.stream, "stream_options",
                 "Stream options can only be defined when `stream=True`.");
  dom::object object;
  if (options->get(object) != simdjson::SUCCESS)
    return fields.complain("stream_options", "a dictionary");
  Fields nested(object);
  nested.read("include_usage", request.include_usage);
  nested.read("continuous_usage_stats", request.continuous_usage_stats);
  if (nested.error()) fields.set(*nested.error());
}

ApiResult<GenerateRequest> parse_generate(std::string_view body, bool chat) {
  dom::parser parser;
  dom::object object;
  if (auto error = parse_object(parser, body, object)) return std::unexpected(std::move(*error));
  Fields fields(object);
  GenerateRequest request;
  request.chat = chat;
  fields.read("model", request.served_model);
  fields.read("cache_salt", request.cache_salt);
  fields.read("request_id", request.request_id);
  fields.read("include_stop_str_in_output", request.include_stop);
  if (!chat) fields.read("echo", request.echo);
  read_lengths(fields, request);
  read_sampling(fields);
  read_streaming(fields, request);
  read_stop(fields, request.stop);
  if (fields.error()) return std::unexpected(*fields.error());

  std::optional<ApiError> error;
  if (chat) {
    bool answer_header = true;
    fields.read("add_generation_prompt", answer_header);
    error = fields.error() ? fields.error() : read_messages(fields, answer_header, request.prompt);
  } else if (auto prompt = fields.raw("prompt")) {
    error = read_prompt(*prompt, 0, request.prompt);
    if (!error && request.prompt.empty())
      error = refused("The prompt is empty: it needs at least one token.", "prompt");
  } else {
    error = refused("Either prompt or prompt_embeds must be provided and non-empty.", "prompt");
  }
  if (error) return std::unexpected(std::move(*error));
  return request;
}

}  // namespace

ApiResult<GenerateRequest> parse_completion(std::string_view body) {
  return parse_generate(body, false);
}

ApiResult<GenerateRequest> parse_chat_completion(std::string_view body) {
  return parse_generate(body, true);
}

ApiResult<TokenizeRequest> parse_tokenize(std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (auto error = parse_object(parser, body, object)) return std::unexpected(std::move(*error));
  Fields fields(object);
  TokenizeRequest request;
  fields.read("model", request.served_model);
  bool answer_header = true;
  fields.read("add_generation_prompt", answer_header);
  std::string text;
  const bool has_text = fields.raw("prompt").has_value();
  fields.read("prompt", text);
  if (fields.error()) return std::unexpected(*fields.error());
  if (has_text) {
    tokenize(text, request.tokens);
  } else if (auto error = read_messages(fields, answer_header, request.tokens)) {
    return std::unexpected(std::move(*error));
  }
  return request;
}

ApiResult<TokenizeRequest> parse_detokenize(std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (auto error = parse_object(parser, body, object)) return std::unexpected(std::move(*error));
  Fields fields(object);
  TokenizeRequest request;
  fields.read("model", request.served_model);
  auto tokens = fields.raw("tokens");
  dom::array list;
  if (!tokens || tokens->get(list) != simdjson::SUCCESS)
    fields.complain("tokens", "a list of token ids");
  if (fields.error()) return std::unexpected(*fields.error());
  if (auto error = read_token_ids(list, "tokens", request.tokens))
    return std::unexpected(std::move(*error));
  return request;
}

}  // namespace lodestar::emulator
