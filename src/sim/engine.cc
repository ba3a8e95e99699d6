// SPDX-License-Identifier: Apache-2.0
#include "sim/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/check.h"

namespace lodestar::sim {
namespace {

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// Lengths stay far from overflow in K and A sums.
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

Result<void> check_ranges(const EngineConfig& c) {
  const std::pair<std::int64_t, const char*> at_least_one[] = {
      {c.max_num_batched_tokens, "max_num_batched_tokens"},
      {c.max_num_seqs, "max_num_seqs"},
      {c.block_tokens, "block_tokens"}};
  for (const auto& [value, name] : at_least_one) {
    if (value < 1 || value > kMostTokens)
      return invalid(fmt::format("engine: {} is {}; it must be at least 1", name, value));
  }
  if (c.max_model_len < 0)
    return invalid(
        fmt::format("engine: max_model_len is {}; it must not be negative", c.max_model_len));
  const std::int64_t blocks = c.kv_capacity_tokens / c.block_tokens;
  if (blocks < 2 || blocks >= std::numeric_limits<std::int32_t>::max()) {
    return invalid(
        fmt::format("engine: kv_capacity_tokens {} is {} blocks of {} tokens; at least "
                    "2 (one is never usable) and less than 2^31 are needed",
                    c.kv_capacity_tokens, blocks, c.block_tokens));
  }
  const std::pair<double, const char*> not_negative[] = {
      {c.jitter.sigma, "jitter.sigma"},
      {c.jitter.stall_ms, "jitter.stall_ms"},
      {c.jitter.stall_every_s, "jitter.stall_every_s"},
      {c.frontend_ms_per_request, "frontend_ms_per_request"},
      {c.frontend_us_per_token, "frontend_us_per_token"}};
  for (const auto& [value, name] : not_negative) {
    if (!std::isfinite(value) || value < 0)
      return invalid(fmt::format("engine: {} is {}; it must be at least 0", name, value));
  }
  if (!std::isfinite(c.speed_factor) || c.speed_factor <= 0)
    return invalid(fmt::format("engine: speed_factor is {}; it must be positive", c.speed_factor));
  return {};
}

}  // namespace

Result<Engine> Engine::create(const EngineConfig& config, std::shared_ptr<const StepTime> step_time,
                              Rng rng) {
  if (!step_time) return invalid("engine: no step time model");
  if (auto r = check_ranges(config); !r) return std::unexpected(r.error());
  const std::int64_t usable =
      (config.kv_capacity_tokens / config.block_tokens - 1) * config.block_tokens;
  std::int64_t max_len = config.max_model_len == 0 ? usable : config.max_model_len;
  if (!config.chunked_prefill) {
    if (config.max_model_len == 0) max_len = std::min(max_len, config.max_num_batched_tokens);
    if (config.max_num_batched_tokens < max_len) {
      return invalid(fmt::format(
          "engine: without chunked_prefill a prompt must fit into one step, but "
          "max_num_batched_tokens {} is below max_model_len {}; raise the budget, lower "
          "max_model_len or turn chunked_prefill on",
          config.max_num_batched_tokens, max_len));
    }
  }
  return Engine(config, std::move(step_time), rng, std::min(max_len, usable));
}

Engine::Engine(const EngineConfig& config, std::shared_ptr<const StepTime> step_time, Rng rng,
               std::int64_t max_len)
    : config_(config),
      step_time_(std::move(step_time)),
      rng_(rng),
      kv_(static_cast<std::uint32_t>(config.kv_capacity_tokens / config.block_tokens)),
      max_len_(max_len),
      time_scale_(1 / config.speed_factor) {
  if (config_.jitter.stall_every_s > 0)
    next_stall_ = from_s(rng_.exponential(config_.jitter.stall_every_s));
}

Result<void> Engine::check(const EngineRequest& r) const {
  if (r.prompt_tokens < 1 || r.output_tokens < 1) {
    return invalid(
        fmt::format("request {}: {} prompt and {} output tokens; both must be at least 1", r.id,
                    r.prompt_tokens, r.output_tokens));
  }
  if (r.prompt_tokens + 1 > max_len_) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("request {}: a prompt of {} tokens and one token of output do not fit "
                            "into {} tokens (max_model_len or KV cache)",
                            r.id, r.prompt_tokens, max_len_));
  }
  if (config_.prefix_caching &&
      static_cast<std::int64_t>(r.block_hashes.size()) < r.prompt_tokens / config_.block_tokens) {
    return invalid(
        fmt::format("request {}: {} block hashes for a prompt of {} tokens; one for "
                    "each full block of {} is needed with prefix caching",
                    r.id, r.block_hashes.size(), r.prompt_tokens, config_.block_tokens));
  }
  if (by_id_.find(r.id) != FlatMap64::kAbsent)
    return invalid(fmt::format("request {}: this id is in the engine already", r.id));
  return {};
}

