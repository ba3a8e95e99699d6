// SPDX-License-Identifier: Apache-2.0
#include "proxy/usage_filter.h"

#include "net/sse.h"

namespace lodestar::proxy {
namespace {

constexpr std::size_t kMaxHeld = 1u << 20;  // beyond, an event is surely no usage chunk

// The position behind the blank line that ends the first event in `s`, or 0. A CR at
// the very end may be half of a CRLF, so it does not count as a line end yet.
std::size_t event_end(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const std::size_t end = s.find_first_of("\r\n", i);
    if (end == std::string_view::npos) return 0;
    std::size_t next = end + 1;
    if (s[end] == '\r') {
      if (next == s.size()) return 0;
      if (s[next] == '\n') ++next;
    }
    if (end == i) return next;
    i = next;
  }
  return 0;
}

}  // namespace

void UsageFilter::pass_event(std::string_view raw) {
  net::SseScanner scanner;
  scanner.feed(raw);
  bool drop = false;
  for (net::SseEvent event; scanner.next(event);)
    drop = drop || reader_.read_event(event.data).usage_only;
  if (!drop) out_.append(raw);
}

std::string_view UsageFilter::feed(std::string_view bytes) {
  out_.clear();
  held_.append(bytes);
  std::size_t begin = 0;
  while (begin < held_.size()) {
    const std::string_view rest = std::string_view(held_).substr(begin);
    const std::size_t size = event_end(rest);
    if (size == 0) break;
    pass_event(rest.substr(0, size));
    begin += size;
  }
  held_.erase(0, begin);
  if (held_.size() > kMaxHeld) {
    out_.append(held_);
    held_.clear();
  }
  return out_;
}

std::string_view UsageFilter::end() {
  out_ = std::move(held_);
  held_.clear();
  return out_;
}

}  // namespace lodestar::proxy
