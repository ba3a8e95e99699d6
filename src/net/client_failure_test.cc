// SPDX-License-Identifier: Apache-2.0
// The client against upstreams that fail: cut, garble, stall, close too early.
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

TEST_F(ClientTest, EndsByCloseAndRefusesTruncation) {
  const Seen whole = answer("HTTP/1.0 200 OK\r\n\r\nall of it");
  ASSERT_TRUE(whole.outcome);
  EXPECT_EQ(whole.outcome->body, "all of it");
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"}) {
    const Seen cut = answer(text);
    ASSERT_FALSE(cut.outcome) << text;
    EXPECT_EQ(cut.outcome.error().code, ErrorCode::kConnection);
    EXPECT_EQ(cut.outcome.error().source, ErrorSource::kUpstream);
    EXPECT_EQ(cut.pieces.size(), 1u) << "what came before the cut is delivered";
  }
}

TEST_F(ClientTest, GarbageIsAProtocolError) {
  for (const char* text :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\n\n"}) {
    const Seen seen = answer(text);
    ASSERT_FALSE(seen.outcome) << text;
    EXPECT_EQ(seen.outcome.error().code, ErrorCode::kProtocol)
        << text << seen.outcome.error().message;
    EXPECT_EQ(seen.outcome.error().retry, Retry::kNo);
  }
  const std::string flood = "HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'x');
  EXPECT_EQ(answer(flood).outcome.error().code, ErrorCode::kProtocol);
}

TEST_F(ClientTest, RetryClassTellsWhatIsSafe) {
  std::uint16_t closed_port = 0;
  {
    RawListener gone;
    closed_port = gone.port();
  }
  const Seen refused = run(pool_to(closed_port));
  ASSERT_FALSE(refused.outcome);
  EXPECT_EQ(refused.outcome.error().code, ErrorCode::kConnection);
  EXPECT_EQ(refused.outcome.error().retry, Retry::kYes);
  EXPECT_NE(refused.outcome.error().message.find("127.0.0.1:"), std::string::npos);
  const Seen fresh = answer("");
  ASSERT_FALSE(fresh.outcome);
  EXPECT_EQ(fresh.outcome.error().retry, Retry::kNo) << "it may have been processed";
}

// The peer answers once, then closes as soon as it sees the second request: the
// race that looks like a stale connection.
TEST_F(ClientTest, StalePooledConnection) {
  for (const bool retry : {false, true}) {
    RawListener listener;
    auto pool = pool_to(listener.port());
    auto first = begin(pool, get("/"));
    RawSocket s = listener.accept();
    s.read_until("\r\n\r\n");
    s.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TRUE(first.get().outcome);
    RequestOptions options;
    options.retry_stale = retry;
    auto second = begin(pool, get("/2"), "", options);
    s.read_until("\r\n\r\n");
    s.close();
    if (!retry) {
      const Seen seen = second.get();
      ASSERT_FALSE(seen.outcome);
      EXPECT_EQ(seen.outcome.error().retry, Retry::kOnlyIfReused);
      continue;
    }
    RawSocket t = listener.accept();
    EXPECT_TRUE(t.read_until("\r\n\r\n").starts_with("GET /2 "));
    t.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    const Seen seen = second.get();
    ASSERT_TRUE(seen.outcome);
    EXPECT_FALSE(seen.reused);
  }
}

TEST_F(ClientTest, ClosedIdleConnectionIsNotUsed) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  auto first = begin(pool, get("/"));
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(first.get().outcome);
  s.close();
  RequestOptions options;
  options.retry_stale = false;
  auto second = begin(pool, get("/2"), "", options);
  RawSocket t = listener.accept();
  t.read_until("\r\n\r\n");
  t.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(second.get().outcome);
}

TEST_F(ClientTest, Deadlines) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  RequestOptions first_byte;
  first_byte.first_byte_timeout = 80 * kMillisecond;
  const Seen silent = run(pool, first_byte);
  ASSERT_FALSE(silent.outcome);
  EXPECT_EQ(silent.outcome.error().code, ErrorCode::kTimeout);

  RequestOptions stall;
  stall.read_timeout = 80 * kMillisecond;
  auto future = begin(pool, get("/"), "", stall);
  listener.accept().close();  // the one that timed out
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  const Seen stalled = future.get();
  ASSERT_FALSE(stalled.outcome);
  EXPECT_EQ(stalled.outcome.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(stalled.pieces, std::vector<std::string>{"half"});
  EXPECT_TRUE(s.sees_end()) << "a timed-out connection is closed at once";

  RequestOptions total;
  total.deadline = now_ns() + 500 * kMillisecond;
  auto dripping = begin(pool, get("/"), "", total);
  RawSocket t = listener.accept();
  t.send("HTTP/1.1 200 OK\r\n\r\n");
  for (int i = 0; i < 1000 && t.send("x"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const Seen late = dripping.get();
  ASSERT_FALSE(late.outcome);
  EXPECT_EQ(late.outcome.error().code, ErrorCode::kTimeout);
}

TEST_F(ClientTest, ConnectTimeout) {
  // A listener whose queue is full drops the handshake: nothing answers.
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::vector<RawSocket> fillers;
  for (int i = 0; i < 4; ++i) {
    const int f = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)::connect(f, reinterpret_cast<sockaddr*>(&address), size);
    fillers.emplace_back(f);
  }
  RequestOptions options;
  options.connect_timeout = 100 * kMillisecond;
  const Seen seen = run(pool_to(ntohs(address.sin_port)), options);
  ASSERT_FALSE(seen.outcome);
  EXPECT_EQ(seen.outcome.error().code, ErrorCode::kTimeout) << seen.outcome.error().message;
  EXPECT_EQ(seen.outcome.error().retry, Retry::kYes);
  ::close(fd);
}

TEST_F(ClientTest, CancelClosesAtOnceInEveryPhase) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  for (const char* sent : {"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"}) {
    RequestOptions options;
    options.cancel = std::make_shared<Cancel>();
    auto future = begin(pool, get("/"), "", options);
    RawSocket s = listener.accept();
    s.read_until("\r\n\r\n");
    s.send(sent);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    post(live.runtime.executor(0), [c = options.cancel] { c->cancel(); });
    EXPECT_TRUE(s.sees_end());
    const Seen seen = future.get();
    ASSERT_FALSE(seen.outcome);
    EXPECT_NE(seen.outcome.error().message.find("cancelled"), std::string::npos);
    EXPECT_EQ(seen.outcome.error().retry, Retry::kNo);
    const Seen after = run(pool, options);
    ASSERT_FALSE(after.outcome) << "cancelling is sticky";
  }
  EXPECT_EQ(live.on_worker([&] { return pool->in_use(); }), 0u);
}

TEST_F(ClientTest, EarlyAnswerWhileTheBodyIsStillBeingSent) {
  RawListener listener;
  auto pool = pool_to(listener.port());
  RequestHead head;
  head.method = "POST";
  auto future = begin(pool, head, std::string(20'000'000, 'x'));
  RawSocket s = listener.accept();
  s.read_some();
  s.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  s.close();
  const Seen seen = future.get();
  ASSERT_TRUE(seen.outcome) << seen.outcome.error().message;
  EXPECT_EQ(seen.outcome->head.status, 413);
  EXPECT_EQ(idle(pool), 0u);
}

}  // namespace
}  // namespace lodestar::net
