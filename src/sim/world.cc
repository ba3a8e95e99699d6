// SPDX-License-Identifier: Apache-2.0
#include "sim/world.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/check.h"

namespace lodestar::sim {
World::World(WorldConfig config, Workload workload)
    : config_(std::move(config)), workload_(std::move(workload)), rng_(config_.seed) {}

Result<std::unique_ptr<World>> World::create(WorldConfig config, Workload workload,
                                             PolicyFactory factory,
                                             const std::function<void(const World*)>& born) {
  std::unique_ptr<World> world(new World(std::move(config), std::move(workload)));
  if (born) born(world.get());
  World& w = *world;
  auto probe = factory(w.config_.router.policy);
  if (!probe) return std::unexpected(probe.error());
  const bool every_token = (*probe)->needs().progress;
  for (WorldEngine& e : w.config_.engines) e.config.emit_every_token = every_token;
  w.config_.router.prefix_block_tokens = w.config_.view.hash_tokens();
  w.config_.router.fallbacks = 0;  // this driver comes back to the router itself
  for (int r = 0; r < std::max(w.config_.replicas, 1); ++r) {
    w.config_.router.seed =
        r == 0 ? w.config_.seed : hash_combine(w.config_.seed, static_cast<std::uint64_t>(r));
    auto router = Router::create(w.config_.router, factory);
    if (!router) return std::unexpected(router.error());
    w.routers_.push_back(std::move(*router));
  }
  if (!w.config_.engines.empty())
    w.engine_block_tokens_ = static_cast<int>(w.config_.engines[0].config.block_tokens);
  w.engines_.resize(w.config_.engines.size());
  for (std::uint32_t e = 0; e < w.engines_.size(); ++e) {
    WorldEngine& spec = w.config_.engines[e];
    spec.info.id = InstanceId{e};
    w.engines_[e].scrapers.resize(w.routers_.size());
    for (std::uint64_t r = 0; r < w.routers_.size(); ++r)
      w.engines_[e].scrapers[r].rng = w.rng_.fork("scrape", (r << 32) | e);
    if (auto made = w.make_engine(e); !made) return std::unexpected(made.error());
    const bool joins =
        std::any_of(spec.faults.begin(), spec.faults.end(),
                    [](const EngineFault& f) { return f.kind == EngineFault::Kind::kJoin; });
    w.engines_[e].present = !joins;
    if (!joins) w.bring_up(e);
  }
  w.schedule_faults();
  return world;
}

Result<void> World::make_engine(std::uint32_t e) {
  EngineState& state = engines_[e];
  const WorldEngine& spec = config_.engines[e];
  Rng rng = rng_.fork("engine", (std::uint64_t{e} << 32) | state.life);
  auto made = Engine::create(spec.config, spec.step_time, rng);
  if (!made) return std::unexpected(made.error());
  state.engine = std::make_unique<Engine>(std::move(*made));
  return {};
}

const Engine* World::engine(InstanceId id) const {
  if (id.value >= engines_.size() || !engines_[id.value].present) return nullptr;
  return engines_[id.value].engine.get();
}

// ---- the event loop ----------------------------------------------------------

void World::push(TimeNs at, Kind kind, std::uint32_t a, std::uint64_t b) {
  // Recurring items keep the clock going but cannot, alone, finish a request.
  if (kind != Kind::kScrape && kind != Kind::kGauges && kind != Kind::kProgress) ++waiting_items_;
  heap_.push_back({at, next_order_++, kind, a, b});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
}

TimeNs World::earliest_engine(std::size_t& which) const {
  TimeNs best = kNever;
  for (std::size_t e = 0; e < engines_.size(); ++e) {
    if (engines_[e].next < best) {
      best = engines_[e].next;
      which = e;
    }
  }
  return best;
}

void World::run() {
  for (std::uint64_t r = 0; r < routers_.size(); ++r)
    for (std::uint32_t e = 0; e < engines_.size(); ++e) {
      const auto phase =
          config_.scrape_period * static_cast<TimeNs>(r) / static_cast<TimeNs>(routers_.size());
      push(config_.scrape_period + phase, Kind::kScrape, e, r);
    }
  std::uint64_t turns = 0;
  for (;;) {
    const TimeNs arrival = workload_.next_arrival();
    std::size_t which = 0;
    const TimeNs engine_at = earliest_engine(which);
    if (arrival == kNever && open_ == 0) break;
    if (arrival == kNever && engine_at == kNever && waiting_items_ == 0)
      break;  // stuck: unfinished
    const TimeNs item_at = heap_.empty() ? kNever : heap_.front().at;
    const TimeNs next = std::min({arrival, engine_at, item_at});
    LODESTAR_CHECK(next != kNever && next >= now_);
    now_ = next;
    if (engine_at == next) {
      advance_engine(which);
    } else if (item_at == next) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
      const Item item = heap_.back();
      heap_.pop_back();
      if (item.kind != Kind::kScrape && item.kind != Kind::kGauges && item.kind != Kind::kProgress)
        --waiting_items_;
      handle_item(item);
    } else {
      arrive();
    }
    if (config_.progress && (++turns & 0xffff) == 0)
      config_.progress(records_.size() - open_, now_);
  }
}

