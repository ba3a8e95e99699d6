// SPDX-License-Identifier: Apache-2.0
// What one event of a stream, or one whole JSON answer, tells: content, usage, end,
// error. Understands chat and completion chunks, the responses API and the
// messages API by their fields, so that the caller need not say which it is.
#pragma once
#include <memory>
#include <string_view>

#include "routing/outcome.h"

namespace lodestar::proxy {

struct EventFacts {
  int content = 0;          // choices with a content, reasoning or tool delta
  bool finished = false;    // the end was said: [DONE], a finish reason, message_stop, ...
  bool error = false;       // the engine reports an error inside the stream
  bool usage_only = false;  // a chunk with usage and no choices
  Usage usage;              // what of it was there
};

// One per worker: keeps its buffers. Not thread-safe.
class EventReader {
 public:
  EventReader();
  ~EventReader();
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;

  // The data of one event. Text that is not JSON says nothing.
  EventFacts read_event(std::string_view data);
  // A whole answer that was not streamed: only its usage counts.
  Usage read_answer(std::string_view body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Values that are there replace those in `into`.
void merge_usage(Usage& into, const Usage& from);

}  // namespace lodestar::proxy
