// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/basic_resolver.hpp>
#include <boost/asio/redirect_error.hpp>
#include <string>
#include <utility>
#include <vector>

#include "net/client_impl.h"

namespace lodestar::net {

namespace {

using Resolver = asio::ip::basic_resolver<Tcp, Executor>;

// A look-up runs in the system's resolver and cannot be stopped: whoever waits for
// it may go away first, so its outcome lives by itself.
struct LookUp {
  explicit LookUp(Executor executor) : resolver(executor), done(executor) {}
  Resolver resolver;
  Notifier done;
  boost::system::error_code ec;
  std::vector<Tcp::endpoint> endpoints;
  bool finished = false;
};

struct HookGuard {
  std::shared_ptr<Cancel> cancel;
  explicit HookGuard(std::shared_ptr<Cancel> c) : cancel(std::move(c)) {}
  HookGuard(const HookGuard&) = delete;
  HookGuard& operator=(const HookGuard&) = delete;
  ~HookGuard() {
    if (cancel) cancel->set_hook(nullptr);
  }
};

Task<Result<std::vector<Tcp::endpoint>>> look_up(Executor executor, std::shared_ptr<const Url> url,
                                                 TimeNs deadline, std::shared_ptr<Cancel> cancel) {
  boost::system::error_code ec;
  const auto literal = asio::ip::make_address(url->host, ec);
  if (!ec) co_return std::vector<Tcp::endpoint>{Tcp::endpoint(literal, url->port)};
  const auto state = std::make_shared<LookUp>(executor);
  const HookGuard guard(cancel);
  if (cancel) cancel->set_hook([state] { state->done.notify(); });
  state->resolver.async_resolve(
      url->host, std::to_string(url->port),
      [state](boost::system::error_code result, const Resolver::results_type& found) {
        state->ec = result;
        for (const auto& entry : found) state->endpoints.push_back(entry.endpoint());
        state->finished = true;
        state->done.notify();
      });
  co_await state->done.wait(deadline);
  if (cancel && cancel->cancelled()) {
    co_return upstream_error(*url, ErrorCode::kConnection, "cancelled", Retry::kNo);
  }
  if (!state->finished) {
    co_return upstream_error(*url, ErrorCode::kTimeout, "the name was not resolved in time",
                             Retry::kYes);
  }
  if (state->ec || state->endpoints.empty()) {
    co_return upstream_error(*url, ErrorCode::kConnection,
                             "the name cannot be resolved: " + state->ec.message(), Retry::kYes);
  }
  co_return std::move(state->endpoints);
}

}  // namespace

Task<Result<std::shared_ptr<Wire>>> connect(Executor executor, std::shared_ptr<const Url> url,
                                            TimeNs deadline, std::shared_ptr<Cancel> cancel) {
  auto endpoints = co_await look_up(executor, url, deadline, cancel);
  if (!endpoints) co_return std::unexpected(endpoints.error());
  std::string last = "no address";
  for (const Tcp::endpoint& endpoint : *endpoints) {
    // The socket outlives the wait by the watchdog's and the hook's references.
    const auto socket = std::make_shared<Socket>(executor);
    const auto close = [socket] {
      boost::system::error_code ignored;
      socket->close(ignored);
    };
    Watchdog watchdog(executor, close);
    const HookGuard guard(cancel);
    if (cancel) cancel->set_hook(close);
    watchdog.set(deadline);
    boost::system::error_code ec;
    co_await socket->async_connect(endpoint, asio::redirect_error(kUseTask, ec));
    if (cancel && cancel->cancelled()) {
      co_return upstream_error(*url, ErrorCode::kConnection, "cancelled", Retry::kNo);
    }
    if (watchdog.expired() || now_ns() >= deadline) {
      co_return upstream_error(*url, ErrorCode::kTimeout, "no connection in time", Retry::kYes);
    }
    if (!ec) co_return std::make_shared<Wire>(std::move(*socket));
    last = ec.message();
  }
  co_return upstream_error(*url, ErrorCode::kConnection, "cannot connect: " + last, Retry::kYes);
}

}  // namespace lodestar::net
