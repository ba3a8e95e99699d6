// SPDX-License-Identifier: Apache-2.0
// The life of a routed request: admission, placement, attempts. The bytes of an
// answer are moved in relay.cc.
#include "proxy/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "proxy/headers.h"
#include "proxy/json_edit.h"

namespace lodestar::proxy {
namespace {

// A refusal is small; an engine that says more than this is cut short by us.
constexpr std::size_t kMaxKeptBody = 1u << 20;

bool may_go_elsewhere(int status) { return status == 429 || (status >= 500 && status != 501); }

std::string retry_after_s(DurationNs wait) {
  return std::to_string(std::max<std::int64_t>(1, (wait + kSecond - 1) / kSecond));
}

Result<std::string> prefill_body(const std::string& body) {
  return edit_json(body, {{"stream", "false"},
                          {"max_tokens", "1"},
                          {"max_completion_tokens", "1", true},
                          {"min_tokens", ""},
                          {"stream_options", ""}});
}

Result<std::string> usage_body(const std::string& body) {
  return edit_json(body, {{"stream_options", R"({"include_usage":true})"}});
}

}  // namespace

Exchange::Exchange(std::shared_ptr<Proxy> proxy, std::shared_ptr<Worker> worker,
                   net::ServerRequest& request, net::ServerResponse& response, Api api)
    : owner_(std::move(proxy)),
      proxy_(*owner_),
      worker_(std::move(worker)),
      request_(request),
      response_(response),
      api_(api),
      link_(std::make_shared<Link>()) {
  const std::string* given = request.head.headers.find("x-request-id");
  request_id_ = given != nullptr && !given->empty() ? *given : worker_->new_request_id();
  if (proxy_.options().request_timeout > 0)
    deadline_ = request.received + proxy_.options().request_timeout;
}

Exchange::~Exchange() {
  response_.on_disconnect({});
  if (ticket_) ticket_->on_cancel = nullptr;
  if (!settled_) {
    if (link_->lease.value != 0) worker_->drop_progress(link_->lease);
    proxy_.brain()->finish(ticket_->id, Aborted{ticket_->id});
    if (response_.disconnected()) proxy_.metrics().aborts.add();
  }
  if (entered_) proxy_.leave();
  const int status = status_ != 0 ? status_ : 499;  // 499: the client left before an answer
  proxy_.metrics().count_request(proxy_.metrics().model_label(served_model_, placed_),
                                 api_name(api_), status);
}

bool Exchange::privileged() const {
  if (proxy_.options().expose_routing) return true;
  const std::string* token = request_.head.headers.find("x-lodestar-admin-token");
  return token != nullptr && equal_secret(*token, proxy_.options().admin_token);
}

Result<ParsedRequest> Exchange::parse() {
  const auto& headers = request_.head.headers;
  const std::string& tenant_header = proxy_.options().tenant_header;
  const std::string* tenant = tenant_header.empty() ? nullptr : headers.find(tenant_header);
  auto parsed = worker_->parser().parse(api_, request_.body, tenant != nullptr ? *tenant : "");
  if (!parsed) return parsed;
  if (tenant != nullptr) parsed->info.tenant = *tenant;
  if (const std::string* session = headers.find("x-session-id");
      session != nullptr && !session->empty())
    parsed->info.session_key = *session;
  exposed_ = privileged();
  for (const net::Header& h : headers) {
    if (!is_internal_header(h.name)) continue;
    if (!exposed_) proxy_.metrics().stripped_headers.add();
    break;
  }
  const std::string* wanted = headers.find("routing-strategy");
  if (exposed_ && wanted != nullptr && !wanted->empty()) {
    if (std::string wrong = proxy_.check_policy(*wanted); !wrong.empty())
      return fail(ErrorCode::kInvalidArgument, "Header routing-strategy: " + wrong,
                  ErrorSource::kDownstream);
    parsed->info.policy = policy_ = *wanted;
  }
  return parsed;
}

net::Task<void> Exchange::run() {
  if (proxy_.draining()) {
    co_return co_await send_unavailable("This router is shutting down.", "draining");
  }
  entered_ = proxy_.enter();
  if (!entered_) {
    proxy_.metrics().over_inflight.add();
    co_return co_await send_unavailable("Too many requests are being served.", "overloaded");
  }
  auto parsed = parse();
  if (!parsed) {
    proxy_.metrics().bad_requests.add();
    status_ = 400;
    co_return co_await send_error(response_, 400, parsed.error().message);
  }
  co_await route(std::move(*parsed));
}

net::Task<void> Exchange::send_unavailable(std::string message, std::string code) {
  status_ = 503;
  net::Headers headers;
  headers.add("Retry-After", "1");
  co_await send_error(response_, 503, std::move(message), "ServiceUnavailableError",
                      std::move(code), std::move(headers));
}

void Exchange::watch_client() {
  // Only what lives on its own: the hook may run after a co_await of ours.
  response_.on_disconnect([ticket = ticket_, link = link_] {
    if (link->cancel) link->cancel->cancel();
    ticket->answer = Abandoned{};
    ticket->ready.notify();
  });
  ticket_->on_cancel = [link = link_](LeaseId lease) {
    if (link->lease != lease || !link->cancel) return;
    link->cancel->cancel();
  };
}

net::Task<void> Exchange::route(ParsedRequest parsed) {
  served_model_ = parsed.info.served_model;
  wants_usage_ = parsed.wants_usage;
  stream_ = parsed.info.stream;
  ticket_ = proxy_.brain()->open_ticket(worker_->executor());
  settled_ = false;
  watch_client();
  const TimeNs patience = std::min(deadline_, request_.received + proxy_.options().hold_timeout);
  Answer answer = co_await proxy_.brain()->submit(ticket_, std::move(parsed.info), patience);
  while (true) {
    if (const auto* gone = std::get_if<Abandoned>(&answer)) {
      if (!gone->timed_out) co_return;  // the client is gone: ~Exchange tells the router
      settled_ = true;
      co_return co_await send_unavailable("No instance became free in time.", "hold_timeout");
    }
    if (const auto* reject = std::get_if<Reject>(&answer)) {
      settled_ = true;
      co_return co_await send_reject(*reject);
    }
    placed_ = true;
    const Dispatch dispatch = std::get<Dispatch>(std::move(answer));
    const Attempt result = co_await attempt(dispatch);
    if (result.kind != Attempt::Kind::kFailed) co_return;
    proxy_.metrics().upstream_errors.add();
    if (response_.disconnected()) co_return;
    // A request that may have been processed for minutes is not safe to repeat.
    const bool late = net::now_ns() >= deadline_;  // no time left for another attempt
    if (late || (result.error == ErrorCode::kTimeout && last_error_.retry != Retry::kYes)) {
      settle_cut(result.lease, result.error);
      co_return co_await send_failure();
    }
    const TimeNs until = std::min(deadline_, net::now_ns() + proxy_.options().hold_timeout);
    answer = co_await proxy_.brain()->retry(ticket_, result.lease, result.error, until);
    if (std::holds_alternative<Dispatch>(answer)) proxy_.metrics().retries.add();
  }
}

net::Task<void> Exchange::send_reject(Reject reject) {
  net::Headers headers;
  if (reject.retry_after > 0) headers.add("Retry-After", retry_after_s(reject.retry_after));
  switch (reject.reason) {
    case RejectReason::kUnknownModel:
      status_ = 404;
      co_return co_await send_error(
          response_, 404,
          fmt::format("The model `{}` does not exist.", served_model_.substr(0, 256)),
          "NotFoundError", "model_not_found", std::move(headers));
    case RejectReason::kTooLong:
      status_ = 400;
      co_return co_await send_error(
          response_, 400, "The prompt is longer than the context of every instance.",
          "BadRequestError", "context_length_exceeded", std::move(headers));
    case RejectReason::kNoInstance:
      status_ = 503;
      co_return co_await send_error(response_, 503, "No instance is ready to serve this model.",
                                    "ServiceUnavailableError", "no_instance", std::move(headers));
    case RejectReason::kPolicy:
      status_ = 429;
      co_return co_await send_error(response_, 429, "The router is not taking this request now.",
                                    "RateLimitError", "rejected", std::move(headers));
    case RejectReason::kAttemptsExhausted:
      co_return co_await send_failure();
  }
}

// After the last attempt: an engine's own words if there are any, else ours.
net::Task<void> Exchange::send_failure() {
  if (kept_) {
    status_ = kept_->status;
    (void)co_await response_.send(kept_->status, client_headers(kept_->headers, request_id_),
                                  kept_->body);
    co_return;
  }
  const bool late = last_error_.code == ErrorCode::kTimeout;
  status_ = late ? 504 : 502;
  net::Headers headers;
  if (!late) headers.add("Retry-After", "1");
  co_await send_error(
      response_, status_,
      late ? "The engine did not answer in time." : "The engine failed before it answered.",
      late ? "GatewayTimeoutError" : "BadGatewayError", "upstream_failed", std::move(headers));
}

Exchange::Attempt Exchange::failed(LeaseId lease, const Error& error, const char* what) {
  last_error_ = error;
  // The engine's words may quote the prompt: only our own error text is logged.
  log_warn("proxy", fmt::format("attempt failed step={} lease={} request={} error=\"{}\"", what,
                                lease.value, ticket_->id.value, error.message));
  return {Attempt::Kind::kFailed, lease, error.code};
}

net::Task<Exchange::Attempt> Exchange::attempt(const Dispatch& dispatch) {
  kept_.reset();
  const auto answering = std::find_if(dispatch.placements.begin(), dispatch.placements.end(),
                                      [](const Placement& p) { return p.role != Role::kPrefill; });
  spare_leases_ = dispatch.placements.end() - answering > 1;
  for (const Placement& placement : dispatch.placements) {
    if (placement.role == Role::kPrefill) {
      Attempt step = co_await prefill(placement);
      if (step.kind != Attempt::Kind::kAnswered) co_return step;
      continue;
    }
    co_return co_await full(placement, dispatch);
  }
  // Only prefill placements: a policy's mistake. No lease is open that could fail.
  last_error_ = {ErrorCode::kInternal, ErrorSource::kInternal, Retry::kNo, "no placement answers"};
  co_await send_failure();
  co_return Attempt{Attempt::Kind::kDone, dispatch.placements.back().lease};
}

net::Task<Result<net::ResponseStream>> Exchange::send_upstream(Placement placement,
                                                               std::string_view body) {
  const control::EngineTarget* target = proxy_.target(placement.instance);
  if (target == nullptr)
    co_return fail(ErrorCode::kUnavailable, "the instance has left", ErrorSource::kUpstream,
                   Retry::kYes);
  link_->cancel = std::make_shared<net::Cancel>();
  link_->lease = placement.lease;
  if (response_.disconnected()) link_->cancel->cancel();
  net::RequestHead head = upstream_head(request_.head, request_id_);
  if (!target->api_key.empty()) head.headers.set("Authorization", "Bearer " + target->api_key);
  if (placement.dp_rank >= 0)
    head.headers.set("X-data-parallel-rank", std::to_string(placement.dp_rank));
  net::RequestOptions options;
  options.deadline = deadline_;
  options.cancel = link_->cancel;
  co_return co_await worker_->pool(*target).request(std::move(head), body, std::move(options));
}

// The prompt alone, one token long, on the prefill instance: its answer is dropped, its
// cache is what we want.
net::Task<Exchange::Attempt> Exchange::prefill(Placement placement) {
  const bool known = api_ == Api::kChat || api_ == Api::kCompletions;
  auto body = prefill_body(request_.body);
  if (!known || !body) {  // nothing to warm up: the decode instance does all of it
    proxy_.brain()->report(Ended{placement.lease, 0, {}, 0});
    co_return Attempt{};
  }
  auto stream = co_await send_upstream(placement, *body);
  if (!stream) {
    if (response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, placement.lease};
    co_return failed(placement.lease, stream.error(), "prefill");
  }
  const int status = stream->head().status;
  auto answer = co_await stream->read_all(kMaxKeptBody);
  if (!answer && response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, placement.lease};
  if (!answer) co_return failed(placement.lease, answer.error(), "prefill");
  if (status != 200) {
    kept_ = KeptAnswer{status, stream->head().headers, std::move(*answer)};
    Error error{ErrorCode::kUnavailable, ErrorSource::kUpstream, Retry::kNo,
                fmt::format("status {}", status)};
    if (may_go_elsewhere(status)) co_return failed(placement.lease, error, "prefill");
    co_await send_failure();  // the request is wrong, not the engine
    co_return Attempt{Attempt::Kind::kDone, placement.lease};
  }
  const Usage usage = worker_->reader().read_answer(*answer);
  proxy_.brain()->report(Ended{placement.lease, usage.completion_tokens.value_or(1), usage, 0});
  co_return Attempt{};
}

net::Task<Exchange::Attempt> Exchange::full(Placement placement, const Dispatch& dispatch) {
  progress_sent_ = 0;
  first_token_sent_ = false;
  std::string edited;
  inject_usage_ = proxy_.options().usage_injection && stream_ && !wants_usage_ &&
                  (api_ == Api::kChat || api_ == Api::kCompletions);
  if (inject_usage_) {
    auto body = usage_body(request_.body);
    inject_usage_ = body.has_value();
    if (body) edited = std::move(*body);
  }
  auto stream = co_await send_upstream(placement, inject_usage_ ? edited : request_.body);
  if (!stream) {
    if (response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, placement.lease};
    co_return failed(placement.lease, stream.error(), "request");
  }
  const int status = stream->head().status;
  net::Headers headers = answer_headers(stream->head().headers, placement, dispatch);
  if (may_go_elsewhere(status)) co_return co_await keep_answer(std::move(*stream), placement.lease);
  if (status >= 400) co_return co_await pass_refusal(std::move(*stream), std::move(headers));
  co_return co_await relay(std::move(*stream), placement.lease, std::move(headers));
}

net::Headers Exchange::answer_headers(const net::Headers& upstream, const Placement& placement,
                                      const Dispatch& dispatch) const {
  net::Headers headers = client_headers(upstream, request_id_);
  if (!exposed_) return headers;
  const control::EngineTarget* target = proxy_.target(placement.instance);
  const auto& own = proxy_.options().policy_by_model;
  const auto it = own.find(served_model_);
  const std::string& usual = it != own.end() ? it->second : proxy_.options().default_policy;
  headers.set("x-lodestar-instance", target != nullptr ? target->name : "");
  headers.set("x-lodestar-policy", policy_.empty() ? usual : policy_);
  headers.set("x-lodestar-attempt", std::to_string(dispatch.attempt));
  headers.set("x-lodestar-prompt-tokens", fmt::format("{:.0f}", dispatch.prompt_tokens));
  headers.set("x-lodestar-hit-tokens", fmt::format("{:.0f}", dispatch.hit_tokens));
  if (dispatch.forecast.ttft_ms > 0)
    headers.set("x-lodestar-predicted-ttft-ms", fmt::format("{:.1f}", dispatch.forecast.ttft_ms));
  if (!dispatch.reason.empty()) headers.set("x-lodestar-reason", dispatch.reason);
  return headers;
}

// A status that another engine may not give: kept in case that none does better.
net::Task<Exchange::Attempt> Exchange::keep_answer(net::ResponseStream stream, LeaseId lease) {
  const int status = stream.head().status;
  auto body = co_await stream.read_all(kMaxKeptBody);
  if (!body && response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, lease};
  if (body) kept_ = KeptAnswer{status, stream.head().headers, std::move(*body)};
  Error error{ErrorCode::kUnavailable, ErrorSource::kUpstream, Retry::kNo,
              fmt::format("status {}", status)};
  co_return failed(lease, error, "answer");
}

// The engine finds the request wrong: its answer passes through, and says nothing of
// the instance (~Exchange aborts the lease: disposition "ignore").
net::Task<Exchange::Attempt> Exchange::pass_refusal(net::ResponseStream stream,
                                                    net::Headers headers) {
  status_ = stream.head().status;
  auto body = co_await stream.read_all(kMaxKeptBody);
  if (!body) {
    if (response_.disconnected()) co_return Attempt{Attempt::Kind::kGone, link_->lease};
    co_return failed(link_->lease, body.error(), "answer");
  }
  (void)co_await response_.send(status_, std::move(headers), *body);
  co_return Attempt{};
}

}  // namespace lodestar::proxy
