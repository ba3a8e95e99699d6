// SPDX-License-Identifier: Apache-2.0
// Takes the usage chunk that we asked for out of a stream again, because the client
// did not ask. Every other byte passes unchanged; an event is held back only until its
// blank line has come.
#pragma once
#include <string>
#include <string_view>

#include "proxy/event_reader.h"

namespace lodestar::proxy {

class UsageFilter {
 public:
  explicit UsageFilter(EventReader& reader) : reader_(reader) {}

  // What may go to the client now; valid until the next call.
  std::string_view feed(std::string_view bytes);
  // At the end of the stream: what is still held.
  std::string_view end();

 private:
  void pass_event(std::string_view raw);

  EventReader& reader_;
  std::string held_;       // the event that is not complete yet
  std::string out_;
};

}  // namespace lodestar::proxy
