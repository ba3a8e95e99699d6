// SPDX-License-Identifier: Apache-2.0
// The scheduler of engine_schedule.cc on counts; see there for the why of each rule.
#include "sim/engine_fork.h"

#include <algorithm>

namespace lodestar::sim {

TimeNs Engine::predict_first_token(TimeNs now, const EngineRequest& request,
                                   ForkScratch& scratch) const {
  if (!check(request)) return kNever;
  return EngineFork(*this, request, scratch).run(now);
}

EngineFork::EngineFork(const Engine& engine, const EngineRequest& request, ForkScratch& scratch)
    : engine_(engine),
      config_(engine.config_),
      request_(request),
      running_(scratch.running_),
      resumed_(scratch.resumed_),
      pending_(scratch.pending_),
      pending_ready_(scratch.pending_ready_),
      free_(engine.kv_.free_blocks()),
      next_step_(engine.next_step_) {
  running_.clear();
  resumed_.clear();
  for (std::uint32_t index : engine.running_) {
    const Engine::Seq& seq = engine.seqs_[index];
    running_.push_back({.computed = seq.computed,
                        .planned = seq.planned,
                        .final_len = seq.final_len,
                        .slots = seq.slots,
                        .prefill_target = seq.prefill_target,
                        .final_step = seq.final_step,
                        .index = index});
  }
  executing_ = {engine.executing_.shape, engine.executing_.number};
  queued_ = {engine.queued_.shape, engine.queued_.number};
}

TimeNs EngineFork::run(TimeNs now) {
  pending_.assign(engine_.waiting_.begin(), engine_.waiting_.end());
  visible_ = pending_.size();
  pending_ready_.assign(pending_.size(), now);
  const TimeNs ready = engine_.ready_time(now, request_);
  bool added = false;
  for (const Engine::Arrival& arrival : engine_.arriving_) {
    if (!added && arrival.ready > ready) {
      pending_.push_back(kNewRequest);
      pending_ready_.push_back(ready);
      added = true;
    }
    pending_.push_back(arrival.seq);
    pending_ready_.push_back(arrival.ready);
  }
  if (!added) {
    pending_.push_back(kNewRequest);
    pending_ready_.push_back(ready);
  }

  if (executing_.number >= 0) {
    step_end_ = engine_.step_end_;
  } else if (!start(first_start(now))) {
    return kNever;
  }
  const std::int64_t last_step = next_step_ + kMaxSteps;
  while (executing_.number != target_step_) {
    retire(executing_.number);
    if (next_step_ > last_step || !start(step_end_)) return kNever;
  }
  return step_end_;
}

// When an idle engine starts: `now` may lie ahead of it, the time at which the
// new request will get there.
TimeNs EngineFork::first_start(TimeNs now) const {
  if (!engine_.waiting_.empty())
    return std::max(std::min(now, engine_.wake_), engine_.frozen_until_);
  return std::max(engine_.frozen_until_, pending_ready_.front());
}

// The next step starts at `now`, or when somebody has come. False: nothing ever
// runs, which a correct engine never does while the new request waits.
bool EngineFork::start(TimeNs now) {
  const auto accept = [this](TimeNs t) {
    while (visible_ < pending_.size() && pending_ready_[visible_] <= t) ++visible_;
  };
  accept(now);
  if (queued_.number < 0 && !schedule()) {
    if (visible_ == pending_.size()) return false;
    now = std::max(now, pending_ready_[visible_]);
    accept(now);
    if (!schedule()) return false;
  }
  executing_ = queued_;
  queued_.number = -1;
  step_end_ = now + engine_.duration_ns(executing_.shape);
  if (config_.async_scheduling) {
    schedule();
  } else {
    skip_decodes();
  }
  return true;
}

bool EngineFork::schedule() {
  queued_.shape = StepShape{};
  queued_.number = next_step_;
  // Estimates must not leave an empty engine without its blocks.
  if (running_.empty()) free_ = engine_.kv_.usable_blocks();
  std::int64_t budget = config_.max_num_batched_tokens;
  if (schedule_running(budget)) {
    while (head_exists() && budget > 0 &&
           static_cast<std::int64_t>(running_.size()) < config_.max_num_seqs)
      if (!admit_head(budget)) break;
  }
  if (queued_.shape.tokens == 0) {
    queued_.number = -1;
    return false;
  }
  ++next_step_;
  return true;
}

bool EngineFork::schedule_running(std::int64_t& budget) {
  bool undisturbed = true;
  StepShape& shape = queued_.shape;
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    ForkSeq& seq = running_[i];
    if (seq.planned >= seq.final_len) continue;
    const std::int64_t rest = seq.planned - seq.computed;
    if (rest == 1 && seq.computed < seq.slots && seq.computed >= seq.prefill_target) {
      ++seq.computed;
      shape.decode_context += seq.computed;
      ++shape.decode_seqs;
      ++shape.tokens;
      ++shape.sampling_seqs;
      if (++seq.planned == seq.final_len) seq.final_step = queued_.number;
      --budget;
      continue;
    }
    const std::int64_t tokens = std::min(rest, budget);
    bool self = false;
    while (!self && !extend(running_[i], tokens)) {
      self = i + 1 == running_.size();
      preempt_last();
      undisturbed = false;
    }
    if (self) break;
    place(running_[i], tokens);
    budget -= tokens;
  }
  return undisturbed;
}

