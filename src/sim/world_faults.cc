// SPDX-License-Identifier: Apache-2.0
// What goes wrong with engines, and what the router gets to know of it.
#include "sim/world.h"

namespace lodestar::sim {

void World::schedule_faults() {
  for (std::uint32_t e = 0; e < engines_.size(); ++e) {
    const auto& faults = config_.engines[e].faults;
    for (std::uint64_t f = 0; f < faults.size(); ++f) {
      push(faults[f].at, Kind::kFault, e, f);
      if (faults[f].until > faults[f].at) push(faults[f].until, Kind::kFaultEnd, e, f);
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
      tell_router(InstanceChanged{InstanceId{e}, Health::kDraining});
      break;
  }
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
  state.in_flight_gauges.clear();
  state.frozen_until = 0;
  tell_router(InstanceDown{InstanceId{e}});
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
  tell_router(InstanceUp{info});
}

}  // namespace lodestar::sim
