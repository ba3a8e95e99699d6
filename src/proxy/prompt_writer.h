// SPDX-License-Identifier: Apache-2.0
// Writes the prompt of a parsed body in canonical form (prefix/canonical.h).
// Internal to proxy/parse.
#pragma once
#include <string>

#include "prefix/canonical.h"
#include "proxy/api.h"

namespace simdjson::dom {
class element;
class object;
}  // namespace simdjson::dom

namespace lodestar::proxy {

// The parts of a body that can belong to its prompt. Null: absent.
struct PromptFields {
  const simdjson::dom::element* messages = nullptr;
  const simdjson::dom::element* prompt = nullptr;        // also "input" of embeddings
  const simdjson::dom::element* input = nullptr;
  const simdjson::dom::element* system = nullptr;        // messages API
  const simdjson::dom::element* instructions = nullptr;  // responses API
  const simdjson::dom::element* tools = nullptr;
};

// JSON with sorted keys, plain numbers and no escapes but those of `"` and `\`:
// one text for all ways to write the same value.
void append_canonical_json(std::string& out, const simdjson::dom::element& value);

class PromptWriter {
 public:
  PromptWriter(CanonicalHasher& hasher, std::string_view served_model, std::string_view tenant_salt)
      : hasher_(hasher), served_model_(served_model), salt_(tenant_salt) {}

  void write(const PromptFields& fields);
  // The best that can be done for an API whose body has no known prompt: everything
  // in it that is not a knob, sorted by key.
  void write_whole(const simdjson::dom::object& body);
  bool is_tokens() const { return is_tokens_; }

 private:
  bool write_token_prompt(const simdjson::dom::element& prompt);
  void write_text_prompt(const simdjson::dom::element& prompt);
  void write_messages(const simdjson::dom::element& messages);
  void write_message(const simdjson::dom::element& message);
  void write_content(const simdjson::dom::element& content);
  void write_part(const simdjson::dom::element& part);
  void write_json(const simdjson::dom::element& value);

  CanonicalHasher& hasher_;
  std::string_view served_model_, salt_;
  std::string scratch_;
  bool is_tokens_ = false;
};

}  // namespace lodestar::proxy
