// SPDX-License-Identifier: Apache-2.0
// The client against upstreams that a test plays by hand.
#include "net/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "net/test_support.h"

namespace lodestar::net {
namespace {

using testing::LiveRuntime;
using testing::RawListener;
using testing::RawSocket;

RequestHead get(std::string_view target) {
  RequestHead head;
  head.target = target;
  return head;
}

// What became of one exchange, as a test wants to see it.
struct Seen {
  Result<Response> outcome = Response();
  std::vector<std::string> pieces;
  bool reused = false, done_with_last = false;
};

Task<Seen> exchange(std::shared_ptr<ClientPool> pool, RequestHead head, std::string body, RequestOptions options) {
  Seen seen;
  auto stream = co_await pool->request(std::move(head), body, std::move(options));
  if (!stream) {
    seen.outcome = std::unexpected(stream.error());
    co_return seen;
  }
  seen.reused = stream->reused();
  seen.outcome->head = stream->head();
  for (;;) {
    const auto piece = co_await stream->read_some();
    if (!piece) {
      seen.outcome = std::unexpected(piece.error());
      co_return seen;
    }
    if (piece->empty()) break;
    seen.pieces.emplace_back(*piece);
    seen.outcome->body += *piece;
    seen.done_with_last = stream->done();
  }
  co_return seen;
}

class ClientTest : public ::testing::Test {
 protected:
  std::shared_ptr<ClientPool> pool_to(std::uint16_t port, ClientOptions options = ClientOptions(),
                                      std::string host = "127.0.0.1") {
    Url url;
    url.host = std::move(host);
    url.port = port;
    return std::make_shared<ClientPool>(live.runtime.executor(0), url, options);
  }
  // Starts an exchange; the future has its outcome.
  std::future<Seen> begin(std::shared_ptr<ClientPool> pool, RequestHead head, std::string body = "",
                          RequestOptions options = RequestOptions()) {
    return std::async(std::launch::async, [=, this] { return live.get(exchange(pool, head, body, options)); });
  }
  Seen run(std::shared_ptr<ClientPool> pool, RequestOptions options = RequestOptions()) {
    return live.get(exchange(std::move(pool), get("/"), "", std::move(options)));
  }
  // One exchange with an upstream that answers with this text and closes.
  Seen answer(std::string_view text) {
    RawListener listener;
    auto future = begin(pool_to(listener.port()), get("/"));
    RawSocket s = listener.accept();
    s.read_until("\r\n\r\n");
    s.send(text);
    s.close();
    return future.get();
  }
  std::size_t idle(const std::shared_ptr<ClientPool>& pool) {
    return live.on_worker([&] { return pool->idle(); });
  }

  LiveRuntime live;
};

TEST_F(ClientTest, SendsWhatIsAskedAndReusesTheConnection) {
  RawListener listener;
  Url url = *parse_url("http://127.0.0.1:1/base/");
  url.port = listener.port();
  auto pool = std::make_shared<ClientPool>(live.runtime.executor(0), url);
  RequestHead head;
  head.method = "POST";
  head.target = "/v1/x?y";
  head.headers = Headers{{"X-Mine", "1"}, {"Content-Length", "999"}, {"Transfer-Encoding", "chunked"}, {"Connection", "close"}};
  auto first = begin(pool, head, "hello");
  RawSocket s = listener.accept();
  EXPECT_EQ(s.read_until("hello"), "POST /base/v1/x?y HTTP/1.1\r\nhost: 127.0.0.1:" + std::to_string(listener.port()) +
                                       "\r\nX-Mine: 1\r\ncontent-length: 5\r\n\r\nhello");
  s.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-R: 7\r\n\r\nok");
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
  auto future = begin(pool_to(listener.port()), get("/"));
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char* piece : {"5\r\nfirst\r\n", "6\r\nsec", "ond\r\n", "1\r\na\r\n1\r\nb\r\n", "3\r\nend\r\n0\r\n\r\n"}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    s.send(piece);
  }
  const Seen seen = future.get();
  ASSERT_TRUE(seen.outcome) << seen.outcome.error().message;
  EXPECT_EQ(seen.pieces, (std::vector<std::string>{"first", "sec", "ond", "ab", "end"}));
  EXPECT_TRUE(seen.done_with_last);
}

TEST_F(ClientTest, EndsByCloseAndRefusesTruncation) {
  const Seen whole = answer("HTTP/1.0 200 OK\r\n\r\nall of it");
  ASSERT_TRUE(whole.outcome);
  EXPECT_EQ(whole.outcome->body, "all of it");
  for (const char* text : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
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
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\n\n"}) {
    const Seen seen = answer(text);
    ASSERT_FALSE(seen.outcome) << text;
    EXPECT_EQ(seen.outcome.error().code, ErrorCode::kProtocol) << text << seen.outcome.error().message;
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
  total.deadline = now_ns() + 100 * kMillisecond;
  auto dripping = begin(pool, get("/"), "", total);
  RawSocket t = listener.accept();
  t.send("HTTP/1.1 200 OK\r\n\r\n");
  for (int i = 0; i < 1000 && t.send("x"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
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
  EXPECT_NE(seen.outcome.error().message.find("resolved"), std::string::npos) << seen.outcome.error().message;
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
    static Task<std::string> go(std::shared_ptr<ClientPool> p) {
      RequestHead head;
      RequestOptions options;
      auto stream = co_await p->request(std::move(head), "", std::move(options));
      if (!stream) co_return "no stream";
      std::string out = stream->ready() ? "ready " : "wait ";
      out += *co_await stream->read_some();
      out += stream->ready() ? " ready" : " wait";
      out += *co_await stream->read_some();
      out += stream->done() ? " done" : " more";
      out += (co_await stream->read_some())->empty() ? " end" : " ?";
      co_return out;
    }
  };
  auto future = std::async(std::launch::async, [&] { return live.get(Steps::go(pool)); });
  RawSocket s = listener.accept();
  s.read_until("\r\n\r\n");
  s.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  s.send("1\r\nb\r\n0\r\n\r\n");
  EXPECT_EQ(future.get(), "ready a waitb done end");
}

}  // namespace
}  // namespace lodestar::net
