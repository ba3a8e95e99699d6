// SPDX-License-Identifier: Apache-2.0
// The server: requests in every form that is right, load, drain, shutdown.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "net/client.h"
#include "net/server_fixture.h"

namespace lodestar::net {
namespace {

using testing::kGet;
using testing::post;
using testing::RawSocket;
using testing::ServerTest;

TEST_F(ServerTest, KeepAliveAndPipelining) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(s.send(post("/echo", "hello")));
    EXPECT_TRUE(s.read_until("hello").starts_with("HTTP/1.1 200 OK\r\n"));
  }
  // Three at once, the middle one cut in its body, and one that is answered late.
  ASSERT_TRUE(
      s.send(post("/slow", "") + post("/echo", "AAA") + post("/echo", "BBBB").substr(0, 53)));
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
  ASSERT_TRUE(
      s.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
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
  EXPECT_NE(got.find("9\r\ndata: 3\n\n\r\n9\r\ndata: 4\n\n\r\n3\r\nend\r\n0\r\n\r\n"),
            std::string::npos)
      << got;
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

TEST_F(ServerTest, ExpectContinue) {
  start();
  RawSocket s = RawSocket::connect(server->port());
  ASSERT_TRUE(s.send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
  EXPECT_EQ(s.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(s.send("late"));
  EXPECT_NE(s.read_until("late").find("200 OK"), std::string::npos);
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 4\r\n\r\n")
                  .starts_with("HTTP/1.1 417"));
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

Task<void> count_into(std::shared_ptr<ClientPool> pool, int seed, std::atomic<int>& good,
                      std::atomic<int>& left) {
  good += co_await many(pool, 4, seed);
  --left;
}

TEST_F(ServerTest, AThousandConcurrentRequests) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 2200) GTEST_SKIP() << "needs 2200 file descriptors: raise ulimit -n";
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
