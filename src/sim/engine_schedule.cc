// SPDX-License-Identifier: Apache-2.0
// What one step holds: vLLM V1's Scheduler.schedule() and the parts of its KV
// cache manager that decide (vllm/v1/core/sched/scheduler.py, kv_cache_manager.py).
#include <algorithm>

#include "base/check.h"
#include "sim/engine.h"

namespace lodestar::sim {

// Fills the plan; false when nothing can run. Waiting requests get a chance only
// when nobody was preempted: otherwise the two would trade places for ever.
bool Engine::schedule(Plan& plan) {
  plan.shape = StepShape{};
  plan.sampling.clear();
  plan.number = next_step_;
  unseen_arrivals_ = 0;
  std::int64_t budget = config_.max_num_batched_tokens;
  if (schedule_running(plan, budget)) {
    while (!waiting_.empty() && budget > 0 && running_now() < config_.max_num_seqs)
      if (!admit_head(plan, budget)) break;
  }
  if (plan.shape.tokens == 0) {
    plan.number = -1;
    return false;
  }
  ++next_step_;
  return true;
}

// False when somebody was preempted.
bool Engine::schedule_running(Plan& plan, std::int64_t& budget) {
  bool undisturbed = true;
  StepShape& shape = plan.shape;
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    const std::uint32_t index = running_[i];
    Seq& seq = seqs_[index];
    if (seq.planned >= seq.final_len) continue;  // its last token is being sampled already
    const std::int64_t rest = seq.planned - seq.computed;
    if (rest == 1 && seq.computed + 1 < seq.slots && seq.computed >= seq.prefill_target) {
      // The common case, a decode inside its last block.
      ++seq.computed;
      shape.decode_context += seq.computed;
      ++shape.decode_seqs;
      ++shape.tokens;
      ++shape.sampling_seqs;
      if (++seq.planned == seq.final_len) seq.final_step = plan.number;
      plan.sampling.push_back(index);
      --budget;
      continue;
    }
    const std::int64_t tokens = std::min(rest, budget);
    bool victim_is_self = false;
    while (!victim_is_self && !extend(index, tokens)) {
      victim_is_self = preempt_last() == index;
      undisturbed = false;
    }
    if (victim_is_self) break;
    place(plan, index, tokens);
    budget -= tokens;
  }
  return undisturbed;
}

// Adds `tokens` of a sequence, whose blocks are there, to the step.
void Engine::place(Plan& plan, std::uint32_t index, std::int64_t tokens) {
  Seq& seq = seqs_[index];
  StepShape& shape = plan.shape;
  shape.tokens += tokens;
  if (seq.computed < seq.prefill_target) {
    const auto q = static_cast<double>(tokens);
    shape.prefill_attention += q * (static_cast<double>(seq.computed) + q / 2);
  } else {
    ++shape.decode_seqs;
    shape.decode_context += seq.computed + 1;
  }
  seq.computed += tokens;
  cache_full_blocks(index);
  if (seq.computed < seq.planned) return;  // more prompt to come, no token yet
  ++shape.sampling_seqs;
  if (++seq.planned == seq.final_len) seq.final_step = plan.number;
  plan.sampling.push_back(index);
}

// Blocks for `tokens` more; all or none.
bool Engine::extend(std::uint32_t index, std::int64_t tokens) {
  Seq& seq = seqs_[index];
  SeqInfo& info = infos_[index];
  const std::int64_t missing = seq.computed + tokens - seq.slots;
  if (missing <= 0) return true;
  const std::int64_t blocks = (missing + config_.block_tokens - 1) / config_.block_tokens;
  if (blocks > kv_.free_blocks()) return false;
  for (std::int64_t i = 0; i < blocks; ++i) info.blocks.push_back(kv_.allocate());
  seq.slots += blocks * config_.block_tokens;
  return true;
}

// Full blocks get their identity when they are scheduled, so that a later
// request of the same step can hit them. Tokens still being sampled have none.
void Engine::cache_full_blocks(std::uint32_t index) {
  if (!config_.prefix_caching) return;
  const Seq& seq = seqs_[index];
  SeqInfo& info = infos_[index];
  const std::int64_t full = std::min(seq.computed, seq.known) / config_.block_tokens;
  for (std::int64_t i = info.hashed_blocks; i < full; ++i)
    kv_.set_hash(info.blocks[static_cast<std::size_t>(i)], block_hash(info, i));
  info.hashed_blocks = std::max(info.hashed_blocks, full);
}

