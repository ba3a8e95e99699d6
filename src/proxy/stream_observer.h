// SPDX-License-Identifier: Apache-2.0
// Looks at an answer while its bytes pass by unchanged: when the first token came,
// how many came, usage, and whether the end was a proper one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "net/sse.h"
#include "proxy/event_reader.h"

namespace lodestar::proxy {

class StreamObserver {
 public:
  // `sse`: the answer is an event stream; otherwise one JSON document, of which the
  // usage is read at the end if it is not larger than a limit.
  StreamObserver(EventReader& reader, bool sse) : reader_(reader), sse_(sse) {}

  void feed(std::string_view bytes, TimeNs now);
  void end();

  // Content, reasoning and tool deltas; never a role, a comment or a usage chunk.
  std::int64_t content_events() const { return content_events_; }
  TimeNs first_token_at() const { return first_token_at_; }  // 0: none yet
  TimeNs last_token_at() const { return last_token_at_; }
  const Usage& usage() const { return usage_; }
  // Usage when the engine gave it, else the events that were counted.
  std::int64_t output_tokens() const { return usage_.completion_tokens.value_or(content_events_); }
  bool sse() const { return sse_; }
  bool finished() const { return finished_; }  // the stream said that it is complete
  bool error_event() const { return error_; }  // the engine reported an error inside it
  bool saw_events() const { return events_ > 0; }
  bool at_boundary() const { return scanner_.at_boundary(); }

 private:
  EventReader& reader_;
  bool sse_;
  net::SseScanner scanner_;
  std::string body_;  // of an answer that is not a stream
  bool too_large_ = false;
  std::uint64_t events_ = 0;
  std::int64_t content_events_ = 0;
  TimeNs first_token_at_ = 0, last_token_at_ = 0;
  Usage usage_;
  bool finished_ = false, error_ = false;
};

}  // namespace lodestar::proxy
