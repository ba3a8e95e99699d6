// SPDX-License-Identifier: Apache-2.0
// What the tests of the client share: a pool on a live runtime, and upstreams that a
// test plays by hand.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/client.h"
#include "net/test_support.h"

namespace lodestar::net::testing {

inline RequestHead get(std::string_view target) {
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

// How many pieces have been delivered: an upstream that waits for it knows that
// its next bytes come alone.
using Delivered = std::shared_ptr<std::atomic<int>>;

inline Task<Seen> exchange(std::shared_ptr<ClientPool> pool, RequestHead head, std::string body,
                           RequestOptions options, Delivered delivered) {
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
    if (delivered) ++*delivered;
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
                          RequestOptions options = RequestOptions(),
                          Delivered delivered = nullptr) {
    return std::async(std::launch::async, [=, this] {
      return live.get(exchange(pool, head, body, options, delivered));
    });
  }
  Seen run(std::shared_ptr<ClientPool> pool, RequestOptions options = RequestOptions()) {
    return live.get(exchange(std::move(pool), get("/"), "", std::move(options), nullptr));
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

}  // namespace lodestar::net::testing
