// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 towards one upstream (host:port): a bounded pool of keep-alive
// connections. A pool belongs to one worker; make one per worker and upstream.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"
#include "net/task.h"
#include "net/url.h"

namespace lodestar::net {

struct ClientOptions {
  std::size_t max_connections = 16'384;  // in use and idle; beyond: kUnavailable
  std::size_t max_idle = 256;            // kept for reuse
  DurationNs idle_timeout = 4 * kSecond;  // shorter than uvicorn's 5 s keep-alive
  std::size_t max_header_bytes = 64 * 1024;
  DurationNs connect_timeout = 5 * kSecond;       // name look-up included
  DurationNs write_timeout = 60 * kSecond;        // to hand over the whole request
  DurationNs first_byte_timeout = 600 * kSecond;  // from the request sent to its head
  DurationNs read_timeout = 300 * kSecond;        // between two pieces of the body
};

// Ends a request from outside (same worker; one request at a time uses it): its
// connection is closed at once and the pending await returns kConnection,
// "cancelled". Cancelling is sticky: a request that starts later fails at once.
class Cancel {
 public:
  void cancel();
  bool cancelled() const { return cancelled_; }
  // For the implementation: what to do at cancel(); empty to unset.
  void set_hook(std::function<void()> hook) { hook_ = std::move(hook); }

 private:
  bool cancelled_ = false;
  std::function<void()> hook_;
};

struct RequestOptions {
  // < 0: as in ClientOptions.
  DurationNs connect_timeout = -1, write_timeout = -1, first_byte_timeout = -1, read_timeout = -1;
  TimeNs deadline = kNever;  // for the whole request, the body included
  std::shared_ptr<Cancel> cancel;
  // A pooled connection that the peer had closed meanwhile: try once more on a
  // fresh one. When off, the error comes back with Retry::kOnlyIfReused.
  bool retry_stale = true;

  RequestOptions() = default;
};

// A response whose body arrives. Destroying it gives the connection back when the
// body was read to its end, and closes it otherwise.
class ResponseStream {
 public:
  ResponseStream(ResponseStream&&) noexcept;
  ResponseStream& operator=(ResponseStream&&) noexcept;
  ~ResponseStream();

  const ResponseHead& head() const;
  ResponseHead& head();
  // The next bytes of the body as they come from the network (one read, one
  // delivery; chunk framing removed); empty at the end. Valid until the next call.
  // Errors have source kUpstream: kConnection (cut, cancelled), kTimeout, kProtocol.
  Task<Result<std::string_view>> read_some();
  // True when all bytes of the body have been delivered.
  bool done() const;
  // True when read_some() would return without waiting for the network.
  bool ready();
  // Reads the rest; kTooLarge beyond the limit.
  Task<Result<std::string>> read_all(std::size_t max_bytes = 64 * 1024 * 1024);
  // Closes the connection now; a pending read returns an error.
  void close();

  bool reused() const;  // came over a pooled connection
  TimeNs sent() const;  // when the request had been handed to the kernel
  TimeNs head_at() const;  // when the first byte of the response was read

  struct Impl;
  explicit ResponseStream(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

struct Response {
  ResponseHead head;
  std::string body;
};

class ClientPool {
 public:
  ClientPool(Executor executor, Url upstream, ClientOptions options = {});
  ~ClientPool();  // idle connections close; running requests go on

  // Sends one request and returns when the head of its response has come (1xx are
  // skipped). The target is appended to the URL's base path. Host,
  // Content-Length and Connection are set here (a Host in the head is kept).
  // `body` must stay valid until the call returns. Errors have source kUpstream;
  // retry says: kYes nothing was sent; kOnlyIfReused a pooled connection broke
  // before any byte of the response; kNo it may have been processed.
  Task<Result<ResponseStream>> request(RequestHead head, std::string_view body,
                                       RequestOptions options);
  // request() and read_all().
  Task<Result<Response>> fetch(RequestHead head, std::string_view body, RequestOptions options,
                               std::size_t max_bytes = 64 * 1024 * 1024);

  const Url& upstream() const;
  std::size_t idle() const;
  std::size_t in_use() const;
  void close_idle();

  struct Core;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace lodestar::net