TimeNs Engine::ready_time(TimeNs now, const EngineRequest& request) const {
  return now +
         from_ms(config_.frontend_ms_per_request +
                 config_.frontend_us_per_token * 1e-3 * static_cast<double>(request.prompt_tokens));
}

Result<void> Engine::submit(TimeNs now, EngineRequest request) {
  LODESTAR_CHECK(now >= last_now_);
  last_now_ = now;
  if (auto r = check(request); !r) return r;
  const TimeNs ready = ready_time(now, request);
  const std::uint32_t index = new_seq(std::move(request));
  // Stable by ready time; the front end handles requests side by side.
  const auto at = std::upper_bound(arriving_.begin(), arriving_.end(), ready,
                                   [](TimeNs t, const Arrival& a) { return t < a.ready; });
  arriving_.insert(at, Arrival{ready, index});
  if (ready == now) accept_arrivals(now);
  if (executing_.number < 0 && !waiting_.empty() && wake_ == kNever)
    wake_ = std::max(now, frozen_until_);
  return {};
}

std::uint32_t Engine::new_seq(EngineRequest&& request) {
  std::uint32_t index = 0;
  if (spare_.empty()) {
    index = static_cast<std::uint32_t>(seqs_.size());
    seqs_.emplace_back();
    infos_.emplace_back();
  } else {
    index = spare_.back();
    spare_.pop_back();
  }
  const std::int64_t room = max_len_ - request.prompt_tokens;
  Seq& seq = seqs_[index];
  seq = Seq{.id = request.id, .planned = request.prompt_tokens, .known = request.prompt_tokens};
  seq.final_len = request.prompt_tokens + std::min(request.output_tokens, room);
  SeqInfo& info = infos_[index];
  std::vector<std::uint32_t> blocks = std::move(info.blocks);  // keep its memory
  blocks.clear();
  info = SeqInfo{};
  info.blocks = std::move(blocks);
  info.cut_at_max_len = request.output_tokens > room;
  info.request = std::move(request);
  by_id_.put(seq.id, index);
  return index;
}

void Engine::drop_seq(std::uint32_t index) {
  release_blocks(index);
  by_id_.erase(seqs_[index].id);
  infos_[index].request.block_hashes = {};
  spare_.push_back(index);
}

void Engine::accept_arrivals(TimeNs now) {
  std::size_t n = 0;
  for (; n < arriving_.size() && arriving_[n].ready <= now; ++n) {
    infos_[arriving_[n].seq].waiting = true;
    waiting_.push_back(arriving_[n].seq);
    ++unseen_arrivals_;
  }
  arriving_.erase(arriving_.begin(), arriving_.begin() + static_cast<std::ptrdiff_t>(n));
}

TimeNs Engine::next_event() const {
  if (executing_.number >= 0) return step_end_;
  if (arriving_.empty()) return wake_;
  return std::min(wake_, std::max(arriving_.front().ready, frozen_until_));
}