void World::handle_item(const Item& item) {
  switch (item.kind) {
    case Kind::kFault:
      begin_fault(item.a, config_.engines[item.a].faults[item.b]);
      break;
    case Kind::kFaultEnd:
      end_fault(item.a, config_.engines[item.a].faults[item.b]);
      break;
    case Kind::kThrottleStep:
      engines_[item.a].engine->set_slowdown(std::bit_cast<double>(item.b));
      break;
    case Kind::kSubmit:
      submit(item.a, static_cast<std::uint32_t>(item.b));
      break;
    case Kind::kReport: {
      const Report r = reports_[item.a];
      free_reports_.push_back(item.a);
      report(r);
      break;
    }
    case Kind::kScrape:
      scrape(item.a, static_cast<std::uint32_t>(item.b));
      break;
    case Kind::kGauges:
      deliver_gauges(item.a, item.b);
      break;
    case Kind::kProgress:
      send_progress();
      break;
    case Kind::kTimer:
      tell_router(item.a, Timer{});
      break;
    case Kind::kPublish: {
      const Training training = trainings_[item.a];
      trainings_[item.a].job.reset();
      if (first_predictor_at_ == kNever) first_predictor_at_ = now_;
      tell_router(training.replica, PredictorPublished{training.policy, training.job->run()});
      break;
    }
  }
}

// ---- client side ---------------------------------------------------------------

EngineRequest World::engine_request(std::uint32_t index, std::int64_t output_tokens) const {
  const Live& live = live_[index];
  EngineRequest r;
  r.prompt_tokens = live.request.prompt_tokens;
  r.output_tokens = output_tokens;
  r.output_seed = hash_combine(config_.seed, live.request.index);
  block_hashes(live.request.content, live.truth.output, engine_block_tokens_, r.block_hashes);
  return r;
}

void World::set_pending(std::uint32_t index) {
  pending_ = engine_request(index, live_[index].truth.output_tokens);
  pending_index_ = index;
}

std::uint32_t World::replica_of(const SimRequest& request) const {
  if (routers_.size() == 1) return 0;
  if (config_.split == ReplicaSplit::kBySession && request.session != 0)
    return static_cast<std::uint32_t>(mix64(request.session) % routers_.size());
  return static_cast<std::uint32_t>(rng_.fork("split", request.index).below(routers_.size()));
}

// What the router gets to know, in the configured view. pending_ is that request.
RequestInfo World::request_info(const SimRequest& request) {
  const RouterView& view = config_.view;
  RequestInfo info;
  info.served_model = config_.served_model;
  if (view.coarse) {
    Rng rng = rng_.fork("prompt bytes", request.index);
    const double sigma = view.token_error;
    const double factor = sigma > 0 ? rng.lognormal(-sigma * sigma / 2, sigma) : 1.0;
    info.prompt_bytes = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(RouterView::kBytesPerToken * factor *
                                     static_cast<double>(request.prompt_tokens)));
    info.block_bytes = view.block_bytes;
  } else {
    info.prompt_tokens = static_cast<double>(request.prompt_tokens);
    info.block_tokens = view.block_tokens;
  }
  const int block = view.hash_tokens();
  const auto blocks = static_cast<std::ptrdiff_t>(request.prompt_tokens / block);
  const std::vector<std::uint64_t>* hashes = &pending_.block_hashes;
  if (block != engine_block_tokens_) {
    view_hashes_.clear();
    block_hashes(request.content, live_.back().truth.output, block, view_hashes_);
    hashes = &view_hashes_;
  }
  info.block_hashes.assign(hashes->begin(), hashes->begin() + blocks);
  if (request.session != 0) info.session_key = std::to_string(request.session);
  info.slo = request.slo;
  return info;
}

void World::arrive() {
  const SimRequest request = workload_.take();
  const auto index = static_cast<std::uint32_t>(records_.size());
  RequestRecord& record = records_.emplace_back();
  record.index = request.index;
  record.arrival = now_;
  record.prompt_tokens = request.prompt_tokens;
  record.counted = request.counted;
  record.slo_ttft_ms = request.slo.ttft_ms;
  record.slo_tpot_ms = request.slo.tpot_ms;
  Live& live = live_.emplace_back();
  live.request = request;
  live.truth = workload_.truth(request.index);
  live.active = true;
  live.replica = replica_of(request);
  ++open_;
  set_pending(index);
  RequestArrived event;
  event.request = RequestId{index + std::uint64_t{1}};
  event.info = request_info(request);
  const std::uint32_t replica = live.replica;
  const std::uint64_t before = config_.wall_ns ? config_.wall_ns() : 0;
  const Effects effects = routers_[replica]->handle(now_, event);
  if (config_.wall_ns && request.counted)
    decision_us_.push_back(static_cast<double>(config_.wall_ns() - before) * 1e-3);
  apply(replica, effects);
}

