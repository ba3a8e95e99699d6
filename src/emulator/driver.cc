// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace lodestar::emulator {

using Kind = sim::EngineFault::Kind;

EngineDriver::EngineDriver(net::Executor executor, DriverConfig config)
    : executor_(executor), config_(std::move(config)), wake_(executor) {
  for (const sim::EngineFault& fault : config_.faults) {
    if (fault.kind == Kind::kJoin) down_ = true;
    if (fault.kind == Kind::kThrottle) {
      for (const sim::ThrottleStep& step : sim::throttle_steps(fault))
        add_fault({step.at, true, {.kind = Kind::kSlow, .at = step.at, .factor = step.factor}});
      continue;
    }
    add_fault({fault.at, true, fault});
    if (fault.until > fault.at && fault.kind != Kind::kFreeze)
      add_fault({fault.until, false, fault});
  }
}

// Keeps them by time; equal times stay in the file's order.
void EngineDriver::add_fault(FaultEvent event) {
  const auto at =
      std::upper_bound(faults_.begin(), faults_.end(), event.at,
                       [](TimeNs time, const FaultEvent& other) { return time < other.at; });
  faults_.insert(at, std::move(event));
}

Result<std::unique_ptr<EngineDriver>> EngineDriver::create(net::Executor executor,
                                                           DriverConfig config) {
  if (!(config.time_scale > 0))
    return fail(ErrorCode::kInvalidArgument, "the time scale must be above 0");
  std::unique_ptr<EngineDriver> driver(new EngineDriver(executor, std::move(config)));
  if (auto ok = driver->restart(); !ok) return std::unexpected(ok.error());
  driver->wall_start_ = net::now_ns();
  return driver;
}

// A fresh process: empty engine, counters at zero.
Result<void> EngineDriver::restart() {
  auto engine = sim::Engine::create(config_.engine, config_.step_time,
                                    Rng(config_.seed).fork("engine", life_++));
  if (!engine) return std::unexpected(engine.error());
  engine_ = std::make_unique<sim::Engine>(std::move(*engine));
  max_model_len_ = engine_->max_len();
  metrics_ = std::make_unique<VllmMetrics>(
      config_.served_model, config_.engine, max_model_len_, config_.gpu_memory_utilization,
      config_.unix_time_s + to_s(reached_) / config_.time_scale);
  return {};
}

TimeNs EngineDriver::engine_now() const {
  return static_cast<TimeNs>(static_cast<double>(net::now_ns() - wall_start_) * config_.time_scale);
}

TimeNs EngineDriver::next_time() const {
  const TimeNs fault = next_fault_ < faults_.size() ? faults_[next_fault_].at : kNever;
  return std::min(fault, engine_->next_event());
}

net::Task<void> EngineDriver::run() {
  while (!stopped_) {
    advance_to(engine_now());
    const TimeNs next = next_time();
    TimeNs deadline = kNever;
    if (next != kNever)
      deadline =
          wall_start_ + static_cast<TimeNs>(static_cast<double>(next) / config_.time_scale) + 1;
    co_await wake_.wait(deadline);
  }
}

void EngineDriver::stop() {
  stopped_ = true;
  wake_.notify();
}

void EngineDriver::advance_to(TimeNs now) {
  for (TimeNs next = next_time(); next <= now; next = next_time()) {
    reached_ = std::max(reached_, next);
    // A fault at the very time of a step goes first: a crash takes that step with it.
    if (next_fault_ < faults_.size() && faults_[next_fault_].at <= next) {
      apply(faults_[next_fault_++]);
    } else {
      take(reached_);
    }
  }
  reached_ = std::max(reached_, now);
}

// One engine event and what came out of it.
void EngineDriver::take(TimeNs at) {
  events_.clear();
  engine_->advance(at, events_);
  note_scheduled(at);
  std::int64_t prefilled = 0;
  for (const sim::TokenEvent& event : events_) {
    const auto found = live_.find(event.id);
    LODESTAR_CHECK(found != live_.end());
    const std::shared_ptr<Generation> g = found->second;
    if (event.first) {
      g->first_token = event.time;
      g->cached_tokens = event.cached_tokens;
      prefilled += g->prompt_tokens;
      metrics_->first_token(event.time - g->arrival);
    } else {
      metrics_->inter_token(event.time - g->last_token);
    }
    g->last_token = event.time;
    g->generated = event.total_tokens;
    if (event.finished) {
      if (event.reason == sim::FinishReason::kLength) g->ends_by_length = true;
      finish(g, event.time, g->ends_by_length ? Ending::kLength : Ending::kStop);
    }
    g->wake.notify();
  }
  if (!events_.empty()) metrics_->step(prefilled, static_cast<std::int64_t>(events_.size()));
}