void Engine::advance(TimeNs now, std::vector<TokenEvent>& out) {
  LODESTAR_CHECK(now >= last_now_);
  last_now_ = now;
  for (TimeNs due = next_event(); due <= now; due = next_event()) {
    if (executing_.number >= 0) finish_step(due, out);
    start_steps(due);
  }
}

// Nothing executes: put the queued step, or a new one, to work.
void Engine::start_steps(TimeNs now) {
  wake_ = kNever;
  schedule_time_ = now;
  accept_arrivals(now);
  if (queued_.number < 0 && !schedule(queued_) && !(lend_withheld() && schedule(queued_))) {
    // Finished requests just gave back their blocks, so something always fits.
    LODESTAR_CHECK(waiting_.empty() && running_.empty());
    return;
  }
  execute_queued(now);
  if (config_.async_scheduling) schedule(queued_);
}

void Engine::execute_queued(TimeNs now) {
  std::swap(executing_, queued_);
  queued_.number = -1;
  step_start_ = now;
  step_end_ = now + noisy_duration_ns(now, executing_.shape);
}

DurationNs Engine::duration_ns(const StepShape& shape) const {
  return std::max<DurationNs>(1, from_ms(step_time_->step_ms(shape) * time_scale_));
}

DurationNs Engine::noisy_duration_ns(TimeNs now, const StepShape& shape) {
  DurationNs duration = duration_ns(shape);
  const JitterConfig& jitter = config_.jitter;
  if (jitter.sigma > 0) {
    const double mean_one = -jitter.sigma * jitter.sigma / 2;
    const double noise = rng_.lognormal(mean_one, jitter.sigma);
    duration = std::max<DurationNs>(1, from_ms(to_ms(duration) * noise));
  }
  if (now >= next_stall_) {
    duration += from_ms(jitter.stall_ms);
    next_stall_ = now + from_s(rng_.exponential(jitter.stall_every_s));
  }
  return duration;
}

void Engine::finish_step(TimeNs now, std::vector<TokenEvent>& out) {
  finished_.clear();
  for (std::uint32_t index : executing_.sampling) emit(index, now, out);
  if (!finished_.empty()) retire_finished();
  executing_.number = -1;
  step_end_ = kNever;
  ++stats_.steps;
  stats_.busy += now - step_start_;
  set_gauges();
}

void Engine::emit(std::uint32_t index, TimeNs now, std::vector<TokenEvent>& out) {
  Seq& seq = seqs_[index];
  ++seq.known;
  ++stats_.generation_tokens;
  const SeqInfo& info = infos_[index];
  const std::int64_t prompt = info.request.prompt_tokens;
  const bool first = seq.known == prompt + 1;
  const bool last = seq.known == seq.final_len;
  if (first) {
    stats_.prompt_tokens += prompt;
    stats_.prompt_tokens_cached += info.cached_tokens;
  }
  if (last) finished_.push_back(index);
  if (!config_.emit_every_token && !first && !last) return;
  FinishReason reason = FinishReason::kNone;
  if (last) reason = info.cut_at_max_len ? FinishReason::kLength : FinishReason::kStop;
  out.push_back({.id = seq.id,
                 .time = now,
                 .total_tokens = seq.known - prompt,
                 .cached_tokens = info.cached_tokens,
                 .first = first,
                 .finished = last,
                 .reason = reason,
                 .scheduled = info.scheduled});
}

// Ends the sequences of finished_: their blocks are free from the next schedule on.
void Engine::retire_finished() {
  const auto is_done = [this](std::uint32_t index) {
    return seqs_[index].known == seqs_[index].final_len;
  };
  std::erase_if(running_, is_done);
  for (std::uint32_t index : finished_) {
    const SeqInfo& info = infos_[index];
    // Preempted while its last token was on the way.
    if (info.waiting) std::erase(waiting_, index);
    ++(info.cut_at_max_len ? stats_.finished_length : stats_.finished_stop);
    drop_seq(index);
  }
}

