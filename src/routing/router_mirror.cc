// SPDX-License-Identifier: Apache-2.0
// The prefix index as a mirror of the engines' block managers (Needs::mirror). Two
// things that a plain order of placement gets wrong, as vLLM does them
// (v1/core/block_pool.py: only blocks that no request references are in the free queue):
//   - blocks of running requests cannot be evicted, and are as recent as their end;
//   - the tokens of an answer take blocks too, which stay as cached as the prompt's.
// On cards with little memory the running requests hold most of the cache, and a belief
// without this is wrong for a fifth of all hit tokens (docs/results/learning.md).
#include <algorithm>

#include "routing/router.h"

namespace lodestar {

double Router::tokens_per_block(const RequestInfo& info) const {
  return info.block_tokens > 0
             ? info.block_tokens
             : static_cast<double>(info.block_bytes) / tokens_.bytes_per_token(info.served_model);
}

// Before a placement's own chain is inserted: what runs there is touched, oldest first,
// so that only what nobody uses can make room.
void Router::keep_running(TimeNs now, Fleet::Slot slot, LeaseId placed) {
  const InstanceState& state = fleet_.at(slot);
  prefix_.reserve(slot, static_cast<std::size_t>(std::max(0.0, state.own.decode_generated_tokens) /
                                                 config_.prefix_block_tokens));
  for (const LeaseId id : state.residents) {
    if (id == placed) continue;
    const auto request = requests_.find(leases_.at(id).request);
    if (request != requests_.end()) prefix_.insert(slot, request->second.info.block_hashes, now);
  }
}

// An answer has ended: its prompt is the most recent content now, and its own tokens
// hang behind it as blocks that nobody can ask for.
void Router::keep_answer(TimeNs now, const Lease& lease, LeaseId id, const RequestInfo& info,
                         std::int64_t output_tokens) {
  const double per_block = tokens_per_block(info);
  if (!(per_block > 0)) return;
  const double blocks = (lease.prompt_tokens + static_cast<double>(output_tokens)) / per_block;
  constexpr double kMostBlocks = 1e6;  // whatever an engine reports
  chain_.assign(info.block_hashes.begin(), info.block_hashes.end());
  for (std::uint64_t k = 0; static_cast<double>(chain_.size() + 1) <= std::min(blocks, kMostBlocks);
       ++k)
    chain_.push_back(hash_combine(hash_combine(0xa45e3ULL, id.value), k));
  prefix_.insert(lease.slot, chain_, now);
}

}  // namespace lodestar
