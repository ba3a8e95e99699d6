// SPDX-License-Identifier: Apache-2.0
#include "net/task.h"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <exception>
#include <string>

#include "base/check.h"
#include "base/log.h"
#include "net/watchdog.h"

namespace lodestar::net {

namespace {

using Clock = std::chrono::steady_clock;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;

Clock::time_point at(TimeNs t) {
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(t)));
}

}  // namespace

TimeNs now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

void spawn(Executor executor, Task<void> task, const char* name) {
  asio::co_spawn(executor, std::move(task), [name](std::exception_ptr failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      log_error("net",
                std::string("a task ended by an exception task=") + name + " what=" + e.what());
    } catch (...) {
      log_error("net", std::string("a task ended by an unknown exception task=") + name);
    }
  });
}

void post(Executor executor, std::function<void()> function) {
  asio::post(executor, std::move(function));
}

Task<void> sleep_until(TimeNs deadline) {
  Timer timer(co_await asio::this_coro::executor, at(deadline));
  boost::system::error_code ec;
  co_await timer.async_wait(asio::redirect_error(kUseTask, ec));
}

Task<void> sleep_for(DurationNs duration) { return sleep_until(now_ns() + duration); }

struct Notifier::State {
  explicit State(Executor executor) : timer(executor) {}
  Timer timer;
  bool notified = false;
  bool waiting = false;
};

Notifier::Notifier(Executor executor) : state_(std::make_shared<State>(executor)) {}
Notifier::~Notifier() = default;
Notifier::Notifier(Notifier&&) noexcept = default;
Notifier& Notifier::operator=(Notifier&&) noexcept = default;

void Notifier::notify() {
  state_->notified = true;
  if (state_->waiting) state_->timer.cancel();
}

Task<bool> Notifier::wait(TimeNs deadline) {
  const auto state = state_;  // the notifier may go away while we wait
  LODESTAR_CHECK(!state->waiting);
  while (!state->notified && now_ns() < deadline) {
    if (deadline == kNever) {
      state->timer.expires_at(Clock::time_point::max());
    } else {
      state->timer.expires_at(at(deadline));
    }
    state->waiting = true;
    boost::system::error_code ec;
    co_await state->timer.async_wait(asio::redirect_error(kUseTask, ec));
    state->waiting = false;
  }
  const bool notified = state->notified;
  state->notified = false;
  co_return notified;
}

struct Watchdog::State {
  State(Executor executor, std::function<void()> hook)
      : timer(executor), on_expire(std::move(hook)) {}
  Timer timer;
  std::function<void()> on_expire;
  TimeNs deadline = kNever;
  TimeNs armed = kNever;      // when the timer will fire
  std::uint64_t arming = 0;   // tells the latest wait from those that it replaced
  bool expired = false;
};

Watchdog::Watchdog(Executor executor, std::function<void()> on_expire)
    : state_(std::make_shared<State>(executor, std::move(on_expire))) {}

Watchdog::~Watchdog() {
  state_->on_expire = nullptr;
  state_->deadline = kNever;
  if (state_->armed != kNever) state_->timer.cancel();
}

void Watchdog::arm(std::shared_ptr<State> state) {
  state->armed = state->deadline;
  const std::uint64_t arming = ++state->arming;
  state->timer.expires_at(at(state->deadline));
  State& s = *state;
  s.timer.async_wait([state = std::move(state), arming](boost::system::error_code) mutable {
    if (arming != state->arming) return;
    state->armed = kNever;
    if (state->deadline == kNever) return;
    if (now_ns() < state->deadline) return arm(std::move(state));
    state->deadline = kNever;
    state->expired = true;
    if (state->on_expire) state->on_expire();
  });
}

void Watchdog::set(TimeNs deadline) {
  state_->deadline = deadline;
  state_->expired = false;
  if (deadline < state_->armed) arm(state_);
}

void Watchdog::clear() { state_->deadline = kNever; }

bool Watchdog::expired() const { return state_->expired; }

}  // namespace lodestar::net