void Engine::set_gauges() {
  stats_.running = running_now();
  stats_.waiting = static_cast<std::int64_t>(waiting_.size()) - unseen_arrivals_;
  stats_.kv_usage = kv_.usage();
}

void Engine::forget_in_plans(std::uint32_t index) {
  for (Plan* plan : {&executing_, &queued_}) std::erase(plan->sampling, index);
}

bool Engine::abort(TimeNs now, std::uint64_t id) {
  LODESTAR_CHECK(now >= last_now_);
  last_now_ = now;
  const std::uint32_t index = by_id_.find(id);
  if (index == FlatMap64::kAbsent) return false;
  // The steps that hold it run as planned; only its tokens are dropped.
  forget_in_plans(index);
  std::erase(running_, index);
  if (std::erase_if(arriving_, [&](const Arrival& a) { return a.seq == index; }) == 0) {
    const auto at = std::find(waiting_.begin(), waiting_.end(), index);
    if (at != waiting_.end()) {
      if (waiting_.end() - at <= unseen_arrivals_) --unseen_arrivals_;
      waiting_.erase(at);
    }
  }
  drop_seq(index);
  ++stats_.aborted;
  if (executing_.number < 0 && waiting_.empty()) wake_ = kNever;
  // Whoever waited behind it may have been planned against its blocks.
  for (std::uint32_t other : waiting_) infos_[other].fork_shared_ahead = -1;
  return true;
}

void Engine::set_slowdown(double factor) {
  LODESTAR_CHECK(std::isfinite(factor) && factor > 0);
  time_scale_ = factor / config_.speed_factor;
}

// Nothing can run. True when that is because a shrunk cache keeps blocks back.
bool Engine::lend_withheld() {
  if (kv_.withheld() == 0 || (waiting_.empty() && running_.empty())) return false;
  kv_.lend_withheld();
  return true;
}

void Engine::lose_cache() {
  kv_.forget_identities();
  for (std::uint32_t index : waiting_) {
    infos_[index].hit_depth = infos_[index].fork_depth = 0;
    infos_[index].fork_shared_ahead = -1;
  }
}

void Engine::shrink_cache(double part) {
  LODESTAR_CHECK(part > 0 && part <= 1);
  kv_.withhold(static_cast<std::int64_t>((1 - part) * static_cast<double>(kv_.usable_blocks())));
}

void Engine::freeze(TimeNs now, TimeNs until) {
  LODESTAR_CHECK(now >= last_now_);
  last_now_ = now;
  const TimeNs from = std::max(now, frozen_until_);
  if (until <= from) return;
  if (executing_.number >= 0) step_end_ += until - from;
  frozen_until_ = until;
  if (wake_ != kNever) wake_ = std::max(wake_, until);
}

std::vector<std::uint64_t> Engine::crash(TimeNs now) {
  LODESTAR_CHECK(now >= last_now_);
  std::vector<std::uint64_t> lost;
  for (std::uint32_t index : running_) lost.push_back(seqs_[index].id);
  for (std::uint32_t index : waiting_) lost.push_back(seqs_[index].id);
  for (const Arrival& arrival : arriving_) lost.push_back(seqs_[arrival.seq].id);
  std::sort(lost.begin(), lost.end());
  seqs_.clear();
  infos_.clear();
  spare_.clear();
  running_.clear();
  waiting_.clear();
  arriving_.clear();
  by_id_.clear();
  kv_.reset();
  executing_ = queued_ = Plan{};
  next_step_ = unseen_arrivals_ = 0;
  step_end_ = wake_ = kNever;
  frozen_until_ = 0;
  last_now_ = now;
  stats_ = EngineStats{};
  return lost;
}

}  // namespace lodestar::sim
