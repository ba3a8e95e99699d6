// SPDX-License-Identifier: Apache-2.0
#include "net/server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/connection.h"

namespace lodestar::net {

namespace {

using Acceptor = asio::basic_socket_acceptor<Tcp, Executor>;

std::string endpoint_text(const Tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  const std::string port = std::to_string(endpoint.port());
  return endpoint.address().is_v6() ? "[" + host + "]:" + port : host + ":" + port;
}

}  // namespace

struct Server::Core : std::enable_shared_from_this<Server::Core> {
  Core(Runtime& runtime, std::shared_ptr<ServerShared> s)
      : shared(std::move(s)), main(runtime.executor(0)), acceptor(main) {
    for (int i = 0; i < runtime.workers(); ++i) {
      workers.push_back(
          std::make_shared<ServerWorker>(ServerWorker{i, runtime.executor(i), {}, 0, false}));
    }
  }

  Result<void> open();
  static Task<void> accept_loop(std::shared_ptr<Core> core);
  void take(Socket socket, const Tcp::endpoint& peer, const std::shared_ptr<ServerWorker>& worker);
  void for_each_worker(void (*f)(ServerWorker&));
  static Task<void> drain_all(std::shared_ptr<Core> core, DurationNs patience);
  void wake_drained();

  std::shared_ptr<ServerShared> shared;
  Executor main;
  Acceptor acceptor;
  std::vector<std::shared_ptr<ServerWorker>> workers;
  std::atomic<bool> draining{false};
  bool cut = false;  // worker 0: patience is over
  std::uint16_t port = 0;
  std::vector<std::shared_ptr<Notifier>> waiters;  // worker 0: in drained()
};

Result<void> Server::Core::open() {
  const ServerOptions& options = shared->options;
  boost::system::error_code ec;
  if (options.listen_fd >= 0) {
    acceptor.assign(Tcp::v4(), options.listen_fd, ec);
    if (ec)
      return fail(ErrorCode::kInvalidArgument,
                  "cannot use the inherited listening socket: " + ec.message());
  } else {
    const auto address = asio::ip::make_address(options.address, ec);
    if (ec) {
      return fail(ErrorCode::kInvalidArgument,
                  "listen address \"" + options.address +
                      "\" is not an IP address; use for example 0.0.0.0 or 127.0.0.1");
    }
    const Tcp::endpoint endpoint(address, options.port);
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(Acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(options.backlog, ec);
    if (ec) {
      return fail(ErrorCode::kUnavailable,
                  "cannot listen on " + endpoint_text(endpoint) + ": " + ec.message());
    }
  }
  const auto local = acceptor.local_endpoint(ec);
  if (ec) return fail(ErrorCode::kInternal, "cannot tell the listening port: " + ec.message());
  port = local.port();
  return {};
}

// On the worker that will own the connection.
void Server::Core::take(Socket socket, const Tcp::endpoint& peer,
                        const std::shared_ptr<ServerWorker>& worker) {
  auto& counters = shared->counters;
  const bool full = counters.open.fetch_add(1) >= shared->options.max_connections;
  auto connection =
      std::make_shared<Connection>(shared, worker, std::move(socket), endpoint_text(peer));
  if (!full) {
    spawn(worker->executor, Connection::run(std::move(connection)), "connection");
    return;
  }
  --counters.open;
  ++counters.refused;
  constexpr std::size_t kMostRefusing = 64;
  if (worker->refusing < kMostRefusing) {
    spawn(worker->executor, Connection::refuse(std::move(connection)), "refusal");
  }
}

Task<void> Server::Core::accept_loop(std::shared_ptr<Core> core) {
  for (std::size_t turn = 0; !core->draining; ++turn) {
    const auto worker = core->workers[turn % core->workers.size()];
    Socket socket(worker->executor);
    Tcp::endpoint peer;
    boost::system::error_code ec;
    co_await core->acceptor.async_accept(socket, peer, asio::redirect_error(kUseTask, ec));
    if (core->draining) break;
    if (ec) {
      ++core->shared->counters.accept_errors;
      // Out of descriptors, most likely: wait for some to come back.
      if (ec != asio::error::connection_aborted) co_await sleep_for(20 * kMillisecond);
      continue;
    }
    ++core->shared->counters.accepted;
    if (worker->index == 0) {
      core->take(std::move(socket), peer, worker);
      continue;
    }
    auto moved = std::make_shared<Socket>(std::move(socket));
    post(worker->executor,
         [core, worker, moved, peer] { core->take(std::move(*moved), peer, worker); });
  }
}

void Server::Core::for_each_worker(void (*f)(ServerWorker&)) {
  for (const auto& worker : workers) {
    post(worker->executor, [worker, f] { f(*worker); });
  }
}

void Server::Core::wake_drained() {
  for (const auto& waiter : waiters) waiter->notify();
}

Task<void> Server::Core::drain_all(std::shared_ptr<Core> core, DurationNs patience) {
  boost::system::error_code ignored;
  core->acceptor.close(ignored);
  core->for_each_worker([](ServerWorker& worker) {
    worker.draining = true;
    for (Connection* c : worker.connections) c->drain();
  });
  const TimeNs deadline = now_ns() + patience;
  const auto notifier = std::make_shared<Notifier>(core->main);
  core->waiters.push_back(notifier);
  while (core->shared->counters.open > 0 && now_ns() < deadline) co_await notifier->wait(deadline);
  std::erase(core->waiters, notifier);
  if (const auto left = core->shared->counters.open.load()) {
    log_warn("net", "drain: patience is over, connections are cut count=" + std::to_string(left));
    core->for_each_worker([](ServerWorker& worker) {
      for (Connection* c : worker.connections) c->close();
    });
  }
  core->cut = true;
  core->wake_drained();
}

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Server::~Server() { drain(0); }

Result<std::unique_ptr<Server>> Server::listen(Runtime& runtime, ServerOptions options,
                                               Handler handler) {
  auto shared = std::make_shared<ServerShared>();
  shared->options = std::move(options);
  shared->handler = std::move(handler);
  auto core = std::make_shared<Core>(runtime, std::move(shared));
  if (auto ok = core->open(); !ok) return std::unexpected(ok.error());
  core->shared->on_closed = [weak = std::weak_ptr<Core>(core)] {
    const auto c = weak.lock();
    if (!c || !c->draining) return;
    post(c->main, [c] { c->wake_drained(); });
  };
  spawn(core->main, Core::accept_loop(core), "accept");
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

std::uint16_t Server::port() const { return core_->port; }

void Server::drain(DurationNs patience) {
  if (core_->draining.exchange(true)) return;
  spawn(core_->main, Core::drain_all(core_, patience), "drain");
}

Task<void> Server::drained() {
  const auto core = core_;
  const auto notifier = std::make_shared<Notifier>(core->main);
  core->waiters.push_back(notifier);
  // A handler that does not return after its connection was cut cannot be
  // stopped; a second for it is enough.
  TimeNs last = kNever;
  while ((!core->draining || core->shared->counters.open > 0) && now_ns() < last) {
    if (core->cut && last == kNever) last = now_ns() + kSecond;
    co_await notifier->wait(last);
  }
  std::erase(core->waiters, notifier);
}

ServerStats Server::stats() const {
  const auto& c = core_->shared->counters;
  ServerStats s;
  s.accepted = c.accepted;
  s.refused = c.refused;
  s.requests = c.requests;
  s.bad_requests = c.bad_requests;
  s.timeouts = c.timeouts;
  s.disconnects = c.disconnects;
  s.accept_errors = c.accept_errors;
  s.open_connections = c.open;
  s.active_requests = c.active;
  return s;
}

}  // namespace lodestar::net
