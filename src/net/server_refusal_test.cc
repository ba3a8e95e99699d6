// SPDX-License-Identifier: Apache-2.0
// The server against clients that are wrong, slow, too many, or gone.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "net/server_fixture.h"

namespace lodestar::net {
namespace {

using testing::kGet;
using testing::post;
using testing::RawSocket;
using testing::ServerTest;

TEST_F(ServerTest, RefusesSmugglingWithAnErrorAndCloses) {
  start();
  for (const char* text :
       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\nGET /x",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n", "\x16\x03\x01\x02",
        "POST / HTTP/1.1\r\n\r\n"}) {
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
  EXPECT_TRUE(
      exchange("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n" +
               std::string(1280, 'c'))
          .starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(exchange(post("/echo", std::string(1000, 'b'), "Connection: close\r\n"))
                  .starts_with("HTTP/1.1 200"));
}

TEST_F(ServerTest, TimeoutsAnswerOrCloseSilently) {
  ServerOptions options;
  options.header_timeout = options.body_timeout = options.idle_timeout = 300 * kMillisecond;
  start(options);
  EXPECT_TRUE(exchange("GET / HT").starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab")
                  .starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5")
                  .starts_with("HTTP/1.1 408"));
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
  EXPECT_GE(server->stats().timeouts, 1u);
}

TEST_F(ServerTest, HandlersThatFailGiveAnErrorOrACut) {
  start();
  EXPECT_TRUE(exchange("GET /throw HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                  .starts_with("HTTP/1.1 500"));
  EXPECT_TRUE(exchange("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                  .starts_with("HTTP/1.1 500"));
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

}  // namespace
}  // namespace lodestar::net
