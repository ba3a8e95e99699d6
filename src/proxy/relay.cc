// SPDX-License-Identifier: Apache-2.0
// Moves the bytes of an answer to the client, unchanged, and reports what they tell.
#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "proxy/exchange.h"

namespace lodestar::proxy {
namespace {

bool is_event_stream(const net::Headers& headers) {
  const std::string* type = headers.find("content-type");
  return type != nullptr &&
         net::equal_ignoring_case(std::string_view(*type).substr(0, 17), "text/event-stream");
}

}  // namespace

void Exchange::observe_piece(StreamObserver& observer, LeaseId lease) {
  if (observer.first_token_at() == 0) return;
  if (!first_token_sent_) {
    first_token_sent_ = true;
    progress_sent_ = 1;  // the router counts the first token itself
    proxy_.brain()->report(FirstToken{lease});
    worker_->route_metrics(served_model_, api_)
        .ttft_seconds->observe(to_s(observer.first_token_at() - request_.received));
  }
  const std::int64_t fresh = observer.content_events() - progress_sent_;
  if (fresh <= 0 || !proxy_.brain()->wants_progress()) return;
  progress_sent_ += fresh;
  worker_->add_progress(lease, fresh);
}

void Exchange::settle_end(const StreamObserver& observer, LeaseId lease) {
  worker_->drop_progress(lease);
  settled_ = true;
  Ended ended;
  ended.lease = lease;
  ended.output_tokens = observer.output_tokens();
  ended.usage = observer.usage();
  ended.last_token_at = observer.last_token_at();
  proxy_.brain()->finish(ticket_->id, ended);
  if (spare_leases_) proxy_.brain()->report(Aborted{ticket_->id});

  const RouteMetrics& m = worker_->route_metrics(served_model_, api_);
  const TimeNs now = net::now_ns();
  m.e2e_seconds->observe(to_s(now - request_.received));
  if (generates(api_) && !observer.usage().completion_tokens) proxy_.metrics().usage_missing.add();
  m.output_tokens->add(static_cast<std::uint64_t>(observer.output_tokens()));
  m.prompt_tokens->add(static_cast<std::uint64_t>(observer.usage().prompt_tokens.value_or(0)));
  m.cached_tokens->add(static_cast<std::uint64_t>(observer.usage().cached_tokens.value_or(0)));
  if (observer.first_token_at() != 0 && observer.output_tokens() > 1)
    m.tpot_seconds->observe(to_s(observer.last_token_at() - observer.first_token_at()) /
                            static_cast<double>(observer.output_tokens() - 1));
}

void Exchange::settle_cut(LeaseId lease, ErrorCode error) {
  worker_->drop_progress(lease);
  settled_ = true;
  proxy_.brain()->finish(ticket_->id, LeaseFailed{lease, error});
  if (spare_leases_) proxy_.brain()->report(Aborted{ticket_->id});
}

// A well-formed event that official clients raise as an error; never a silent end.
std::string Exchange::error_event(ErrorCode error, bool at_boundary) const {
  const bool late = error == ErrorCode::kTimeout;
  const char* message = late ? "The engine stopped sending in the middle of the answer."
                             : "The engine failed in the middle of the answer.";
  std::string out = at_boundary ? "" : "\n\n";  // ends the event that was cut
  if (api_ == Api::kMessages)
    return out + fmt::format(
                     "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":"
                     "\"api_error\",\"message\":\"{}\"}}}}\n\n",
                     message);
  if (api_ == Api::kResponses)
    return out + fmt::format(
                     "event: error\ndata: {{\"type\":\"error\",\"code\":\"upstream_failed\","
                     "\"message\":\"{}\",\"param\":null}}\n\n",
                     message);
  return out + "data: " +
         net::openai_error_body(late ? 504 : 502, message,
                                late ? "GatewayTimeoutError" : "BadGatewayError",
                                "upstream_failed") +
         "\n\ndata: [DONE]\n\n";
}

net::Task<Exchange::Attempt> Exchange::relay(net::ResponseStream stream, LeaseId lease,
                                             net::Headers headers) {
  const int status = stream.head().status;
  StreamObserver observer(worker_->reader(), is_event_stream(stream.head().headers));
  std::optional<UsageFilter> filter;
  if (inject_usage_ && observer.sse()) {
    filter.emplace(worker_->reader());
    headers.remove("content-length");
  }
  std::optional<ErrorCode> cut;  // the answer broke off
  for (bool last = false; !last;) {
    auto piece = co_await stream.read_some();
    if (!piece) {
      if (response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, lease};
      // Nothing has been sent: another engine may still answer.
      if (!response_.started()) co_return failed(lease, piece.error(), "answer");
      log_warn("proxy", fmt::format("answer cut lease={} request={} error=\"{}\"", lease.value,
                                    ticket_->id.value, piece.error().message));
      cut = piece.error().code;
    }
    std::string_view bytes = piece ? *piece : std::string_view();
    last = cut || bytes.empty() || stream.done();
    observer.feed(bytes, net::now_ns());
    observe_piece(observer, lease);
    if (last && !cut) {
      observer.end();
      // The connection ended in order but the stream did not say so.
      if (observer.sse() && observer.saw_events() && !observer.finished())
        cut = observer.error_event() ? ErrorCode::kUnavailable : ErrorCode::kConnection;
    }
    if (last && !cut && observer.error_event()) {
      settle_cut(lease, ErrorCode::kUnavailable);  // its own error event has told the client
      proxy_.metrics().cut_streams.add();
    } else if (last && !cut) {
      settle_end(observer, lease);
    }
    std::string tail;  // joined bytes, when the network's own are not all there is
    if (filter) bytes = filter->feed(bytes);
    if (last && filter) bytes = tail.append(bytes).append(filter->end());
    if (cut) {
      settle_cut(lease, *cut);
      proxy_.metrics().cut_streams.add();
      if (!observer.sse()) {
        response_.abort();
        co_return Attempt{};
      }
      if (!filter) tail.assign(bytes);
      if (!observer.error_event()) tail += error_event(*cut, observer.at_boundary());
      bytes = tail;
    }
    Result<void> sent;
    if (!response_.started()) {
      if (!last && bytes.empty()) continue;  // held back by the filter
      status_ = status;
      sent = co_await response_.start(status, std::move(headers), bytes);
      if (sent && last) sent = co_await response_.finish();
    } else if (last) {
      sent = co_await response_.finish(bytes);
    } else if (!bytes.empty()) {
      sent = co_await response_.write(bytes);
    }
    if (!sent) co_return Attempt{Attempt::Kind::kGone, lease};
  }
  co_return Attempt{};
}

}  // namespace lodestar::proxy