void World::finish(std::uint32_t index, bool failed) {
  Live& live = live_[index];
  if (!live.active) return;
  live.active = false;
  live.streaming = false;
  records_[index].failed = failed;
  if (failed) records_[index].failed_at = now_;
  if (!failed) last_end_ = std::max(last_end_, now_);
  --open_;
  workload_.on_complete(live.request.index, now_);
}

// ---- router side ---------------------------------------------------------------

void World::tell_router(std::uint32_t replica, const Event& event) {
  apply(replica, routers_[replica]->handle(now_, event));
}

void World::tell_routers(const Event& event) {
  for (std::uint32_t r = 0; r < routers_.size(); ++r) tell_router(r, event);
}

void World::apply(std::uint32_t replica, const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* d = std::get_if<Dispatch>(&effect)) {
      dispatch(*d);
    } else if (const auto* r = std::get_if<Reject>(&effect)) {
      finish(static_cast<std::uint32_t>(r->request.value - 1), /*failed=*/true);
    } else if (const auto* w = std::get_if<WakeAt>(&effect)) {
      push(std::max(w->at, now_), Kind::kTimer, replica);
    } else if (const auto* t = std::get_if<Train>(&effect)) {
      trainings_.push_back({replica, t->policy, t->job});
      push(now_ + t->job->simulated_duration(), Kind::kPublish,
           static_cast<std::uint32_t>(trainings_.size() - 1));
    } else if (const auto* c = std::get_if<Cancel>(&effect)) {
      const auto index = static_cast<std::uint32_t>(c->request.value - 1);
      const Live& live = live_[index];
      for (std::uint32_t s = 0; s < live.placements.size(); ++s) {
        if (live.placements[s].lease != c->lease) continue;
        const std::uint32_t e = live.placements[s].instance.value;
        if (engines_[e].present && engines_[e].engine->abort(now_, engine_id(index, live.epoch, s)))
          refresh(e);
      }
    }
  }
}

void World::dispatch(const Dispatch& d) {
  const auto index = static_cast<std::uint32_t>(d.request.value - 1);
  Live& live = live_[index];
  live.placements = d.placements;
  live.stage = 0;
  ++live.epoch;
  live.reported_tokens = live.seen_tokens = 0;
  records_[index].attempts = d.attempt + 1;
  records_[index].fallback = d.fallback;
  fallback_decisions_ += d.fallback;
  if (d.forecast.ttft_ms > 0) {
    records_[index].predicted_ttft_ms = static_cast<float>(d.forecast.ttft_ms);
    records_[index].predicted_lo_ms = static_cast<float>(d.forecast.ttft_low_ms);
    records_[index].predicted_hi_ms = static_cast<float>(d.forecast.ttft_high_ms);
  }
  send_stage(index);
}

void World::send_stage(std::uint32_t index) {
  if (config_.network_delay == 0) {
    submit(index, live_[index].epoch);
  } else {
    push(now_ + config_.network_delay, Kind::kSubmit, index, live_[index].epoch);
  }
}

void World::submit(std::uint32_t index, std::uint32_t epoch) {
  Live& live = live_[index];
  if (!live.active || live.epoch != epoch) return;
  const Placement& p = live.placements[live.stage];
  const std::uint32_t e = p.instance.value;
  EngineState& state = engines_[e];
  if (!state.present || state.incarnation != p.incarnation) {
    attempt_failed(index, ErrorCode::kConnection);
    return;
  }
  const std::int64_t wanted = p.role == Role::kPrefill ? 1 : live.truth.output_tokens;
  const bool prepared = std::exchange(pending_index_, kNoInstance) == index;
  EngineRequest request = prepared ? std::move(pending_) : engine_request(index, wanted);
  request.output_tokens = wanted;
  request.id = engine_id(index, epoch, live.stage);
  const std::int64_t block = state.engine->config().block_tokens;
  if (block != engine_block_tokens_)
    block_hashes(live.request.content, live.truth.output, static_cast<int>(block),
                 request.block_hashes);
  records_[index].instance = e;
  if (auto ok = state.engine->submit(now_, std::move(request)); !ok) {
    // The engine answers 400: the client's request, not the instance, is at fault.
    finish(index, /*failed=*/true);
    tell_router(live_[index].replica, Aborted{RequestId{index + std::uint64_t{1}}});
    return;
  }
  refresh(e);
}

void World::attempt_failed(std::uint32_t index, ErrorCode why) {
  Live& live = live_[index];
  if (!live.active) return;
  const LeaseId lease = live.placements[live.stage].lease;
  if (live.streaming) {  // bytes have reached the client: no second try
    finish(index, /*failed=*/true);
    tell_router(live_[index].replica, LeaseFailed{lease, why});
  } else {
    set_pending(index);
    tell_router(live_[index].replica,
                AttemptFailed{RequestId{index + std::uint64_t{1}}, lease, why});
  }
}

}  // namespace lodestar::sim
