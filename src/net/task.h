// SPDX-License-Identifier: Apache-2.0
// The coroutine vocabulary of the shells. One worker = one io_context = one
// thread: whatever was started on a worker stays there, so that connections,
// pools and handlers need neither strands nor mutexes. The executor type is
// concrete (not any_io_executor): cheaper to run and to compile.
//
// Rules: coroutine parameters by value (references only to objects which their
// caller keeps alive across the co_await), no capturing lambda coroutines, every
// network await under a deadline.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>

#include "base/time.h"

namespace lodestar::net {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
template <class T>
using Task = asio::awaitable<T, Executor>;
// The completion token of every asynchronous call: co_await x.async_y(…, kUseTask).
inline constexpr asio::use_awaitable_t<Executor> kUseTask{};

// The monotonic clock, ns. The only clock that live code reads.
TimeNs now_ns();

// Starts a coroutine of its own on the executor's worker (thread-safe). An
// exception that leaves it is logged under `name` and ends only that coroutine.
void spawn(Executor executor, Task<void> task, const char* name);

// Runs a function on the executor's worker, later (thread-safe).
void post(Executor executor, std::function<void()> function);

// Sleeps on the worker that runs the caller. Not for deadlines: see Notifier.
Task<void> sleep_for(DurationNs duration);
Task<void> sleep_until(TimeNs deadline);

// Wakes one coroutine from another on the same worker. A notify() with nobody
// waiting is kept (once), so a wake-up cannot be lost. One waiter at a time.
class Notifier {
 public:
  explicit Notifier(Executor executor);
  ~Notifier();
  Notifier(Notifier&&) noexcept;
  Notifier& operator=(Notifier&&) noexcept;

  void notify();
  // True when notified, false when the deadline came first.
  Task<bool> wait(TimeNs deadline = kNever);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lodestar::net
