// SPDX-License-Identifier: Apache-2.0
#include "proxy/brain.h"

#include <utility>

namespace lodestar::proxy {

Brain::Brain(net::Runtime& runtime, std::unique_ptr<Router> router,
             telemetry::Histogram* decision_seconds)
    : executor_(runtime.executor(0)),
      router_(std::move(router)),
      decision_seconds_(decision_seconds),
      wake_(executor_),
      alive_(std::make_shared<bool>(true)),
      trainer_([this, executor = executor_,
                alive = std::weak_ptr<bool>(alive_)](PredictorPublished published) {
        // The post outlives us if the runtime stops first: it then finds nobody.
        net::post(executor, [this, alive, event = Event(std::move(published))] {
          if (!alive.expired()) handle(event);
        });
      }) {
  net::spawn(executor_, timer_loop(this, alive_), "brain timer");
}

Brain::~Brain() {
  *alive_ = false;
  wake_.notify();
}

std::shared_ptr<Ticket> Brain::open_ticket(net::Executor home) {
  const RequestId id{next_request_.fetch_add(1, std::memory_order_relaxed)};
  return std::make_shared<Ticket>(id, home);
}

net::Task<Answer> Brain::submit(std::shared_ptr<Ticket> ticket, RequestInfo info, TimeNs deadline) {
  Event event = RequestArrived{ticket->id, std::move(info)};
  if (on_brain()) {
    tickets_.emplace(ticket->id, ticket);
    handle(event);
  } else {
    net::post(executor_, [this, ticket, e = std::move(event)] {
      tickets_.emplace(ticket->id, ticket);
      handle(e);
    });
  }
  co_return co_await wait_for(std::move(ticket), deadline);
}

net::Task<Answer> Brain::retry(std::shared_ptr<Ticket> ticket, LeaseId failed, ErrorCode error,
                               TimeNs deadline) {
  report(AttemptFailed{ticket->id, failed, error});
  co_return co_await wait_for(std::move(ticket), deadline);
}

net::Task<Answer> Brain::wait_for(std::shared_ptr<Ticket> ticket, TimeNs deadline) {
  bool in_time = true;
  while (!ticket->answer && in_time) in_time = co_await ticket->ready.wait(deadline);
  co_return take_answer(*ticket);
}

Answer Brain::take_answer(Ticket& ticket) {
  if (!ticket.answer) {
    finish(ticket.id, Aborted{ticket.id});
    return Abandoned{.timed_out = true};
  }
  Answer answer = std::move(*ticket.answer);
  ticket.answer.reset();
  return answer;
}

void Brain::report(Event event) {
  if (on_brain()) return handle(event);
  net::post(executor_, [this, e = std::move(event)] { handle(e); });
}

void Brain::finish(RequestId request, Event event) {
  if (!on_brain()) {
    net::post(executor_, [this, request, e = std::move(event)]() mutable {
      tickets_.erase(request);
      handle(e);
    });
    return;
  }
  tickets_.erase(request);
  handle(event);
}

void Brain::inspect(std::function<void(const Router&)> reader) {
  if (on_brain()) return reader(*router_);
  net::post(executor_, [this, reader = std::move(reader)] { reader(*router_); });
}

void Brain::handle(const Event& event) {
  const TimeNs now = net::now_ns();
  Effects effects = router_->handle(now, event);
  if (decision_seconds_ != nullptr && std::holds_alternative<RequestArrived>(event))
    decision_seconds_->observe(to_s(net::now_ns() - now));
  for (Effect& effect : effects) carry_out(effect);
  if (on_outcome_ &&
      (std::holds_alternative<FirstToken>(event) || std::holds_alternative<Ended>(event)))
    on_outcome_(*router_);
  wants_progress_.store(router_->needs_progress(), std::memory_order_relaxed);
}

void Brain::carry_out(Effect& effect) {
  if (auto* dispatch = std::get_if<Dispatch>(&effect)) {
    const RequestId request = dispatch->request;
    deliver(request, std::move(*dispatch));
  } else if (auto* reject = std::get_if<Reject>(&effect)) {
    deliver(reject->request, *reject);
  } else if (auto* stop = std::get_if<Cancel>(&effect)) {
    cancel(*stop);
  } else if (auto* wake = std::get_if<WakeAt>(&effect)) {
    arm_timer(wake->at);
  } else if (auto* train = std::get_if<Train>(&effect)) {
    trainer_.submit(std::move(*train));
  }  // Hold: the answer comes with a later event
}

void Brain::deliver(RequestId request, Answer answer) {
  const auto it = tickets_.find(request);
  if (it == tickets_.end()) {
    // The worker gave up between its report and now: nobody will use the placement.
    if (std::holds_alternative<Dispatch>(answer))
      net::post(executor_, [this, request] { handle(Aborted{request}); });
    return;
  }
  std::shared_ptr<Ticket> ticket = it->second;
  if (std::holds_alternative<Reject>(answer)) tickets_.erase(it);
  if (ticket->home.running_in_this_thread()) {
    ticket->answer = std::move(answer);
    ticket->ready.notify();
    return;
  }
  const net::Executor home = ticket->home;
  net::post(home, [ticket = std::move(ticket), a = std::move(answer)] {
    ticket->answer = a;
    ticket->ready.notify();
  });
}

void Brain::cancel(const Cancel& effect) {
  const auto it = tickets_.find(effect.request);
  if (it == tickets_.end()) return;
  // Never inline: the worker may be inside the call that caused it.
  net::post(it->second->home, [ticket = it->second, lease = effect.lease] {
    if (ticket->on_cancel) ticket->on_cancel(lease);
  });
}

void Brain::arm_timer(TimeNs at) {
  const bool earliest = wakes_.empty() || at < *wakes_.begin();
  wakes_.insert(at);
  if (earliest) wake_.notify();
}

void Brain::on_wake() {
  wakes_.erase(wakes_.begin(), wakes_.upper_bound(net::now_ns()));
  handle(Timer{});
}

net::Task<void> Brain::timer_loop(Brain* brain, std::shared_ptr<bool> alive) {
  while (*alive) {
    const TimeNs next = brain->wakes_.empty() ? kNever : *brain->wakes_.begin();
    const bool armed_anew = co_await brain->wake_.wait(next);
    if (!armed_anew && *alive) brain->on_wake();
  }
}

}  // namespace lodestar::proxy
