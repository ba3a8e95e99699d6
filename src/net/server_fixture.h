// SPDX-License-Identifier: Apache-2.0
// What the tests of the server share: a live server whose handler does by path what
// a test needs.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "net/server.h"
#include "net/test_support.h"

namespace lodestar::net::testing {

// What the handlers below share with their test.
struct World {
  std::atomic<int> held{0}, disconnects{0};
  std::atomic<bool> write_failed{false};
  std::string seen_peer;
};

inline Task<void> hold(World& world, ServerResponse& response) {
  Notifier gone(co_await asio::this_coro::executor);
  response.on_disconnect([&] {
    ++world.disconnects;
    gone.notify();
  });
  ++world.held;
  co_await gone.wait(now_ns() + 20 * kSecond);
  response.on_disconnect(nullptr);
  if (!response.disconnected()) co_await response.send(200, Headers(), "held");
}

inline Task<void> stream(ServerRequest& request, ServerResponse& response) {
  Headers headers{{"content-type", "text/event-stream"}};
  co_await response.start(200, std::move(headers));
  for (int i = 0; i < 5; ++i) {
    const std::string event = "data: " + std::to_string(i) + "\n\n";
    co_await response.write(event);
  }
  co_await response.finish(request.head.query());
}

inline Task<void> flood(World& world, ServerResponse& response) {
  co_await response.start(200, Headers());
  const std::string block(256 * 1024, 'x');
  for (int i = 0; i < 4096; ++i) {
    if (auto ok = co_await response.write(block); !ok) {
      world.write_failed = ok.error().source == ErrorSource::kDownstream;
      co_return;
    }
  }
  co_await response.finish();
}

inline Task<void> route(World& world, ServerRequest& request, ServerResponse& response) {
  const std::string_view path = request.head.path();
  if (path == "/echo") {
    Headers headers{{"x-method", request.head.method}};
    co_await response.send(200, std::move(headers), request.body);
  } else if (path == "/hold") {
    co_await hold(world, response);
  } else if (path == "/stream") {
    co_await stream(request, response);
  } else if (path == "/flood") {
    co_await flood(world, response);
  } else if (path == "/throw") {
    throw std::runtime_error("on purpose");
  } else if (path == "/nothing") {
    co_return;
  } else if (path == "/cut") {
    co_await response.start(200, Headers(), "begin");
  } else if (path == "/short") {
    Headers headers{{"content-length", "10"}};
    co_await response.start(200, std::move(headers), "12345");
    co_await response.finish();
  } else if (path == "/slow") {
    ++world.held;
    co_await sleep_for(200 * kMillisecond);
    co_await response.send(200, Headers(), "slow");
  } else {
    world.seen_peer = request.peer;
    co_await response.send(404, Headers(), openai_error_body(404, "no such path"));
  }
}

class ServerTest : public ::testing::Test {
 protected:
  void start(ServerOptions options = ServerOptions(), int workers = 1) {
    live = std::make_unique<LiveRuntime>(workers);
    auto made = Server::listen(live->runtime, options, [this](ServerRequest& q, ServerResponse& r) {
      return route(world, q, r);
    });
    ASSERT_TRUE(made) << made.error().message;
    server = std::move(*made);
  }
  void TearDown() override {
    if (live) live->halt();
  }
  std::string exchange(std::string_view text) {
    RawSocket s = RawSocket::connect(server->port());
    EXPECT_TRUE(s.send(text));
    return s.read_all();
  }
  void wait_for(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000 && !condition(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }

  World world;
  std::unique_ptr<LiveRuntime> live;
  std::unique_ptr<Server> server;
};

inline constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

inline std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

}  // namespace lodestar::net::testing
