// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 server: accepts on worker 0, deals the connections to the workers in
// turn, reads each request completely and calls the handler on the connection's
// worker. Strict by design: what could be read in two ways (both lengths, bare CR
// or LF, folded headers, odd chunk sizes) is refused with an error in OpenAI form
// and the connection is closed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"
#include "net/runtime.h"

namespace lodestar::net {

struct ServerRequest {
  RequestHead head;
  std::string body;       // complete, de-chunked
  std::string_view peer;  // "ip:port" of the client; lives as long as the request
  int worker = 0;
  TimeNs received = 0;  // when its first byte was read
};

// What a handler answers with. An interface, so that handlers can be tested
// without sockets and another protocol version can carry the same handlers.
// All calls come from the handler's worker, one at a time. A failed call means
// that the client is gone (kConnection) or reads too slowly (kTimeout), source
// kDownstream: the handler should stop its work and return.
class ServerResponse {
 public:
  virtual ~ServerResponse() = default;

  // A complete answer; Content-Length is set here.
  virtual Task<Result<void>> send(int status, Headers headers, std::string_view body) = 0;

  // A streamed answer. With a Content-Length header the body is sent as it is
  // and must have that length; otherwise it is chunked (HTTP/1.0: ends by close).
  // The head leaves at once, together with `first` if that is not empty.
  virtual Task<Result<void>> start(int status, Headers headers, std::string_view first = {}) = 0;
  // Returns when the bytes are handed to the kernel (back-pressure). Views must
  // stay valid until then.
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
  // Ends the stream, `last` and the end in one write.
  virtual Task<Result<void>> finish(std::string_view last = {}) = 0;

  // Cuts the connection without a proper end, so that the client can see that
  // the answer is not complete.
  virtual void abort() = 0;

  // Called once, on the worker, as soon as the client has gone while the handler
  // runs; at once if it is already gone. Empty to unset. Bytes of a next request
  // are no disconnect. The hook must not outlive what it refers to: unset it, or
  // let it refer only to what lives until the handler returns.
  virtual void on_disconnect(std::function<void()> hook) = 0;
  virtual bool disconnected() const = 0;
  virtual bool started() const = 0;  // the head has been sent or is being sent
};

// A handler that returns without an answer, or throws, gives a 500 (or a cut
// connection if the head has left).
using Handler = std::function<Task<void>(ServerRequest&, ServerResponse&)>;

struct ServerOptions {
  std::string address = "127.0.0.1";  // a literal; "0.0.0.0" and "::" for all
  std::uint16_t port = 0;             // 0: any free port, see Server::port()
  int listen_fd = -1;                 // >= 0: a listening socket that we inherit and own
  int backlog = 4096;
  std::size_t max_connections = 10'000;  // beyond: 503 and close
  std::size_t max_header_bytes = 32 * 1024;       // beyond: 431
  std::size_t max_headers = 128;                  // beyond: 431
  std::size_t max_body_bytes = 64 * 1024 * 1024;  // beyond: 413
  DurationNs header_timeout = 15 * kSecond;       // from the first byte of a head to its end
  DurationNs body_timeout = 60 * kSecond;         // for the whole body
  DurationNs idle_timeout = 75 * kSecond;         // between requests: closed silently
  DurationNs write_timeout = 60 * kSecond;        // a write that makes no end
};

struct ServerStats {
  std::uint64_t accepted = 0, refused = 0;  // refused: over max_connections
  std::uint64_t requests = 0;
  std::uint64_t bad_requests = 0;  // malformed or over a limit
  std::uint64_t timeouts = 0, disconnects = 0, accept_errors = 0;
  std::uint64_t open_connections = 0, active_requests = 0;
};

class Server {
 public:
  // Binds and starts to accept (connections are served once the runtime runs).
  static Result<std::unique_ptr<Server>> listen(Runtime& runtime, ServerOptions options,
                                                Handler handler);
  // As drain(0). What the handler refers to must live until the runtime has
  // stopped, or until drained() has returned.
  ~Server();

  std::uint16_t port() const;

  // Thread-safe, idempotent: stop accepting, close idle connections, let running
  // requests finish (their connections close after the answer), and cut what is
  // left after `patience`.
  void drain(DurationNs patience);
  // Returns when drain() was called and the last connection is closed. Await it
  // on worker 0.
  Task<void> drained();

  ServerStats stats() const;  // thread-safe

 private:
  struct Core;
  explicit Server(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace lodestar::net
