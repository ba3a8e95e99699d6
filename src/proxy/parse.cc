// SPDX-License-Identifier: Apache-2.0
#include "proxy/parse.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "proxy/prompt_writer.h"

namespace lodestar::proxy {
namespace {

namespace dom = simdjson::dom;

// A parser that has seen a huge body gives its memory back.
constexpr std::size_t kKeepCapacity = 4u << 20;

std::unexpected<Error> bad_request(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message), ErrorSource::kDownstream);
}

// What a JSON error means to whoever wrote the body.
std::string json_error_text(simdjson::error_code code, std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return "The request body is empty; a JSON object is expected.";
  return fmt::format("The request body is not valid JSON: {}", simdjson::error_message(code));
}

// The top level of a body, as far as it matters here. Elements live as long as
// the parsed document.
struct TopLevel {
  std::optional<dom::element> served_model, messages, prompt, input, system, instructions, tools;
  std::optional<dom::element> stream, stream_options, user, cache_key;
  std::optional<dom::element> max_tokens, max_completion_tokens, max_output_tokens;

  // A repeated key: the last value counts, as it does for Python's json.
  void take(std::string_view key, const dom::element& value) {
    if (key == "model")
      served_model = value;
    else if (key == "messages")
      messages = value;
    else if (key == "prompt")
      prompt = value;
    else if (key == "input")
      input = value;
    else if (key == "system")
      system = value;
    else if (key == "instructions")
      instructions = value;
    else if (key == "tools")
      tools = value;
    else if (key == "stream")
      stream = value;
    else if (key == "stream_options")
      stream_options = value;
    else if (key == "user")
      user = value;
    else if (key == "prompt_cache_key")
      cache_key = value;
    else if (key == "max_tokens")
      max_tokens = value;
    else if (key == "max_completion_tokens")
      max_completion_tokens = value;
    else if (key == "max_output_tokens")
      max_output_tokens = value;
  }
};

const dom::element* pointer(const std::optional<dom::element>& value) {
  return value ? &*value : nullptr;
}

bool is_true(const std::optional<dom::element>& value) {
  return value && value->is_bool() && bool(*value);
}

std::int64_t output_cap(const TopLevel& top) {
  for (const auto& value : {top.max_completion_tokens, top.max_output_tokens, top.max_tokens})
    if (value && value->is_int64()) return std::max<std::int64_t>(0, std::int64_t(*value));
  return 0;
}

std::string session_of(const TopLevel& top) {
  for (const auto& value : {top.cache_key, top.user})
    if (value && value->is_string()) return std::string(std::string_view(*value));
  return {};
}

bool wants_usage(Api api, const TopLevel& top) {
  if (api == Api::kMessages || api == Api::kResponses) return true;  // it always comes
  if (!top.stream_options || !top.stream_options->is_object()) return false;
  bool value = false;
  const auto found = (*top.stream_options)["include_usage"].get(value);
  return found == simdjson::SUCCESS && value;
}

PromptFields prompt_fields(Api api, const TopLevel& top) {
  PromptFields fields;
  switch (api) {
    case Api::kChat:
      fields.messages = pointer(top.messages);
      break;
    case Api::kMessages:
      fields.system = pointer(top.system);
      fields.messages = pointer(top.messages);
      break;
    case Api::kResponses:
      fields.instructions = pointer(top.instructions);
      fields.input = pointer(top.input);
      break;
    case Api::kCompletions:
      fields.prompt = pointer(top.prompt);
      break;
    case Api::kEmbeddings:
      fields.prompt = pointer(top.input);
      break;
    case Api::kTokenize:
      fields.prompt = pointer(top.prompt);
      fields.messages = pointer(top.messages);
      break;
    case Api::kRerank:
    case Api::kScore:
      break;
  }
  if (api != Api::kEmbeddings && api != Api::kCompletions) fields.tools = pointer(top.tools);
  return fields;
}

bool any(const PromptFields& f) {
  return f.messages != nullptr || f.prompt != nullptr || f.input != nullptr ||
         f.system != nullptr || f.instructions != nullptr;
}

}  // namespace

struct BodyParser::Impl {
  explicit Impl(const ParseOptions& options) : hasher(options.hash_key, options.block_bytes) {}
  dom::parser parser;
  CanonicalHasher hasher;

  void write_prompt(Api api, const TopLevel& top, const dom::object& body,
                    std::string_view tenant_salt, RequestInfo& info) {
    PromptWriter writer(hasher, info.served_model, tenant_salt);
    const PromptFields fields = prompt_fields(api, top);
    if (any(fields)) {
      writer.write(fields);
    } else {
      writer.write_whole(body);
    }
    info.block_hashes = hasher.take_hashes();
    if (writer.is_tokens()) {  // exact: nothing to estimate
      info.prompt_tokens = static_cast<double>(hasher.tokens());
      info.block_tokens =
          static_cast<double>(hasher.block_bytes() / CanonicalHasher::kBytesPerToken);
    } else {
      info.prompt_bytes = hasher.bytes();
      info.block_bytes = static_cast<std::int64_t>(hasher.block_bytes());
    }
  }
};

BodyParser::BodyParser(ParseOptions options) : impl_(std::make_unique<Impl>(options)) {}
BodyParser::~BodyParser() = default;

Result<ParsedRequest> BodyParser::parse(Api api, std::string& body, std::string_view tenant_salt) {
  if (impl_->parser.capacity() > kKeepCapacity) impl_->parser = dom::parser();
  // Reading past the end up to the padding is how the scan is fast.
  body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  dom::element root;
  const auto code =
      impl_->parser.parse(body.data(), body.size(), /*realloc_if_needed=*/false).get(root);
  if (code != simdjson::SUCCESS) return bad_request(json_error_text(code, body));
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS)
    return bad_request("The request body must be a JSON object.");
  TopLevel top;
  for (auto field : object) top.take(field.key, field.value);
  if (!top.served_model || top.served_model->is_null())
    return bad_request("The request names no model: the field `model` is missing.");
  if (!top.served_model->is_string()) return bad_request("The field `model` must be a string.");

  ParsedRequest out;
  out.api = api;
  out.info.served_model = std::string(std::string_view(*top.served_model));
  if (out.info.served_model.empty()) return bad_request("The field `model` is empty.");
  out.info.stream = is_true(top.stream) && generates(api);
  out.info.max_output_tokens = output_cap(top);
  out.info.session_key = session_of(top);
  out.wants_usage = wants_usage(api, top);
  impl_->write_prompt(api, top, object, tenant_salt, out.info);
  return out;
}

}  // namespace lodestar::proxy
