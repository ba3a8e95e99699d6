// SPDX-License-Identifier: Apache-2.0
// How a waiting request enters the fork: what it will find in the cache by then.
#include <algorithm>

#include "sim/engine_fork.h"

namespace lodestar::sim {

const EngineRequest& EngineFork::request_of(const ForkSeq& seq) const {
  return seq.index == kNewRequest ? request_ : engine_.infos_[seq.index].request;
}

std::uint64_t EngineFork::hash(const ForkSeq& seq, std::int64_t block) const {
  const EngineRequest& r = request_of(seq);
  if (block < static_cast<std::int64_t>(r.block_hashes.size()))
    return r.block_hashes[static_cast<std::size_t>(block)];
  return generated_block_hash(r.output_seed, block);
}

ForkSeq EngineFork::head() const {
  if (!resumed_.empty()) return resumed_.back();
  ForkSeq seq;
  seq.index = pending_[next_waiting_];
  if (seq.index == kNewRequest) {
    seq.planned = request_.prompt_tokens;
    seq.final_len = std::min(request_.prompt_tokens + request_.output_tokens, engine_.max_len_);
  } else {
    seq.planned = engine_.seqs_[seq.index].planned;
    seq.final_len = engine_.seqs_[seq.index].final_len;
  }
  return seq;
}

bool EngineFork::admit_head(std::int64_t& budget) {
  const std::int64_t block_tokens = config_.block_tokens;
  ForkSeq seq = head();
  if (seq.planned >= seq.final_len) {  // preempted, but its last token is on the way
    if (resumed_.empty()) {
      ++next_waiting_;
    } else {
      resumed_.pop_back();
    }
    return true;
  }
  std::int64_t unused = 0;
  const std::int64_t depth = config_.prefix_caching ? hit_depth(seq, unused) : 0;
  const std::int64_t rest = seq.planned - depth * block_tokens;
  if (!config_.chunked_prefill && rest > budget) return false;
  const std::int64_t tokens = std::min(rest, budget);
  const std::int64_t must_fit =
      config_.reserve_full_prompt ? seq.planned : depth * block_tokens + tokens;
  if ((must_fit + block_tokens - 1) / block_tokens - depth + unused > free_) return false;

  if (resumed_.empty()) {
    ++next_waiting_;
  } else {
    resumed_.pop_back();
  }
  free_ -= unused;
  seq.own_blocks = unused;
  seq.computed = seq.slots = depth * block_tokens;
  seq.prefill_target = seq.planned;
  running_.push_back(seq);
  extend(running_.back(), tokens);
  place(running_.back(), tokens);
  budget -= tokens;
  return true;
}

// Blocks it will find; `unused`: how many of them are on the free list by then.
std::int64_t EngineFork::hit_depth(const ForkSeq& seq, std::int64_t& unused) const {
  const std::int64_t most = (seq.planned - 1) / config_.block_tokens;
  if (seq.resume_blocks > 0) {
    const std::int64_t lost = std::max<std::int64_t>(0, allocated_ - seq.resume_evicted);
    const std::int64_t depth = std::max<std::int64_t>(0, seq.resume_blocks - lost);
    unused = std::max<std::int64_t>(0, seq.resume_free - lost);
    return depth;
  }
  std::int64_t depth = 0;
  if (seq.index == kNewRequest) {
    depth = cached_depth(seq, 0);
  } else {
    // The depth found last time, if its end is still cached, saves the walk.
    std::int64_t& known = engine_.infos_[seq.index].fork_depth;
    if (known > most || (known > 0 && engine_.kv_.find(hash(seq, known - 1)) == 0)) known = 0;
    known = depth = cached_depth(seq, known);
  }
  const std::int64_t ahead = std::min(most, shared_ahead(seq));
  if (ahead > depth) {
    unused = 0;
    return cached_depth(seq, ahead);
  }
  unused = unused_between(seq, ahead, depth);
  return depth;
}

std::int64_t EngineFork::cached_depth(const ForkSeq& seq, std::int64_t from) const {
  const std::int64_t most = (seq.planned - 1) / config_.block_tokens;
  while (from < most && engine_.kv_.find(hash(seq, from)) != KvCache::kNullBlock) ++from;
  return from;
}

// Hit blocks of [from, to) that no sequence uses: they lie at the end.
std::int64_t EngineFork::unused_between(const ForkSeq& seq, std::int64_t from,
                                        std::int64_t to) const {
  std::int64_t low = from, high = to;  // first unused one
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (engine_.kv_.refs(engine_.kv_.find(hash(seq, middle))) > 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return to - low;
}

// Blocks that requests ahead of it will have computed before it is admitted:
// admission is in order, and a prompt gets the whole budget until it is done.
std::int64_t EngineFork::shared_ahead(const ForkSeq& seq) const {
  std::int64_t* memo = nullptr;
  if (seq.index != kNewRequest) {
    memo = &engine_.infos_[seq.index].fork_shared_ahead;
    if (*memo >= 0) return *memo;
  }
  std::int64_t most = 0;
  for (std::uint32_t index : engine_.running_) {
    if (engine_.seqs_[index].computed < engine_.seqs_[index].prefill_target)
      most = std::max(most, shared_with(seq, index));
  }
  for (std::uint32_t index : pending_) {
    if (index == seq.index) break;
    if (index != kNewRequest) most = std::max(most, shared_with(seq, index));
  }
  // With a front end the order ahead of a request is not final yet.
  if (memo != nullptr && engine_.arriving_.empty()) *memo = most;
  return most;
}

// Identities are chained: equal at i means equal up to i, so search.
std::int64_t EngineFork::shared_with(const ForkSeq& seq, std::uint32_t other) const {
  const auto& a = request_of(seq).block_hashes;
  const EngineRequest& request = engine_.infos_[other].request;
  const auto& b = request.block_hashes;
  auto high = static_cast<std::int64_t>(std::min(a.size(), b.size()));
  high = std::min(high, request.prompt_tokens / config_.block_tokens);
  std::int64_t low = 0;  // equal below, different from `high` on
  const auto same = [&](std::int64_t i) {
    return a[static_cast<std::size_t>(i)] == b[static_cast<std::size_t>(i)];
  };
  if (high == 0 || !same(0)) return 0;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (same(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace lodestar::sim