std::uint64_t Engine::block_hash(const SeqInfo& info, std::int64_t index) const {
  const auto& named = info.request.block_hashes;
  if (index < static_cast<std::int64_t>(named.size()))
    return named[static_cast<std::size_t>(index)];
  return generated_block_hash(info.request.output_seed, index);
}

// Last in, first out; recompute only. Its blocks keep their identity, so that it
// usually finds its own prefix again.
std::uint32_t Engine::preempt_last() {
  const std::uint32_t index = running_.back();
  running_.pop_back();
  release_blocks(index);
  seqs_[index].computed = 0;
  SeqInfo& info = infos_[index];
  ++info.preemptions;
  info.waiting = true;
  info.hit_depth = 0;
  info.fork_shared_ahead = -1;
  waiting_.push_front(index);
  ++stats_.preemptions;
  return index;
}

void Engine::release_blocks(std::uint32_t index) {
  SeqInfo& info = infos_[index];
  kv_.release(info.blocks);
  info.blocks.clear();
  info.hashed_blocks = 0;
  seqs_[index].slots = 0;
}

// Longest cached prefix into hits_: at most all tokens but one, in whole blocks.
void Engine::find_hits(std::uint32_t index) {
  hits_.clear();
  SeqInfo& info = infos_[index];
  const std::int64_t most = (seqs_[index].planned - 1) / config_.block_tokens;
  for (std::int64_t i = 0; i < most; ++i) {
    const std::uint32_t block = kv_.find(block_hash(info, i));
    if (block == KvCache::kNullBlock) break;
    hits_.push_back(block);
  }
  info.hit_depth = static_cast<std::int64_t>(hits_.size());
}

// A blocked head is tried again each step. When the block after its last known
// depth is still missing, its hits cannot have grown, so a quick bound decides
// without walking the whole prompt. Never true for a request that would fit.
bool Engine::surely_blocked(std::uint32_t index) {
  const SeqInfo& info = infos_[index];
  const Seq& seq = seqs_[index];
  const std::int64_t depth = info.hit_depth;
  const std::int64_t blocks = (seq.planned + config_.block_tokens - 1) / config_.block_tokens;
  if (!config_.reserve_full_prompt || depth == 0 || blocks - depth <= kv_.free_blocks())
    return false;
  if (kv_.find(block_hash(info, depth - 1)) == KvCache::kNullBlock) return false;
  if (depth >= (seq.planned - 1) / config_.block_tokens) return true;
  return kv_.find(block_hash(info, depth)) == KvCache::kNullBlock;
}

// Tries to run the first waiting request; false blocks all behind it too.
bool Engine::admit_head(Plan& plan, std::int64_t& budget) {
  const std::uint32_t index = waiting_.front();
  Seq& seq = seqs_[index];
  SeqInfo& info = infos_[index];
  const std::int64_t block_tokens = config_.block_tokens;
  const bool blocked = config_.prefix_caching && surely_blocked(index);
  hits_.clear();
  if (config_.prefix_caching) {
    if (!blocked) find_hits(index);
    if (info.preemptions == 0) {  // counted at each try, as vLLM does
      stats_.prefix_queries += seq.planned;
      stats_.prefix_hits += info.hit_depth * block_tokens;
    }
  }
  if (blocked) return false;
  const auto hit_blocks = static_cast<std::int64_t>(hits_.size());
  const std::int64_t rest = seq.planned - hit_blocks * block_tokens;
  if (!config_.chunked_prefill && rest > budget) return false;
  const std::int64_t tokens = std::min(rest, budget);

  const std::int64_t must_fit =
      config_.reserve_full_prompt ? seq.planned : hit_blocks * block_tokens + tokens;
  std::int64_t needed = (must_fit + block_tokens - 1) / block_tokens - hit_blocks;
  // Hit blocks that nobody uses leave the free list too.
  for (std::uint32_t block : hits_) needed += kv_.refs(block) == 0;
  if (needed > kv_.free_blocks()) return false;

  waiting_.pop_front();
  running_.push_back(index);
  info.waiting = false;
  for (std::uint32_t block : hits_) kv_.touch(block);
  info.blocks.assign(hits_.begin(), hits_.end());
  info.hashed_blocks = hit_blocks;
  if (info.cached_tokens < 0) {
    info.cached_tokens = hit_blocks * block_tokens;
    info.scheduled = schedule_time_;
  }
  seq.computed = hit_blocks * block_tokens;
  seq.slots = seq.computed;
  seq.prefill_target = seq.planned;
  LODESTAR_CHECK(extend(index, tokens));
  place(plan, index, tokens);
  budget -= tokens;
  return true;
}

}  // namespace lodestar::sim
