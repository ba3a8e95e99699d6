// SPDX-License-Identifier: Apache-2.0
// The brain: the one thread that owns the Router. Workers hand it events and wait
// for placements; its effects are turned into answers, cancelled upstreams, timers
// and training runs. With one worker everything runs inline on that worker, without
// a hop; with more, worker 0 is the brain.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/ids.h"
#include "base/result.h"
#include "net/runtime.h"
#include "net/task.h"
#include "proxy/trainer.h"
#include "routing/router.h"
#include "telemetry/metrics.h"

namespace lodestar::proxy {

// The waiting was ended from the worker's side: client gone or deadline passed.
struct Abandoned {
  bool timed_out = false;
};
using Answer = std::variant<Dispatch, Reject, Abandoned>;

// One routed request, shared between its worker and the brain. All fields belong
// to the home worker.
struct Ticket {
  Ticket(RequestId request_id, net::Executor home_executor)
      : id(request_id), home(home_executor), ready(home_executor) {}
  const RequestId id;
  const net::Executor home;
  net::Notifier ready;
  std::optional<Answer> answer;
  std::function<void(LeaseId)> on_cancel;  // the router wants this placement stopped
};

class Brain {
 public:
  // `decision_seconds` outlives the brain; may be null.
  Brain(net::Runtime& runtime, std::unique_ptr<Router> router,
        telemetry::Histogram* decision_seconds);
  ~Brain();
  Brain(const Brain&) = delete;
  Brain& operator=(const Brain&) = delete;

  // ---- from any worker ----
  std::shared_ptr<Ticket> open_ticket(net::Executor home);
  // Returns when the router has placed or rejected the request, however long it
  // is held; `deadline` ends the waiting (the request is then aborted).
  net::Task<Answer> submit(std::shared_ptr<Ticket> ticket, RequestInfo info, TimeNs deadline);
  // The same for the next attempt, after one that failed before any byte was sent.
  net::Task<Answer> retry(std::shared_ptr<Ticket> ticket, LeaseId failed, ErrorCode error,
                          TimeNs deadline);
  // Fire and forget, in the order of the calls from one worker.
  void report(Event event);
  // The last word on a request: no answer will be delivered to it any more.
  void finish(RequestId request, Event event);
  // True when some policy reads token progress: without one nobody needs to report it.
  bool wants_progress() const { return wants_progress_.load(std::memory_order_relaxed); }

  // Runs `reader` on the brain's thread with the router to read.
  void inspect(std::function<void(const Router&)> reader);
  bool on_brain() const { return executor_.running_in_this_thread(); }
  // Called on the brain's thread after each first token and each end. Set it before
  // the runtime runs.
  void on_outcome(std::function<void(const Router&)> hook) { on_outcome_ = std::move(hook); }
  // Only on the brain's thread, or before the runtime runs.
  Router& router() { return *router_; }
  // Work for the trainer's thread: files, not requests. Dropped when the brain goes first.
  void in_background(std::function<void()> work) { trainer_.submit(std::move(work)); }
  // Training runs that ended without a predictor, and when the last one succeeded.
  std::uint64_t failed_trainings() const { return trainer_.failed(); }
  std::uint64_t finished_trainings() const { return trainer_.finished(); }

 private:
  net::Task<Answer> wait_for(std::shared_ptr<Ticket> ticket, TimeNs deadline);
  Answer take_answer(Ticket& ticket);
  void handle(const Event& event);
  void carry_out(Effect& effect);
  void deliver(RequestId request, Answer answer);
  void cancel(const Cancel& effect);
  void arm_timer(TimeNs at);
  void on_wake();
  static net::Task<void> timer_loop(Brain* brain, std::shared_ptr<bool> alive);

  net::Executor executor_;
  std::unique_ptr<Router> router_;
  telemetry::Histogram* decision_seconds_;
  std::function<void(const Router&)> on_outcome_;
  std::unordered_map<RequestId, std::shared_ptr<Ticket>> tickets_;
  std::atomic<std::uint64_t> next_request_{1};
  std::atomic<bool> wants_progress_{false};
  std::set<TimeNs> wakes_;  // asked for and not yet due
  net::Notifier wake_;
  std::shared_ptr<bool> alive_;
  Trainer trainer_;
};

}  // namespace lodestar::proxy
