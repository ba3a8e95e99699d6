// SPDX-License-Identifier: Apache-2.0
// The answer of a handler on the wire.
#include <charconv>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "net/connection.h"

namespace lodestar::net {

namespace {

std::unexpected<Error> client_error(Io io) {
  if (io == Io::kTimeout) {
    return fail(ErrorCode::kTimeout, "the client does not read its answer",
                ErrorSource::kDownstream);
  }
  return fail(ErrorCode::kConnection, "the client is gone", ErrorSource::kDownstream);
}

}  // namespace

Http1Response::Http1Response(ServerShared& shared, const ServerWorker& worker, Wire& wire,
                             const RequestHead& request)
    : shared_(shared),
      worker_(worker),
      wire_(wire),
      head_request_(request.method == "HEAD"),
      old_(request.version_minor == 0),
      keep_(request.keep_alive) {}

std::string Http1Response::make_head(int status, const Headers& headers, bool sized,
                                     std::uint64_t length) {
  bodyless_ = head_request_ || status < 200 || status == 204 || status == 304;
  sized_ = sized;
  chunked_ = !sized && !old_;
  left_ = length;
  if (worker_.draining || headers.has_token("connection", "close")) keep_ = false;
  // Without a length and without chunks, closing is how the body ends.
  if (!sized && old_ && !bodyless_) keep_ = false;
  std::string head;
  head.reserve(256);
  write_status_line(head, status, {});
  for (const Header& h : headers) {
    if (equal_ignoring_case(h.name, "content-length") ||
        equal_ignoring_case(h.name, "connection") ||
        equal_ignoring_case(h.name, "transfer-encoding")) {
      continue;
    }
    write_header(head, h.name, h.value);
  }
  if (status >= 200 && status != 204) {
    if (sized) {
      write_header(head, "content-length", std::to_string(length));
    } else if (chunked_ && status != 304) {
      head += "transfer-encoding: chunked\r\n";
    }
  }
  if (!keep_) {
    head += "connection: close\r\n";
  } else if (old_) {
    head += "connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

Task<Result<void>> Http1Response::put(Wire::Pieces pieces) {
  Io status = Io::kOk;
  if (gone_) co_return client_error(Io::kReset);
  if (wire_.try_write(pieces, status)) co_return Result<void>();
  if (status == Io::kOk) {
    status = co_await wire_.write(pieces, now_ns() + shared_.options.write_timeout);
    if (status == Io::kOk) co_return Result<void>();
  }
  keep_ = false;
  if (status == Io::kTimeout) ++shared_.counters.timeouts;
  wire_.close();
  co_return client_error(status);
}

Task<Result<void>> Http1Response::send(int status, Headers headers, std::string_view body) {
  LODESTAR_CHECK(!started_);
  started_ = finished_ = true;
  // A HEAD is answered with the length that a GET would have had.
  std::uint64_t length = body.size();
  if (head_request_ && body.empty()) {
    if (const std::string* text = headers.find("content-length")) {
      std::from_chars(text->data(), text->data() + text->size(), length);
    }
  }
  const std::string head = make_head(status, headers, true, length);
  if (bodyless_) body = {};
  co_return co_await put({head, body, {}});
}

// A sized body must have its size: more or less would break the next answer.
Result<void> Http1Response::count(std::size_t n) {
  if (!sized_ || bodyless_) return {};
  if (n <= left_) {
    left_ -= n;
    return {};
  }
  abort();
  return fail(ErrorCode::kInternal, "the body is longer than its Content-Length");
}

Task<Result<void>> Http1Response::start(int status, Headers headers, std::string_view first) {
  LODESTAR_CHECK(!started_);
  started_ = true;
  std::uint64_t length = 0;
  const std::string* text = headers.find("content-length");
  const bool sized =
      text != nullptr &&
      std::from_chars(text->data(), text->data() + text->size(), length).ec == std::errc();
  std::string head = make_head(status, headers, sized, length);
  if (bodyless_) first = {};
  if (auto ok = count(first.size()); !ok) co_return ok;
  if (first.empty() || !chunked_) co_return co_await put({head, first, {}});
  char size[24];
  const int n = std::snprintf(size, sizeof size, "%zx\r\n", first.size());
  head.append(size, static_cast<std::size_t>(n));
  co_return co_await put({head, first, "\r\n"});
}

Task<Result<void>> Http1Response::write(std::string_view bytes) {
  LODESTAR_CHECK(started_ && !finished_);
  if (bytes.empty() || bodyless_) {
    if (disconnected()) co_return client_error(Io::kReset);
    co_return Result<void>();
  }
  if (auto ok = count(bytes.size()); !ok) co_return ok;
  if (!chunked_) co_return co_await put({bytes, {}, {}});
  char size[24];
  const int n = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  co_return co_await put({std::string_view(size, static_cast<std::size_t>(n)), bytes, "\r\n"});
}

Task<Result<void>> Http1Response::finish(std::string_view last) {
  LODESTAR_CHECK(started_ && !finished_);
  if (bodyless_) last = {};
  if (auto ok = count(last.size()); !ok) co_return ok;
  if (sized_ && !bodyless_ && left_ > 0) {
    abort();
    co_return fail(ErrorCode::kInternal, "the body is shorter than its Content-Length");
  }
  finished_ = true;
  if (!chunked_ || bodyless_) co_return co_await put({last, {}, {}});
  if (last.empty()) co_return co_await put({"0\r\n\r\n", {}, {}});
  char size[24];
  const int n = std::snprintf(size, sizeof size, "%zx\r\n", last.size());
  co_return co_await put(
      {std::string_view(size, static_cast<std::size_t>(n)), last, "\r\n0\r\n\r\n"});
}

void Http1Response::abort() {
  keep_ = false;
  // Where closing is the regular end of the body, only a reset shows the cut.
  const bool ends_by_close = started_ && !chunked_ && !sized_;
  wire_.close(ends_by_close);
}

void Http1Response::on_disconnect(std::function<void()> hook) {
  if (gone_) {
    if (hook) hook();
    return;
  }
  hook_ = std::move(hook);
}

void Http1Response::client_gone() {
  gone_ = true;
  keep_ = false;
  if (const auto hook = std::exchange(hook_, nullptr)) hook();
}

}  // namespace lodestar::net
