// SPDX-License-Identifier: Apache-2.0
#include "net/runtime.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/log.h"

namespace lodestar::net {

namespace {

using Guard = asio::executor_work_guard<Executor>;
using Signals = asio::basic_signal_set<Executor>;

// An io_context that can be emptied before any of its siblings is destroyed:
// what waits in one may own sockets and timers of another.
class Context : public asio::io_context {
 public:
  Context() : asio::io_context(1) {}
  using asio::execution_context::shutdown;
};

void run_worker(Context& context) {
  for (;;) {
    try {
      context.run();
      return;
    } catch (const std::exception& e) {
      // Coroutines keep their exceptions (spawn); only a plain callback can get here.
      log_error("net", std::string("an event handler threw what=") + e.what());
    }
  }
}

}  // namespace

struct Runtime::Impl {
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<Guard> guards;
  std::vector<std::thread> threads;
  std::optional<Signals> shutdown_signals, reload_signals;
  std::function<void(int)> shutdown_hook;
  std::function<void()> reload_hook;
  bool ran = false;

  void wait_shutdown() {
    shutdown_signals->async_wait([this](boost::system::error_code ec, int signal) {
      if (ec) return;
      wait_shutdown();
      shutdown_hook(signal);
    });
  }
  void wait_reload() {
    reload_signals->async_wait([this](boost::system::error_code ec, int) {
      if (ec) return;
      wait_reload();
      reload_hook();
    });
  }
};

Runtime::Runtime(int workers) : impl_(std::make_unique<Impl>()) {
  LODESTAR_CHECK(workers >= 1);
  // A peer that closes early is an error code of write(), never a signal.
  std::signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < workers; ++i) {
    impl_->contexts.push_back(std::make_unique<Context>());
    impl_->guards.emplace_back(impl_->contexts.back()->get_executor());
  }
}

Runtime::~Runtime() {
  stop();
  for (std::thread& t : impl_->threads) {
    if (t.joinable()) t.join();
  }
  impl_->shutdown_signals.reset();
  impl_->reload_signals.reset();
  impl_->guards.clear();
  for (auto& context : impl_->contexts) context->shutdown();
}

int Runtime::workers() const { return static_cast<int>(impl_->contexts.size()); }

Executor Runtime::executor(int worker) const {
  LODESTAR_CHECK(worker >= 0 && worker < workers());
  return impl_->contexts[static_cast<std::size_t>(worker)]->get_executor();
}

void Runtime::on_shutdown_signal(std::function<void(int)> hook) {
  impl_->shutdown_hook = std::move(hook);
  if (impl_->shutdown_signals) return;
  impl_->shutdown_signals.emplace(executor(0), SIGTERM, SIGINT);
  impl_->wait_shutdown();
}

void Runtime::on_reload_signal(std::function<void()> hook) {
  impl_->reload_hook = std::move(hook);
  if (impl_->reload_signals) return;
  impl_->reload_signals.emplace(executor(0), SIGHUP);
  impl_->wait_reload();
}

void Runtime::run() {
  LODESTAR_CHECK(!impl_->ran);
  impl_->ran = true;
  for (std::size_t i = 1; i < impl_->contexts.size(); ++i) {
    impl_->threads.emplace_back([context = impl_->contexts[i].get()] { run_worker(*context); });
  }
  run_worker(*impl_->contexts[0]);
  for (std::thread& t : impl_->threads) t.join();
}

void Runtime::stop() {
  for (auto& context : impl_->contexts) context->stop();
}

}  // namespace lodestar::net
