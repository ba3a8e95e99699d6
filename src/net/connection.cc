// SPDX-License-Identifier: Apache-2.0
#include "net/connection.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/log.h"

namespace lodestar::net {

namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string error_answer(int status, std::string_view message) {
  const std::string body = openai_error_body(status, message);
  std::string out;
  write_status_line(out, status, {});
  write_header(out, "content-type", "application/json");
  write_header(out, "content-length", std::to_string(body.size()));
  out += "connection: close\r\n\r\n";
  out += body;
  return out;
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerShared> shared, std::shared_ptr<ServerWorker> worker,
                       Socket socket, std::string peer)
    : shared_(std::move(shared)),
      worker_(std::move(worker)),
      wire_(std::make_shared<Wire>(std::move(socket))),
      peer_(std::move(peer)) {}

Connection::~Connection() {
  if (!registered_) return;
  worker_->connections.erase(this);
  --shared_->counters.open;
  if (shared_->on_closed) shared_->on_closed();
}

void Connection::drain() {
  if (idle_) wire_->close();
}

Task<void> Connection::run(std::shared_ptr<Connection> self) {
  self->registered_ = true;
  self->worker_->connections.insert(self.get());
  Next next = self->worker_->draining ? Next::kClose : Next::kContinue;
  while (next == Next::kContinue) next = co_await self->serve_one();
  if (next == Next::kLinger) co_await self->linger();
  self->wire_->close();
}

Task<void> Connection::refuse(std::shared_ptr<Connection> self) {
  ++self->worker_->refusing;
  const std::string answer = error_answer(503, "too many connections; try again later");
  Wire::Pieces pieces{answer, {}, {}};
  Io status = Io::kOk;
  self->wire_->try_write(pieces, status);
  co_await self->linger();
  self->wire_->close();
  --self->worker_->refusing;
}

// Closing a socket with unread bytes resets the connection, and the reset may
// overtake our last answer. So: say that no more comes, then read for a while.
Task<void> Connection::linger() {
  constexpr std::size_t kMostBytes = 64 * 1024 * 1024;
  wire_->shutdown_send();
  wire_->in().consume(wire_->in().size());
  const TimeNs deadline = now_ns() + 2 * kSecond;
  for (std::size_t seen = 0; seen < kMostBytes;) {
    if (co_await wire_->fill(deadline) != Io::kOk) break;
    seen += wire_->in().size();
    wire_->in().consume(wire_->in().size());
  }
}

// What a failed read means: an error to answer, or an end without an answer.
ParseError Connection::io_error(Io io, const char* timeout_message, Next& next) {
  if (io == Io::kTimeout) {
    ++shared_->counters.timeouts;
    return {408, timeout_message};
  }
  next = Next::kClose;
  return {};
}

Task<ParseError> Connection::read_head(RequestHead& head, Framing& framing, TimeNs& received,
                                       Next& next) {
  const ServerOptions& options = shared_->options;
  const HeadLimits limits{options.max_header_bytes, options.max_headers};
  ReadBuffer& in = wire_->in();
  std::size_t scanned = 0;
  TimeNs deadline = now_ns() + options.idle_timeout;
  for (;;) {
    // Blank lines before a request are tolerated (RFC 9112 §2.2).
    while (scanned == 0 && in.view().starts_with("\r\n")) in.consume(2);
    if (in.size() > 0 && idle_) {
      idle_ = false;
      received = now_ns();
      deadline = received + options.header_timeout;
    }
    const std::string_view bytes = in.view();
    // No method begins like this: TLS on a plain port, or noise.
    if (!bytes.empty() && bytes[0] != '\r' && (bytes[0] < 'A' || bytes[0] > 'z')) {
      co_return ParseError{400, "this is not HTTP/1.1 (TLS on a plain-text port?)"};
    }
    // A lone CR may be half of such a line.
    if (const std::size_t end = bytes == "\r" ? 0 : find_head_end(bytes, scanned)) {
      const ParseError error = parse_request_head(bytes.substr(0, end), limits, head, framing);
      in.consume(end);
      co_return error;
    }
    if (bytes.size() >= limits.max_bytes)
      co_return ParseError{431, "the request head is too large"};
    const Io io = co_await wire_->fill(deadline);
    if (io == Io::kOk) continue;
    if (idle_) {  // nothing was asked: close without a word
      next = Next::kClose;
      co_return ParseError{};
    }
    co_return io_error(io, "the request head did not come in time", next);
  }
}

Task<ParseError> Connection::read_chunked(std::string& body, TimeNs deadline, Next& next) {
  ChunkedDecoder decoder;
  ReadBuffer& in = wire_->in();
  for (;;) {
    if (in.size() > 0) {
      const auto piece = decoder.decode(in.data(), in.size());
      if (body.size() + piece.size > shared_->options.max_body_bytes) {
        co_return ParseError{413, "the request body is too large"};
      }
      body.append(in.data() + piece.begin, piece.size);
      in.consume(piece.consumed);
      if (piece.bad) co_return ParseError{400, decoder.error()};
      if (piece.done) co_return ParseError{};
    }
    const Io io = co_await wire_->fill(deadline);
    if (io != Io::kOk) co_return io_error(io, "the request body did not come in time", next);
  }
}

Task<ParseError> Connection::read_body(const RequestHead& head, Framing framing, std::string& body,
                                       Next& next) {
  const ServerOptions& options = shared_->options;
  if (const std::string* expect = head.headers.find("expect"); expect && head.version_minor >= 1) {
    if (!equal_ignoring_case(*expect, "100-continue")) {
      co_return ParseError{417, "the only expectation understood is 100-continue"};
    }
    if (framing.kind != BodyKind::kNone && wire_->in().size() == 0 &&
        framing.length <= options.max_body_bytes) {
      const Io io = co_await wire_->write({kContinue, {}, {}}, now_ns() + options.write_timeout);
      if (io != Io::kOk) {
        next = Next::kClose;
        co_return ParseError{};
      }
    }
  }
  if (framing.kind == BodyKind::kNone) co_return ParseError{};
  const TimeNs deadline = now_ns() + options.body_timeout;
  if (framing.kind == BodyKind::kChunked) co_return co_await read_chunked(body, deadline, next);
  if (framing.length > options.max_body_bytes) {
    co_return ParseError{413, "the request body is too large"};
  }
  // Not all at once: a length is only a promise.
  const auto length = static_cast<std::size_t>(framing.length);
  body.reserve(std::min<std::size_t>(length, 1024 * 1024));
  const Io io = co_await wire_->read_into(body, length, deadline);
  if (io != Io::kOk) co_return io_error(io, "the request body did not come in time", next);
  co_return ParseError{};
}

Task<Connection::Next> Connection::refuse_request(ParseError error) {
  ++shared_->counters.bad_requests;
  const std::string answer = error_answer(error.status, error.message);
  const Io io = co_await wire_->write(
      {answer, {}, {}},
      now_ns() + std::min<DurationNs>(shared_->options.write_timeout, 5 * kSecond));
  co_return io == Io::kOk ? Next::kLinger : Next::kClose;
}

Task<Connection::Next> Connection::run_handler(ServerRequest& request) {
  Http1Response response(*shared_, *worker_, *wire_, request.head);
  ++shared_->counters.active;
  wire_->watch([this, &response] {
    ++shared_->counters.disconnects;
    response.client_gone();
  });
  bool threw = false;
  try {
    co_await shared_->handler(request, response);
  } catch (const std::exception& e) {
    threw = true;
    log_error("net", std::string("a request handler threw path=") +
                         std::string(request.head.path()) + " what=" + e.what());
  }
  wire_->unwatch();
  response.on_disconnect(nullptr);
  if (!response.started() && !response.disconnected()) {
    const char* message = threw ? "internal error" : "the request was not answered";
    std::string body = openai_error_body(500, message);
    Headers headers{{"content-type", "application/json"}};
    co_await response.send(500, std::move(headers), body);
  }
  --shared_->counters.active;
  if (!response.finished()) response.abort();
  co_return response.keeps() && !worker_->draining ? Next::kContinue : Next::kClose;
}

Task<Connection::Next> Connection::serve_one() {
  ServerRequest request;
  Framing framing;
  Next next = Next::kContinue;
  idle_ = true;
  wire_->in().relax();
  ParseError error = co_await read_head(request.head, framing, request.received, next);
  if (!error && next == Next::kContinue) {
    error = co_await read_body(request.head, framing, request.body, next);
  }
  if (error) co_return co_await refuse_request(error);
  if (next != Next::kContinue) co_return next;
  ++shared_->counters.requests;
  request.peer = peer_;
  request.worker = worker_->index;
  co_return co_await run_handler(request);
}

}  // namespace lodestar::net
