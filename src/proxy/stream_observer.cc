// SPDX-License-Identifier: Apache-2.0
#include "proxy/stream_observer.h"

namespace lodestar::proxy {
namespace {

// Beyond this an answer's usage stays unknown: the copy would cost more than it tells.
constexpr std::size_t kMaxAnswerBytes = 4u << 20;

}  // namespace

void StreamObserver::feed(std::string_view bytes, TimeNs now) {
  if (!sse_) {
    too_large_ = too_large_ || body_.size() + bytes.size() > kMaxAnswerBytes;
    if (!too_large_) body_.append(bytes);
    return;
  }
  scanner_.feed(bytes);
  for (net::SseEvent event; scanner_.next(event);) {
    ++events_;
    const EventFacts facts = reader_.read_event(event.data);
    finished_ = finished_ || facts.finished;
    error_ = error_ || facts.error;
    merge_usage(usage_, facts.usage);
    if (facts.content == 0) continue;
    content_events_ += facts.content;
    if (first_token_at_ == 0) first_token_at_ = now;
    last_token_at_ = now;
  }
}

void StreamObserver::end() {
  if (sse_ || too_large_ || body_.empty()) return;
  usage_ = reader_.read_answer(body_);
}

}  // namespace lodestar::proxy
