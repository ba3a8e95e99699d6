// SPDX-License-Identifier: Apache-2.0
// What comes back from the engines: tokens, gauges, and in the end a result.
#include <fmt/format.h>

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
    tell_router(live_[r.index].replica, FirstToken{placement.lease});
    if (routers_[live_[r.index].replica]->needs_progress() && !r.event.finished) {
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
  tell_router(live_[r.index].replica, end);
  if (prefill_only) {
    ++live_[r.index].stage;
    live_[r.index].seen_tokens = live_[r.index].reported_tokens = 0;
    send_stage(r.index);
  }
}

void World::send_progress() {
  std::vector<TokenProgress> batches(routers_.size());
  std::size_t kept = 0;
  for (std::uint32_t index : streaming_) {
    Live& live = live_[index];
    if (!live.active) continue;
    streaming_[kept++] = index;
    if (live.seen_tokens <= live.reported_tokens) continue;
    batches[live.replica].items.push_back(
        {live.placements[live.stage].lease, live.seen_tokens - live.reported_tokens});
    live.reported_tokens = live.seen_tokens;
  }
  streaming_.resize(kept);
  progress_running_ = kept > 0;
  if (progress_running_) push(now_ + config_.progress_period, Kind::kProgress);
  for (std::uint32_t r = 0; r < batches.size(); ++r)
    if (!batches[r].items.empty()) tell_router(r, batches[r]);
}

void World::scrape(std::uint32_t e, std::uint32_t replica) {
  EngineState& state = engines_[e];
  EngineState::Scraper& scraper = state.scrapers[replica];
  push(now_ + config_.scrape_period, Kind::kScrape, e, replica);
  const bool lost = config_.scrape_loss > 0 && scraper.rng.uniform() < config_.scrape_loss;
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
  scraper.in_flight.push_back(load);
  const std::uint64_t life_and_replica = (state.life << 16) | replica;
  if (config_.scrape_delay == 0) {
    deliver_gauges(e, life_and_replica);
  } else {
    push(now_ + config_.scrape_delay, Kind::kGauges, e, life_and_replica);
  }
}

void World::deliver_gauges(std::uint32_t e, std::uint64_t life_and_replica) {
  EngineState& state = engines_[e];
  const auto replica = static_cast<std::uint32_t>(life_and_replica & 0xffffu);
  std::vector<LoadSnapshot>& in_flight = state.scrapers[replica].in_flight;
  if (state.life != life_and_replica >> 16 || in_flight.empty()) return;
  const LoadSnapshot load = in_flight.front();
  in_flight.erase(in_flight.begin());
  tell_router(replica, Scraped{InstanceId{e}, state.incarnation, load});
}

std::string World::view_text() const {
  const RouterView& view = config_.view;
  std::string text = view.coarse
                         ? fmt::format("coarse: blocks of {} bytes, prompts known to {:.3g} %",
                                       view.block_bytes, 100 * view.token_error)
                     : view.block_tokens == RouterView{}.block_tokens
                         ? "exact"
                         : fmt::format("exact, in blocks of {} tokens", view.block_tokens);
  if (routers_.size() > 1) text += fmt::format("; {} routers", routers_.size());
  return text;
}

CellResult World::result() const {
  CellResult cell;
  cell.router_view = view_text();
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
  cell.decision_hash = routers_[0]->decision_hash();
  cell.state_hash = routers_[0]->state_hash();
  for (std::size_t r = 1; r < routers_.size(); ++r) {
    cell.decision_hash = hash_combine(*cell.decision_hash, routers_[r]->decision_hash());
    cell.state_hash = hash_combine(*cell.state_hash, routers_[r]->state_hash());
  }
  cell.simulated_s = to_s(now_);
  cell.fallback_decisions = fallback_decisions_;
  for (const auto& router : routers_) cell.retried += router->counters().retried;
  if (first_predictor_at_ != kNever) cell.first_predictor_s = to_s(first_predictor_at_);
  return cell;
}

}  // namespace lodestar::sim