// Admission is first come first served, so the requests that the engine no longer
// holds waiting are the oldest of those we submitted. (A preempted request waits
// again; until it is back, younger admissions are noted late.)
void EngineDriver::note_scheduled(TimeNs at) {
  const auto waiting = static_cast<std::size_t>(engine_->waiting_now());
  while (unscheduled_.size() > waiting) {
    unscheduled_.front()->scheduled = at;
    unscheduled_.pop_front();
  }
}

void EngineDriver::finish(const std::shared_ptr<Generation>& g, TimeNs at, Ending ending) {
  g->finished = true;
  if (g->scheduled == kNever) {
    const auto queued = std::find(unscheduled_.begin(), unscheduled_.end(), g);
    if (queued != unscheduled_.end()) unscheduled_.erase(queued);
    if (g->first_token != kNever) g->scheduled = g->first_token;
  }
  metrics_->ended({.prompt_tokens = g->prompt_tokens,
                   .cached_tokens = g->cached_tokens,
                   .generated_tokens = g->generated,
                   .max_tokens = g->max_tokens,
                   .arrival = g->arrival,
                   .scheduled = g->scheduled,
                   .first_token = g->first_token,
                   .last_token = g->last_token,
                   .end = at,
                   .ending = ending});
  live_.erase(g->id);
}

Result<std::shared_ptr<Generation>> EngineDriver::submit(
    std::int64_t prompt_tokens, std::int64_t output_tokens, std::int64_t max_tokens,
    bool ends_by_length, std::vector<std::uint64_t> block_hashes, std::uint64_t output_seed) {
  const TimeNs now = std::max(engine_now(), reached_);
  advance_to(now);
  if (!accepting()) return fail(ErrorCode::kUnavailable, "the engine is shutting down");
  auto generation = std::make_shared<Generation>(executor_);
  generation->id = next_id_++;
  generation->prompt_tokens = prompt_tokens;
  generation->output_tokens = output_tokens;
  generation->max_tokens = max_tokens;
  generation->ends_by_length = ends_by_length;
  generation->arrival = now;
  sim::EngineRequest request{.id = generation->id,
                             .prompt_tokens = prompt_tokens,
                             .output_tokens = output_tokens,
                             .block_hashes = std::move(block_hashes),
                             .output_seed = output_seed};
  if (auto ok = engine_->submit(now, std::move(request)); !ok) return std::unexpected(ok.error());
  live_.emplace(generation->id, generation);
  unscheduled_.push_back(generation);
  wake_.notify();
  return generation;
}

void EngineDriver::abort(Generation& generation) {
  const auto found = live_.find(generation.id);
  if (found == live_.end()) return;
  const std::shared_ptr<Generation> g = found->second;
  const TimeNs now = std::max(engine_now(), reached_);
  advance_to(now);
  if (g->finished) return;  // it ended on the way to now
  engine_->abort(now, g->id);
  finish(g, now, Ending::kAbort);
  g->wake.notify();
  wake_.notify();
}

void EngineDriver::apply(const FaultEvent& event) {
  const sim::EngineFault& fault = event.fault;
  switch (fault.kind) {
    case Kind::kSlow:
      engine_->set_slowdown(event.begin ? fault.factor : 1);
      break;
    case Kind::kFreeze:
      engine_->freeze(event.at, fault.until);
      break;
    case Kind::kCrash:
      if (event.begin) crash(event.at);
      down_ = event.begin && fault.until > fault.at;
      break;
    case Kind::kJoin:
      if (!event.begin) crash(event.at);  // it had joined for a while only
      down_ = !event.begin;
      break;
    case Kind::kLeave:
      leaving_ = event.begin;
      // It comes back as a fresh process; whatever is still running ends now.
      if (!event.begin) crash(event.at);
      break;
    case Kind::kRestartCache:
      engine_->lose_cache();
      break;
    case Kind::kShrinkCache:
      engine_->shrink_cache(event.begin ? fault.factor : 1);
      break;
    case Kind::kThrottle:
      break;  // came as steps of kind slow
    case Kind::kSwap:
      leaving_ = event.begin && fault.until > fault.at;
      if (leaving_) break;
      config_.engine = fault.swap->config;
      config_.step_time = fault.swap->step_time;
      crash(event.at);
      break;
  }
}

void EngineDriver::crash(TimeNs at) {
  engine_->crash(at);
  for (auto& [id, generation] : live_) {
    generation->failed = generation->finished = true;
    generation->wake.notify();
  }
  live_.clear();
  unscheduled_.clear();
  // The engine's configuration was accepted once already.
  if (auto ok = restart(); !ok) log_error("engine", ok.error().message);
}

void EngineDriver::kill() {
  crash(reached_);
  down_ = true;
  next_fault_ = faults_.size();
}

bool EngineDriver::reset_prefix_cache() {
  const TimeNs now = std::max(engine_now(), reached_);
  advance_to(now);
  if (!live_.empty()) return false;
  engine_->crash(now);
  return true;
}

}  // namespace lodestar::emulator
