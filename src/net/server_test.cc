// SPDX-License-Identifier: Apache-2.0
// The server against raw sockets, and against our own client under load.
#include "net/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "net/client.h"
#include "net/test_support.h"

namespace lodestar::net {
namespace {

using testing::LiveRuntime;
using testing::RawSocket;

// What the handlers below share with their test.
struct World {
  std::atomic<int> held{0}, disconnects{0};
  std::atomic<bool> write_failed{false};
  std::string seen_peer;
};

Task<void> hold(World& world, ServerResponse& response) {
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

Task<void> stream(ServerRequest& request, ServerResponse& response) {
  Headers headers{{"content-type", "text/event-stream"}};
  co_await response.start(200, std::move(headers));
  for (int i = 0; i < 5; ++i) {
    const std::string event = "data: " + std::to_string(i) + "\n\n";
    co_await response.write(event);
  }
  co_await response.finish(request.head.query());
}

Task<void> flood(World& world, ServerResponse& response) {
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

Task<void> route(World& world, ServerRequest& request, ServerResponse& response) {
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
    for (int i = 0; i < 2000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }

  World world;
  std::unique_ptr<LiveRuntime> live;
  std::unique_ptr<Server> server;
};

constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

TEST_F(ServerTest, KeepAliveAndPipelining) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(s.send(post("/echo", "hello")));
    EXPECT_TRUE(s.read_until("hello").starts_with("HTTP/1.1 200 OK\r\n"));
  }
  // Three at once, the middle one cut in its body, and one that is answered late.
  ASSERT_TRUE(s.send(post("/slow", "") + post("/echo", "AAA") + post("/echo", "BBBB").substr(0, 53)));
  EXPECT_NE(s.read_until("AAA").find("slow"), std::string::npos);
  ASSERT_TRUE(s.send(post("/echo", "BBBB").substr(53)));
  EXPECT_NE(s.read_until("BBBB").find("BBBB"), std::string::npos);
  EXPECT_EQ(server->stats().accepted, 1u);
  EXPECT_EQ(server->stats().requests, 6u);
}

TEST_F(ServerTest, HeadSplitAtEveryByte) {
  start();
  const std::string text = "\r\n" + post("/echo", "body!", "X-Y: z\r\n");
  RawSocket s = RawSocket::connect(server->port());
  const int one = 1;
  ::setsockopt(s.fd(), IPPROTO_TCP, 1, &one, sizeof one);  // TCP_NODELAY
  for (const char c : text) ASSERT_TRUE(s.send(std::string_view(&c, 1)));
  EXPECT_NE(s.read_until("body!").find("200 OK"), std::string::npos);
  for (std::size_t cut = 1; cut < text.size(); cut += 3) {
    ASSERT_TRUE(s.send(text.substr(0, cut)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_TRUE(s.send(text.substr(cut)));
    ASSERT_NE(s.read_until("body!").find("200 OK"), std::string::npos) << cut;
  }
}

TEST_F(ServerTest, ChunkedRequestBody) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  ASSERT_TRUE(s.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
  ASSERT_TRUE(s.send("4\r\ndefg\r\n0\r\n\r\n" + std::string(kGet)));
  EXPECT_NE(s.read_until("no such path").find("\r\n\r\nabcdefgHTTP/1.1 404"), std::string::npos);
  EXPECT_TRUE(world.seen_peer.starts_with("127.0.0.1:"));
}

TEST_F(ServerTest, BigBodyBothWays) {
  start();
  std::string body;
  while (body.size() < 5'000'000) body += std::to_string(body.size()) + ",";
  std::promise<std::string> got;
  RawSocket s = RawSocket::connect(server->port());
  std::thread reader([&] { got.set_value(s.read_all()); });
  ASSERT_TRUE(s.send(post("/echo", body, "Connection: close\r\n")));
  reader.join();
  const std::string answer = got.get_future().get();
  ASSERT_NE(answer.find("\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(answer.substr(answer.find("\r\n\r\n") + 4) == body);
}

TEST_F(ServerTest, StreamsAreChunkedAndEndProperly) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  ASSERT_TRUE(s.send("GET /stream?end HTTP/1.1\r\nHost: h\r\n\r\n"));
  const std::string got = s.read_until("0\r\n\r\n");
  EXPECT_NE(got.find("transfer-encoding: chunked"), std::string::npos);
  EXPECT_NE(got.find("9\r\ndata: 3\n\n\r\n9\r\ndata: 4\n\n\r\n3\r\nend\r\n0\r\n\r\n"), std::string::npos) << got;
  // HTTP/1.0 has no chunks: the end is the close.
  const std::string old = exchange("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(old.find("connection: close\r\n\r\ndata: 0\n\ndata: 1\n\n"), std::string::npos) << old;
}

TEST_F(ServerTest, HeadHasALengthAndNoBody) {
  start();
  const std::string got = exchange("HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_NE(got.find("content-length: "), std::string::npos);
  EXPECT_TRUE(got.ends_with("\r\n\r\n"));
}

TEST_F(ServerTest, RefusesSmugglingWithAnErrorAndCloses) {
  start();
  for (const char* text :
       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n", "\x16\x03\x01\x02", "POST / HTTP/1.1\r\n\r\n"}) {
    const std::string got = exchange(text);
    EXPECT_TRUE(got.starts_with("HTTP/1.1 400 Bad Request\r\n")) << text << "\n" << got;
    EXPECT_NE(got.find(R"({"error":{"message":")"), std::string::npos);
    EXPECT_NE(got.find("connection: close"), std::string::npos);
    EXPECT_EQ(got.find("}}HTTP/1.1"), std::string::npos) << "a second answer: " << got;
  }
  EXPECT_EQ(server->stats().bad_requests, 7u);
  EXPECT_EQ(server->stats().requests, 0u);
}

TEST_F(ServerTest, Limits) {
  ServerOptions options;
  options.max_header_bytes = 2000;
  options.max_headers = 10;
  options.max_body_bytes = 1000;
  start(options);
  EXPECT_TRUE(exchange("GET /" + std::string(3000, 'a')).starts_with("HTTP/1.1 431"));
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 20; ++i) many += "A: b\r\n";
  EXPECT_TRUE(exchange(many + "\r\n").starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(exchange(post("/echo", std::string(1001, 'b'))).starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(exchange(post("/echo", std::string(3'000'000, 'b'))).starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(exchange("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n" +
                       std::string(1280, 'c'))
                  .starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(exchange(post("/echo", std::string(1000, 'b'), "Connection: close\r\n")).starts_with("HTTP/1.1 200"));
}

TEST_F(ServerTest, ExpectContinue) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  ASSERT_TRUE(s.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
  EXPECT_EQ(s.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(s.send("late"));
  EXPECT_NE(s.read_until("late").find("200 OK"), std::string::npos);
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 4\r\n\r\n")
                  .starts_with("HTTP/1.1 417"));
}

TEST_F(ServerTest, TimeoutsAnswerOrCloseSilently) {
  ServerOptions options;
  options.header_timeout = options.body_timeout = options.idle_timeout = 100 * kMillisecond;
  start(options);
  EXPECT_TRUE(exchange("GET / HT").starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab").starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5").starts_with("HTTP/1.1 408"));
  EXPECT_EQ(exchange(""), "");
  EXPECT_EQ(server->stats().timeouts, 3u);
}

// A head that comes byte by byte must not renew its deadline (slowloris).
TEST_F(ServerTest, DripFedHeadTimesOut) {
  ServerOptions options;
  options.header_timeout = 150 * kMillisecond;
  start(options);
  RawSocket s = RawSocket::connect(server->port());
  std::string answer;
  for (int i = 0; i < 1000 && answer.empty(); ++i) {
    s.send("G");
    answer = s.read_some(20);
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408")) << answer;
}

TEST_F(ServerTest, DisconnectIsSeenWhileTheHandlerWaits) {
  start();
  for (const bool hard : {false, true}) {
    const int held = world.held, gone = world.disconnects;
    RawSocket s = RawSocket::connect(server->port());
    // Bytes of a next request are no disconnect.
    ASSERT_TRUE(s.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /next"));
    wait_for([&] { return world.held == held + 1; });
    EXPECT_EQ(world.disconnects, gone);
    hard ? s.reset() : s.close();
    wait_for([&] { return world.disconnects == gone + 1; });
  }
  wait_for([&] { return server->stats().open_connections == 0; });
  EXPECT_EQ(server->stats().active_requests, 0u);
}

TEST_F(ServerTest, WritesToAGoneOrStuckClientFail) {
  ServerOptions options;
  options.write_timeout = 200 * kMillisecond;
  start(options);
  RawSocket gone = RawSocket::connect(server->port());
  ASSERT_TRUE(gone.send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_FALSE(gone.read_some().empty());
  gone.close();
  wait_for([&] { return world.write_failed.load(); });
  world.write_failed = false;
  RawSocket stuck = RawSocket::connect(server->port());
  ASSERT_TRUE(stuck.send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n"));
  wait_for([&] { return world.write_failed.load(); });
  EXPECT_EQ(server->stats().timeouts, 1u);
}

TEST_F(ServerTest, HandlersThatFailGiveAnErrorOrACut) {
  start();
  EXPECT_TRUE(exchange("GET /throw HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 500"));
  EXPECT_TRUE(exchange("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 500"));
  const std::string cut = exchange("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(cut.ends_with("5\r\nbegin\r\n")) << cut;
  const std::string shorter = exchange("GET /short HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(shorter.ends_with("12345")) << shorter;
}

TEST_F(ServerTest, TooManyConnectionsGet503) {
  ServerOptions options;
  options.max_connections = 2;
  start(options);
  RawSocket a = RawSocket::connect(server->port()), b = RawSocket::connect(server->port());
  for (RawSocket* s : {&a, &b}) {
    ASSERT_TRUE(s->send(kGet));
    EXPECT_NE(s->read_until("}}").find("404"), std::string::npos);
  }
  EXPECT_TRUE(exchange(kGet).starts_with("HTTP/1.1 503"));
  EXPECT_EQ(server->stats().refused, 1u);
  a.close();
  wait_for([&] { return server->stats().open_connections == 1; });
  RawSocket c = RawSocket::connect(server->port());
  ASSERT_TRUE(c.send(kGet));
  EXPECT_NE(c.read_until("}}").find("404"), std::string::npos);
}

TEST_F(ServerTest, DrainClosesIdleFinishesRunningAndAcceptsNothing) {
  start(ServerOptions(), 2);
  RawSocket idle = RawSocket::connect(server->port()), busy = RawSocket::connect(server->port());
  ASSERT_TRUE(idle.send(kGet));
  idle.read_until("}}");
  ASSERT_TRUE(busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"));
  wait_for([&] { return world.held == 1; });
  server->drain(10 * kSecond);
  EXPECT_TRUE(idle.sees_end());
  const std::string answer = busy.read_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("slow"));
  live->get(server->drained());
  EXPECT_EQ(server->stats().open_connections, 0u);
  EXPECT_FALSE(RawSocket::connect(server->port()).ok());
}

TEST_F(ServerTest, DrainCutsWhatOutlivesItsPatience) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  ASSERT_TRUE(s.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
  wait_for([&] { return world.held == 1; });
  server->drain(50 * kMillisecond);
  live->get(server->drained());
  EXPECT_EQ(world.disconnects, 1);
  EXPECT_TRUE(s.sees_end());
  EXPECT_EQ(server->stats().open_connections, 0u);
}

TEST_F(ServerTest, ShutdownWithRequestsInFlightLeaksNothing) {
  start(ServerOptions(), 2);
  std::vector<RawSocket> sockets;
  for (int i = 0; i < 6; ++i) {
    sockets.push_back(RawSocket::connect(server->port()));
    ASSERT_TRUE(sockets.back().send(i % 2 ? "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n" : "GET /ho"));
  }
  wait_for([&] { return world.held == 3; });
  live->halt();
  server.reset();
  live.reset();  // ASan's leak check is the judge
}

Task<int> many(std::shared_ptr<ClientPool> pool, int count, int seed) {
  int good = 0;
  for (int i = 0; i < count; ++i) {
    RequestHead head;
    head.method = "POST";
    head.target = "/echo";
    const std::string body = "request " + std::to_string(seed * 1000 + i);
    RequestOptions options;
    const auto response = co_await pool->fetch(std::move(head), body, std::move(options));
    if (response && response->head.status == 200 && response->body == body) ++good;
  }
  co_return good;
}

Task<void> count_into(std::shared_ptr<ClientPool> pool, int seed, std::atomic<int>& good, std::atomic<int>& left) {
  good += co_await many(pool, 4, seed);
  --left;
}

TEST_F(ServerTest, AThousandConcurrentRequests) {
  start(ServerOptions(), 2);
  Url url;
  url.host = "127.0.0.1";
  url.port = server->port();
  auto pool = std::make_shared<ClientPool>(live->runtime.executor(0), url);
  std::atomic<int> good{0}, left{1000};
  for (int i = 0; i < 1000; ++i) {
    spawn(live->runtime.executor(0), count_into(pool, i, good, left), "test");
  }
  wait_for([&] { return left == 0; });
  EXPECT_EQ(good, 4000);
  EXPECT_LE(server->stats().accepted, 1000u);
  live->halt();
}

TEST(ServerListen, ErrorsAreClear) {
  Runtime runtime;
  ServerOptions options;
  options.address = "nonsense";
  auto bad = Server::listen(runtime, options, nullptr);
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("is not an IP address"), std::string::npos);
  options.address = "127.0.0.1";
  auto first = Server::listen(runtime, options, nullptr);
  ASSERT_TRUE(first);
  testing::RawListener taken;
  options.port = taken.port();
  auto second = Server::listen(runtime, options, nullptr);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("cannot listen on 127.0.0.1:"), std::string::npos);
}

}  // namespace
}  // namespace lodestar::net
