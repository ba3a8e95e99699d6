// SPDX-License-Identifier: Apache-2.0
// What one streamed answer of an OpenAI endpoint says, event by event: where the
// first content is, how much came, the usage, an error inside the stream.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lodestar::loadgen {

struct StreamTotals {
  std::uint64_t content_events = 0;
  std::optional<std::int64_t> prompt_tokens, completion_tokens, cached_tokens;
  bool done = false;       // [DONE] came
  std::string finish_reason;
  std::string error;       // message of an error event; empty: none
  std::string text;        // all content, if kept
};

class StreamReader {
 public:
  explicit StreamReader(bool keep_text);
  ~StreamReader();
  StreamReader(StreamReader&&) noexcept;

  // The data of one event. True when it carries output: content, reasoning, a
  // tool call, or a completion's text; never a role alone.
  bool event(std::string_view data);
  const StreamTotals& totals() const { return totals_; }
  StreamTotals& totals() { return totals_; }

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  bool keep_text_;
  StreamTotals totals_;
};

// The message of an error body ({"error":{"message":…}} and its relatives), cut
// to a line; the start of the body when it has no such form.
std::string error_message_of(std::string_view body);

// A transport error as one of a few names, so that failures can be counted.
std::string failure_name(const Error& error);

// The first id of a /v1/models answer; empty when there is none.
std::string first_served_model(std::string_view body);

}  // namespace lodestar::loadgen
