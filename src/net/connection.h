// SPDX-License-Identifier: Apache-2.0
// One accepted connection: reads requests, runs the handler, keeps alive or
// closes. Internal to net/.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "net/http1.h"
#include "net/server.h"
#include "net/wire.h"

namespace lodestar::net {

class Connection;

// The connections of one worker; touched on that worker only.
struct ServerWorker {
  int index = 0;
  Executor executor;
  std::unordered_set<Connection*> connections;
  std::size_t refusing = 0;  // connections being told 503
  bool draining = false;     // finish what runs, start nothing
};

// What the connections of all workers share.
struct ServerShared {
  ServerOptions options;
  Handler handler;
  struct {
    std::atomic<std::uint64_t> accepted{0}, refused{0}, requests{0}, bad_requests{0}, timeouts{0},
        disconnects{0}, accept_errors{0}, open{0}, active{0};
  } counters;
  std::function<void()> on_closed;  // a connection has ended; from any worker
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerShared> shared, std::shared_ptr<ServerWorker> worker,
             Socket socket, std::string peer);
  ~Connection();

  // Serves until the connection ends. Spawned once.
  static Task<void> run(std::shared_ptr<Connection> self);
  // Says 503 and closes: there are too many connections.
  static Task<void> refuse(std::shared_ptr<Connection> self);

  void drain();  // closes if idle; otherwise after the answer at hand
  void close() { wire_->close(); }

 private:
  enum class Next { kContinue, kClose, kLinger };

  Task<Next> serve_one();
  Task<ParseError> read_head(RequestHead& head, Framing& framing, TimeNs& received, Next& next);
  Task<ParseError> read_body(const RequestHead& head, Framing framing, std::string& body,
                             Next& next);
  Task<ParseError> read_chunked(std::string& body, TimeNs deadline, Next& next);
  Task<Next> run_handler(ServerRequest& request);
  Task<Next> refuse_request(ParseError error);
  Task<void> linger();
  ParseError io_error(Io io, const char* timeout_message, Next& next);

  std::shared_ptr<ServerShared> shared_;
  std::shared_ptr<ServerWorker> worker_;
  std::shared_ptr<Wire> wire_;
  std::string peer_;
  bool idle_ = true;       // waits for the first byte of a request
  bool registered_ = false;
};

// The answer to one request.
class Http1Response final : public ServerResponse {
 public:
  Http1Response(ServerShared& shared, const ServerWorker& worker, Wire& wire,
                const RequestHead& request);

  Task<Result<void>> send(int status, Headers headers, std::string_view body) override;
  Task<Result<void>> start(int status, Headers headers, std::string_view first) override;
  Task<Result<void>> write(std::string_view bytes) override;
  Task<Result<void>> finish(std::string_view last) override;
  void abort() override;
  void on_disconnect(std::function<void()> hook) override;
  bool disconnected() const override { return gone_ || wire_.closed(); }
  bool started() const override { return started_; }

  void client_gone();  // the wire says so
  bool finished() const { return finished_; }
  bool keeps() const { return keep_ && finished_; }

 private:
  std::string make_head(int status, const Headers& headers, bool sized, std::uint64_t length);
  Task<Result<void>> put(Wire::Pieces pieces);
  Result<void> count(std::size_t n);

  ServerShared& shared_;
  const ServerWorker& worker_;
  Wire& wire_;
  std::function<void()> hook_;
  bool head_request_, old_;  // HEAD; HTTP/1.0
  bool keep_;
  bool started_ = false, finished_ = false, gone_ = false;
  bool chunked_ = false, sized_ = false, bodyless_ = false;
  std::uint64_t left_ = 0;  // of a sized body
};

}  // namespace lodestar::net
