// SPDX-License-Identifier: Apache-2.0
// The feature row of one (request, instance) pair: computed once, at the
// decision, and carried with it to the learner. The request itself is never part
// of its own load features.
#pragma once
#include <cstdint>

namespace lodestar {

// Bumped whenever a field changes its meaning: a predictor file names it.
inline constexpr std::uint32_t kFeatureSetVersion = 2;

struct FeatureRow {
  // request
  double prompt_tokens = 0;
  double hit_tokens = 0;        // believed prefix hit on this instance, <= prompt_tokens
  double hit_ratio = 0;         // hit_blocks / blocks of the prompt, 0..1
  double hit_age_s = 999;       // since the deepest matched block was used there; 999 = never
  // own accounting (OwnLoad)
  double inflight = 0;
  double inflight_prefill = 0;
  double inflight_decode = 0;
  double pending_prompt_tokens = 0;
  double pending_uncached_tokens = 0;
  double decode_generated_tokens = 0;
  double decode_context_tokens = 0;
  // last scrape; when there is none or it is too old, own accounting stands in
  // and scrape_known is 0
  double running = 0;
  double waiting = 0;
  double kv_usage = 0;
  double scrape_age_s = 0;
  double scrape_known = 0;
  // facts
  double kv_capacity_tokens = 0;
  double told_prefill_tokens_per_s = 0;
  // learned: actual / believed hit tokens of this instance (cache_belief.h), 0..1.5;
  // 1 when unknown. hit_tokens itself is the belief as it is.
  double hit_correction = 1;
  // Requests there that are not ours (another router, or clients that go around us): what
  // the engine counted at its last scrape beyond our books of that moment; 0 if unknown.
  double foreign_requests = 0;  // all of them
  double foreign_waiting = 0;   // of these: not scheduled yet
  double foreign_kv_tokens = 0; // KV cache that they hold at least

  double uncached_tokens() const { return prompt_tokens - hit_tokens; }
};

}  // namespace lodestar
