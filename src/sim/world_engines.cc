// SPDX-License-Identifier: Apache-2.0
// What comes back from the engines: tokens, gauges, and in the end a result.
#include <algorithm>
#include <utility>

#include "sim/world.h"

namespace lodestar::sim {

void World::refresh(std::size_t e) {
  engines_[e].next = engines_[e].present ? engines_[e].engine->next_event() : kNever;
}

void World::advance_engine(std::size_t e) {
  token_events_.clear();
  engines_[e].engine->advance(now_, token_events_);
  refresh(e);
  for (const TokenEvent& event : token_events_) {
    const Report r{index_of(event.id), epoch_of(event.id), stage_of(event.id), event};
    if (config_.network_delay == 0) {
      report(r);
      continue;
    }
    std::uint32_t slot;
    if (free_reports_.empty()) {
      slot = static_cast<std::uint32_t>(reports_.size());
      reports_.push_back(r);
    } else {
      slot = free_reports_.back();
      free_reports_.pop_back();
      reports_[slot] = r;
    }
    push(now_ + config_.network_delay, Kind::kReport, slot);
  }
}

void World::report(const Report& r) {
  Live& live = live_[r.index];
  if (!live.active || (live.epoch & 0xfffu) != r.epoch || live.stage != r.stage) return;
  const Placement placement = live.placements[live.stage];
  const bool prefill_only = placement.role == Role::kPrefill;
  RequestRecord& record = records_[r.index];
  live.seen_tokens = r.event.total_tokens;
  if (r.event.first) {
    if (!prefill_only) {
      record.first_token = now_;
      record.cached_tokens = r.event.cached_tokens;
      live.streaming = true;
    }
    live.reported_tokens = 1;
    tell_router(FirstToken{placement.lease});
    if (router_->needs_progress() && !r.event.finished) {
      streaming_.push_back(r.index);
      if (!std::exchange(progress_running_, true))
        push(now_ + config_.progress_period, Kind::kProgress);
    }
  }
  if (!r.event.finished) return;
  Ended end{placement.lease, r.event.total_tokens, {}, now_};
  end.usage.prompt_tokens = live.request.prompt_tokens;
  end.usage.cached_tokens = r.event.cached_tokens;
  end.usage.completion_tokens = r.event.total_tokens;
  if (!prefill_only) {
    record.last_token = now_;
    record.output_tokens = r.event.total_tokens;
    finish(r.index, /*failed=*/false);
  }
  tell_router(end);
  if (prefill_only) {
    ++live_[r.index].stage;
    live_[r.index].seen_tokens = live_[r.index].reported_tokens = 0;
    send_stage(r.index);
  }
}

void World::send_progress() {
  TokenProgress batch;
  std::size_t kept = 0;
  for (std::uint32_t index : streaming_) {
    Live& live = live_[index];
    if (!live.active) continue;
    streaming_[kept++] = index;
    if (live.seen_tokens <= live.reported_tokens) continue;
    batch.items.push_back(
        {live.placements[live.stage].lease, live.seen_tokens - live.reported_tokens});
    live.reported_tokens = live.seen_tokens;
  }
  streaming_.resize(kept);
  progress_running_ = kept > 0;
  if (progress_running_) push(now_ + config_.progress_period, Kind::kProgress);
  if (!batch.items.empty()) tell_router(batch);
}

void World::scrape(std::uint32_t e) {
  EngineState& state = engines_[e];
  push(now_ + config_.scrape_period, Kind::kScrape, e);
  const bool lost = config_.scrape_loss > 0 && state.scrape_rng.uniform() < config_.scrape_loss;
  if (!state.present || lost || now_ < state.frozen_until) return;
  const EngineStats& s = state.engine->stats();
  LoadSnapshot load;
  load.running = static_cast<double>(s.running);
  load.waiting = static_cast<double>(s.waiting);
  load.kv_usage = s.kv_usage;
  load.prefix_queries_tokens = static_cast<double>(s.prefix_queries);
  load.prefix_hits_tokens = static_cast<double>(s.prefix_hits);
  load.preemptions = static_cast<double>(s.preemptions);
  load.taken_at = now_;
  state.in_flight_gauges.push_back(load);
  if (config_.scrape_delay == 0) {
    deliver_gauges(e, state.life);
  } else {
    push(now_ + config_.scrape_delay, Kind::kGauges, e, state.life);
  }
}

void World::deliver_gauges(std::uint32_t e, std::uint64_t life) {
  EngineState& state = engines_[e];
  if (state.life != life || state.in_flight_gauges.empty()) return;
  const LoadSnapshot load = state.in_flight_gauges.front();
  state.in_flight_gauges.erase(state.in_flight_gauges.begin());
  tell_router(Scraped{InstanceId{e}, state.incarnation, load});
}

CellResult World::result() const {
  CellResult cell;
  cell.seed = config_.seed;
  const double total_s = to_s(std::max<TimeNs>(last_end_, 1));
  for (std::size_t e = 0; e < engines_.size(); ++e) {
    const EngineState& state = engines_[e];
    const DurationNs busy = state.busy_before + state.engine->stats().busy;
    cell.instances.push_back({config_.engines[e].info.name, 0, to_s(busy) / total_s});
    cell.preemptions +=
        static_cast<std::uint64_t>(state.preemptions_before + state.engine->stats().preemptions);
  }
  summarise_records(records_, cell);
  cell.unfinished = open_;
  cell.decision_us = summarise(decision_us_);
  cell.decision_hash = router_->decision_hash();
  cell.state_hash = router_->state_hash();
  cell.simulated_s = to_s(now_);
  cell.fallback_decisions = fallback_decisions_;
  cell.retried = router_->counters().retried;
  if (first_predictor_at_ != kNever) cell.first_predictor_s = to_s(first_predictor_at_);
  return cell;
}

}  // namespace lodestar::sim