void EngineFork::place(ForkSeq& seq, std::int64_t tokens) {
  StepShape& shape = queued_.shape;
  shape.tokens += tokens;
  if (seq.computed < seq.prefill_target) {
    const auto q = static_cast<double>(tokens);
    shape.prefill_attention += q * (static_cast<double>(seq.computed) + q / 2);
  } else {
    ++shape.decode_seqs;
    shape.decode_context += seq.computed + 1;
  }
  seq.computed += tokens;
  if (seq.computed < seq.planned) return;
  ++shape.sampling_seqs;
  if (++seq.planned == seq.final_len) seq.final_step = queued_.number;
  if (seq.index == kNewRequest && target_step_ < 0) target_step_ = queued_.number;
}

bool EngineFork::extend(ForkSeq& seq, std::int64_t tokens) {
  const std::int64_t missing = seq.computed + tokens - seq.slots;
  if (missing <= 0) return true;
  const std::int64_t blocks = (missing + config_.block_tokens - 1) / config_.block_tokens;
  if (blocks > free_) return false;
  free_ -= blocks;
  allocated_ += blocks;
  seq.own_blocks += blocks;
  seq.slots += blocks * config_.block_tokens;
  return true;
}

void EngineFork::preempt_last() {
  ForkSeq seq = running_.back();
  running_.pop_back();
  const std::int64_t freed = own_blocks(seq);
  const std::int64_t held = seq.slots / config_.block_tokens;
  free_ += freed;
  if (config_.prefix_caching) {
    // Nothing else was free, so allocations from now on eat its tail.
    seq.resume_blocks = std::min(seq.computed, (seq.planned - 1)) / config_.block_tokens;
    seq.resume_free = std::max<std::int64_t>(0, freed - (held - seq.resume_blocks));
    seq.resume_evicted = allocated_ + (held - seq.resume_blocks);
  }
  seq.computed = seq.slots = seq.own_blocks = 0;
  resumed_.push_back(seq);
}

// Blocks that come free when it goes: those it took in the fork, and those of
// its table that nobody else uses now. Users of a chain only thin out towards its
// tail, so the boundary can be searched.
std::int64_t EngineFork::own_blocks(const ForkSeq& seq) const {
  if (seq.index == kNewRequest) return seq.own_blocks;
  const auto& blocks = engine_.infos_[seq.index].blocks;
  const auto shared_end = std::partition_point(
      blocks.begin(), blocks.end(), [this](std::uint32_t b) { return engine_.kv_.refs(b) > 1; });
  return seq.own_blocks + (blocks.end() - shared_end);
}

void EngineFork::retire(std::int64_t step) {
  std::erase_if(running_, [&](const ForkSeq& seq) {
    if (seq.final_step != step) return false;
    free_ += own_blocks(seq);
    return true;
  });
}

// While every sequence decodes and the queue is empty or stuck, all steps up to
// the first ending are alike but for the growing contexts.
void EngineFork::skip_decodes() {
  const StepShape& shape = executing_.shape;
  const auto n = static_cast<std::int64_t>(running_.size());
  if (shape.decode_seqs != n || shape.tokens != n || visible_ < pending_.size()) return;
  std::int64_t steps = kMaxSteps;
  for (const ForkSeq& seq : running_) steps = std::min(steps, seq.final_len - seq.planned);
  if (steps <= 0) return;
  std::int64_t blocks = 0;
  for (const ForkSeq& seq : running_) {
    const std::int64_t missing = std::max<std::int64_t>(0, seq.computed + steps - seq.slots);
    blocks += (missing + config_.block_tokens - 1) / config_.block_tokens;
  }
  if (blocks > free_) return;
  StepShape next = shape;
  for (std::int64_t i = 0; i < steps; ++i) {
    next.decode_context += n;
    step_end_ += engine_.duration_ns(next);
  }
  next_step_ += steps;
  executing_ = {next, next_step_ - 1};
  for (ForkSeq& seq : running_) {
    extend(seq, steps);
    seq.computed += steps;
    seq.planned += steps;
    if (seq.planned == seq.final_len) seq.final_step = executing_.number;
  }
}

}  // namespace lodestar::sim
