// SPDX-License-Identifier: Apache-2.0
// What goes wrong with engines, and what the routers get to know of it.
#include <bit>

#include "base/check.h"
#include "sim/world.h"

namespace lodestar::sim {

std::vector<ThrottleStep> throttle_steps(const EngineFault& fault) {
  constexpr int kSteps = 20;
  std::vector<ThrottleStep> steps;
  for (int k = 1; k <= 2 * kSteps; ++k) {
    const bool up = k <= kSteps;
    if (!up && fault.until == 0) break;  // for ever
    const TimeNs from = up ? fault.at : fault.until;
    const int done = up ? k : k - kSteps;
    const double level = static_cast<double>(up ? done : kSteps - done) / kSteps;
    steps.push_back({from + fault.ramp * done / kSteps, 1 + (fault.factor - 1) * level});
  }
  return steps;
}

void World::schedule_faults() {
  for (std::uint32_t e = 0; e < engines_.size(); ++e) {
    const auto& faults = config_.engines[e].faults;
    for (std::uint64_t f = 0; f < faults.size(); ++f) {
      const EngineFault& fault = faults[f];
      if (fault.kind != EngineFault::Kind::kThrottle) {
        push(fault.at, Kind::kFault, e, f);
        if (fault.until > fault.at) push(fault.until, Kind::kFaultEnd, e, f);
        continue;
      }
      for (const ThrottleStep& step : throttle_steps(fault))
        push(step.at, Kind::kThrottleStep, e, std::bit_cast<std::uint64_t>(step.factor));
    }
  }
}

void World::begin_fault(std::uint32_t e, const EngineFault& fault) {
  EngineState& state = engines_[e];
  switch (fault.kind) {
    case EngineFault::Kind::kSlow:
      state.engine->set_slowdown(fault.factor);
      break;
    case EngineFault::Kind::kFreeze:
      state.engine->freeze(now_, fault.until);
      state.frozen_until = fault.until;
      refresh(e);
      break;
    case EngineFault::Kind::kCrash:
      if (!state.present) break;
      crash_engine(e);
      if (fault.until <= fault.at) bring_up(e);
      break;
    case EngineFault::Kind::kJoin:
      if (!state.present) bring_up(e);
      break;
    case EngineFault::Kind::kLeave:
      if (!state.present) break;
      state.draining = true;
      tell_routers(InstanceChanged{InstanceId{e}, Health::kDraining});
      break;
    case EngineFault::Kind::kRestartCache:
      state.engine->lose_cache();
      break;
    case EngineFault::Kind::kShrinkCache:
      state.engine->shrink_cache(fault.factor);
      break;
    case EngineFault::Kind::kThrottle:
      break;  // in steps of its own
    case EngineFault::Kind::kSwap:
      if (fault.until > fault.at) {
        if (!state.present) break;
        state.draining = true;
        tell_routers(InstanceChanged{InstanceId{e}, Health::kDraining});
        break;
      }
      become(e, *fault.swap);
      break;
  }
}

// What still runs there ends now; another engine answers from then on.
void World::become(std::uint32_t e, const EngineSwap& swap) {
  WorldEngine& spec = config_.engines[e];
  const bool every_token = spec.config.emit_every_token;
  spec.config = swap.config;
  spec.config.emit_every_token = every_token;
  spec.step_time = swap.step_time;
  spec.info.kv_capacity_tokens = swap.config.kv_capacity_tokens;
  spec.info.max_num_seqs = swap.config.max_num_seqs;
  spec.info.prefix_caching = swap.config.prefix_caching;
  spec.info.max_model_len = swap.max_model_len;
  spec.info.told_prefill_tokens_per_s = swap.told_prefill_tokens_per_s;
  if (engines_[e].present) {
    crash_engine(e);
  } else {
    const Result<void> made = make_engine(e);
    LODESTAR_CHECK(made.has_value());  // the configuration was checked when it was read
  }
  bring_up(e);
}

void World::end_fault(std::uint32_t e, const EngineFault& fault) {
  EngineState& state = engines_[e];
  switch (fault.kind) {
    case EngineFault::Kind::kSlow:
      state.engine->set_slowdown(1.0);
      break;
    case EngineFault::Kind::kFreeze:
      break;  // the engine thaws by itself
    case EngineFault::Kind::kCrash:
      bring_up(e);
      break;
    case EngineFault::Kind::kJoin:
      if (state.present) crash_engine(e);
      break;  // joined for a while only
    case EngineFault::Kind::kLeave:  // what is still running there ends now
      if (state.present) crash_engine(e);
      bring_up(e);
      break;
    case EngineFault::Kind::kShrinkCache:
      state.engine->shrink_cache(1);
      break;
    case EngineFault::Kind::kSwap:
      become(e, *fault.swap);
      break;
    case EngineFault::Kind::kRestartCache:
    case EngineFault::Kind::kThrottle:
      break;
  }
}

// In-flight requests see their connections break, then the router learns that
// the incarnation is gone: it owns nothing from then on.
void World::crash_engine(std::uint32_t e) {
  const std::vector<std::uint64_t> lost = engines_[e].engine->crash(now_);
  take_down(e);
  for (std::uint64_t id : lost) {
    const Live& live = live_[index_of(id)];
    if (live.active && (live.epoch & 0xfffu) == epoch_of(id))
      attempt_failed(index_of(id), ErrorCode::kConnection);
  }
}

void World::take_down(std::uint32_t e) {
  EngineState& state = engines_[e];
  state.busy_before += state.engine->stats().busy;
  state.preemptions_before += state.engine->stats().preemptions;
  state.present = false;
  state.next = kNever;
  ++state.life;
  for (EngineState::Scraper& scraper : state.scrapers) scraper.in_flight.clear();
  state.frozen_until = 0;
  tell_routers(InstanceDown{InstanceId{e}});
  const Result<void> made = make_engine(e);  // for the next life; it was valid before
  LODESTAR_CHECK(made.has_value());
}

void World::bring_up(std::uint32_t e) {
  EngineState& state = engines_[e];
  if (state.present && state.life > 0) return;
  state.present = true;
  state.draining = false;
  if (state.life > 0) ++state.incarnation;
  InstanceInfo info = config_.engines[e].info;
  info.incarnation = state.incarnation;
  config_.engines[e].info.incarnation = state.incarnation;
  tell_routers(InstanceUp{info});
}

}  // namespace lodestar::sim
