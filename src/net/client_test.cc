// SPDX-License-Identifier: Apache-2.0
// The client: what is sent, how a body arrives, how connections are kept.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "net/client_fixture.h"

namespace lodestar::net {
namespace {

using testing::ClientTest;
using testing::get;
using testing::RawListener;
using testing::RawSocket;
using testing::Seen;

TEST_F(ClientTest, SendsWhatIsAskedAndReusesTheConnection) {
  RawListener listener;
  Url url = *parse_url("http://127.0.0.1:1/base/");
  url.port = listener.port();
  auto pool = std::make_shared<ClientPool>(live.runtime.executor(0), url);
  RequestHead head;
  head.method = "POST";
  head.target = "/v1/x?y";
  head.headers = Headers{{"X-Mine", "1"},
                         {"Content-Length", "999"},
                         {"Transfer-Encoding", "chunked"},
                         {"Connection", "close"}};
  auto first = begin(pool, head, "hello");
  RawSocket s = listener.accept();
  EXPECT_EQ(s.read_until("hello"),
            "POST /base/v1/x?y HTTP/1.1\r\nhost: 127.0.0.1:" + std::to_string(listener.port()) +
                "\r\nX-Mine: 1\r\ncontent-length: 5\r\n\r\nhello");
  s.send(
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-R: "
      "7\r\n\r\nok");
  const Seen a = first.get();
  ASSERT_TRUE(a.outcome) << a.outcome.error().message;
  EXPECT_EQ(a.outcome->body, "ok");
  EXPECT_EQ(*a.outcome->head.headers.find("x-r"), "7");
  EXPECT_FALSE(a.reused);
  EXPECT_TRUE(a.done_with_last);
  EXPECT_EQ(idle(pool), 1u);
  auto second = begin(pool, get("/again"));
  EXPECT_TRUE(s.read_until("\r\n\r\n").starts_with("GET /base/again HTTP/1.1\r\n"));
  s.send("HTTP/1.1 204 No Content\r\n\r\n");
  const Seen b = second.get();
  ASSERT_TRUE(b.outcome);
  EXPECT_TRUE(b.reused);
  EXPECT_EQ(b.outcome->head.status, 204);
}

TEST_F(ClientTest, EachReadIsOneDelivery) {
  RawListener listener;
  const auto delivered = std::make_shared<std::atomic<int>>(0);
  auto future = begin(pool_to(listener.port()), get("/"), "", RequestOptions(), delivered);
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  int sent = 0;
  for (const char* piece :
       {"5\r\nfirst\r\n", "6\r\nsec", "ond\r\n", "1\r\na\r\n1\r\nb\r\n", "3\r\nend\r\n0\r\n\r\n"}) {
    for (int i = 0; i < 10'000 && *delivered < sent; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    s.send(piece);
    ++sent;
  }
  const Seen seen = future.get();
  ASSERT_TRUE(seen.outcome) << seen.outcome.error().message;
  EXPECT_EQ(seen.pieces, (std::vector<std::string>{"first", "sec", "ond", "ab", "end"}));
  EXPECT_TRUE(seen.done_with_last);
}

TEST_F(ClientTest, IdleConnectionsAgeOutAndStrayBytesSpoilOne) {
  RawListener listener;
  ClientOptions client;
  client.idle_timeout = 100 * kMillisecond;
  auto pool = pool_to(listener.port(), client);
  auto first = begin(pool, get("/"));
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(first.get().outcome);
  EXPECT_TRUE(s.sees_end()) << "closed by the sweeper";
  EXPECT_EQ(idle(pool), 0u);
  auto second = begin(pool, get("/"));
  RawSocket t = listener.accept();
  t.read_until("\r\n\r\n");
  t.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n");
  const Seen seen = second.get();
  ASSERT_TRUE(seen.outcome);
  EXPECT_EQ(seen.outcome->body, "ok");
  EXPECT_EQ(idle(pool), 0u) << "bytes after the end: not to be trusted";
}

TEST_F(ClientTest, NamesAreLookedUpAndUnknownOnesAreClearErrors) {
  RawListener listener;
  auto future = begin(pool_to(listener.port(), ClientOptions(), "localhost"), get("/"));
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(future.get().outcome);
  RequestOptions options;
  options.connect_timeout = 5 * kSecond;
  const Seen seen = run(pool_to(1, ClientOptions(), "no-such-host.invalid"), options);
  ASSERT_FALSE(seen.outcome);
  EXPECT_EQ(seen.outcome.error().retry, Retry::kYes);
  EXPECT_NE(seen.outcome.error().message.find("resolved"), std::string::npos)
      << seen.outcome.error().message;
}

TEST_F(ClientTest, BoundOnConnections) {
  RawListener listener;
  ClientOptions client;
  client.max_connections = 1;
  auto pool = pool_to(listener.port(), client);
  auto first = begin(pool, get("/"));
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  const Seen second = run(pool);
  ASSERT_FALSE(second.outcome);
  EXPECT_EQ(second.outcome.error().code, ErrorCode::kUnavailable);
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(first.get().outcome);
}

Task<Result<std::string>> read_limited(std::shared_ptr<ClientPool> pool) {
  RequestHead head;
  RequestOptions options;
  auto got = co_await pool->fetch(std::move(head), "", std::move(options), 5);
  if (!got) co_return std::unexpected(got.error());
  co_return got->body;
}

TEST_F(ClientTest, FetchHasALimit) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  auto future = std::async(std::launch::async, [&] { return live.get(read_limited(pool)); });
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123456");
  const auto got = future.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kTooLarge);
}

TEST_F(ClientTest, ReadyAndDoneDoNotWait) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  struct Steps {
    static Task<std::string> go(std::shared_ptr<ClientPool> p, std::atomic<bool>& looked) {
      RequestHead head;
      RequestOptions options;
      auto stream = co_await p->request(std::move(head), "", std::move(options));
      if (!stream) co_return "no stream";
      std::string out = stream->ready() ? "ready " : "wait ";
      out += *co_await stream->read_some();
      out += stream->ready() ? " ready" : " wait";
      looked = true;
      out += *co_await stream->read_some();
      out += stream->done() ? " done" : " more";
      out += (co_await stream->read_some())->empty() ? " end" : " ?";
      co_return out;
    }
  };
  std::atomic<bool> looked{false};
  auto future = std::async(std::launch::async, [&] { return live.get(Steps::go(pool, looked)); });
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  for (int i = 0; i < 10'000 && !looked; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  s.send("1\r\nb\r\n0\r\n\r\n");
  EXPECT_EQ(future.get(), "ready a waitb done end");
}

}  // namespace
}  // namespace lodestar::net
