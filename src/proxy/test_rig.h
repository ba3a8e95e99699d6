// SPDX-License-Identifier: Apache-2.0
// For tests: engines that do as they are told, and a whole proxy in front of them.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/http1.h"
#include "net/server.h"
#include "net/test_support.h"
#include "proxy/proxy.h"

namespace lodestar::proxy::testing {

using net::testing::RawSocket;

// Waits until `ready` holds; false after 10 s.
inline bool eventually(const std::function<bool()>& ready) {
  for (int i = 0; i < 2000; ++i) {
    if (ready()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

struct Reply {
  int status = 0;
  net::ResponseHead head;
  std::string body;       // without chunk framing
  bool complete = false;  // it ended as its framing says

  std::string header(std::string_view name) const {
    const std::string* v = head.headers.find(name);
    return v != nullptr ? *v : "";
  }
};

inline Reply parse_reply(const std::string& bytes) {
  Reply reply;
  std::size_t scanned = 0;
  const std::size_t end = net::find_head_end(bytes, scanned);
  net::Framing framing;
  if (end == 0 || net::parse_response_head(std::string_view(bytes).substr(0, end), {}, false,
                                           reply.head, framing))
    return reply;
  reply.status = reply.head.status;
  reply.body = bytes.substr(end);
  if (framing.kind == net::BodyKind::kChunked) {
    net::ChunkedDecoder decoder;
    const auto piece = decoder.decode(reply.body.data(), reply.body.size());
    reply.body = reply.body.substr(piece.begin, piece.size);
    reply.complete = piece.done;
  } else {
    reply.complete = reply.body.size() == framing.length;
  }
  return reply;
}

inline std::string request_text(std::string_view method, std::string_view path,
                                std::string_view body, std::string_view headers = "") {
  return std::string(method) + " " + std::string(path) +
         " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + std::string(headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

inline Reply call(std::uint16_t port, std::string_view method, std::string_view path,
                  std::string_view body = "", std::string_view headers = "") {
  RawSocket socket = RawSocket::connect(port);
  if (!socket.send(request_text(method, path, body, headers))) return {};
  return parse_reply(socket.read_all());
}

// An engine with a handler of the test's own for every POST.
class FakeEngine {
 public:
  struct Seen {
    net::RequestHead head;
    std::string body;
  };
  using Script =
      std::function<net::Task<void>(FakeEngine&, net::ServerRequest&, net::ServerResponse&)>;

  FakeEngine(net::Runtime& runtime, Script run, std::vector<std::string> models = {"m"})
      : script(std::move(run)), runtime_(runtime), models_(std::move(models)) {
    server = std::move(*net::Server::listen(
        runtime, {},
        [this](net::ServerRequest& q, net::ServerResponse& r) { return handle(q, r); }));
  }
  ~FakeEngine();  // cuts what is left and waits for its handlers: the runtime must run
  std::uint16_t port() const { return server->port(); }
  std::vector<Seen> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

  Script script;
  std::unique_ptr<net::Server> server;
  std::atomic<int> posts{0}, active{0}, disconnects{0};
  std::atomic<double> process_start{1000};
  std::atomic<int> metrics_status{200}, health_status{200};

 private:
  net::Task<void> handle(net::ServerRequest& request, net::ServerResponse& response) {
    net::Headers headers;
    if (request.head.method == "POST") {
      {
        const std::lock_guard lock(mutex_);
        seen_.push_back({request.head, request.body});
      }
      ++posts;
      ++active;
      co_await script(*this, request, response);
      --active;
      if (response.disconnected()) ++disconnects;
      co_return;
    }
    int status = 200;
    std::string body;
    if (request.head.path() == "/v1/models") {
      body = R"({"object":"list","data":[)";
      for (const std::string& m : models_)
        body += (m == models_.front() ? "" : ",") +
                (R"({"id":")" + m + R"(","object":"model","max_model_len":4096})");
      body += "]}";
    } else if (request.head.path() == "/metrics") {
      status = metrics_status;
      body =
          "process_start_time_seconds 1\nvllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"
          "\nprocess_start_time_seconds " +
          std::to_string(process_start.load()) + "\n";
      body = body.substr(body.find('\n') + 1);
    } else if (request.head.path() == "/health") {
      status = health_status;
    } else {
      status = 404;
    }
    (void)co_await response.send(status, std::move(headers), body);
  }

  net::Runtime& runtime_;
  std::vector<std::string> models_;
  std::mutex mutex_;
  std::vector<Seen> seen_;
};

// A stream of chat chunks: role, n tokens, finish, [DONE].
std::string chat_stream(int tokens, bool usage = false);
FakeEngine::Script streams(std::string text, std::size_t piece = 0);
FakeEngine::Script answers(int status, std::string body);
// Sends the text, then waits for the client to go away.
FakeEngine::Script stalls_after(std::string text);
// Sends the text (nothing at all if empty), then cuts the connection.
FakeEngine::Script dies_after(std::string text);
// Sends the text, then ends the body in order, as if that were all.
FakeEngine::Script ends_after(std::string text);

// Runtime, router, brain, monitor, proxy and server over some engines.
class Rig {
 public:
  struct Options {
    ProxyOptions proxy;
    std::string policy = "least-request";
    int workers = 1;
    bool wait_ready = true;
    control::MonitorOptions monitor;
  };
  explicit Rig(std::vector<std::uint16_t> engine_ports);
  Rig(std::vector<std::uint16_t> engine_ports, Options options);
  ~Rig();

  std::uint16_t port() const { return server->port(); }
  Reply post(std::string_view body, std::string_view headers = "",
             std::string_view path = "/v1/chat/completions") {
    return call(port(), "POST", path, body, headers);
  }
  // Read on the brain's thread.
  RouterCounters counters();
  std::size_t open_leases();
  std::size_t active_requests();
  std::int64_t own_inflight();
  bool idle() { return open_leases() == 0 && active_requests() == 0 && own_inflight() == 0; }

  net::testing::LiveRuntime live;
  std::shared_ptr<ProxyMetrics> metrics;
  std::shared_ptr<Brain> brain;
  std::shared_ptr<control::Monitor> monitor;
  std::shared_ptr<Proxy> proxy;
  std::unique_ptr<net::Server> server;
};

inline constexpr const char* kChat =
    R"({"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]})";
inline constexpr const char* kPlain =
    R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";

}  // namespace lodestar::proxy::testing
