// SPDX-License-Identifier: Apache-2.0
// Readings of a feature row that several policies share. An engine's gauges are
// input from outside: a value that cannot be (NaN, infinite, negative, absurd) is
// unknown, and the router's own books stand in for it, never a zero.
#pragma once
#include <cmath>

#include "routing/features.h"

namespace lodestar {

inline constexpr double kMaxGaugeRequests = 1e9;  // no engine runs more at once

inline bool sane_gauge(double value, double max) { return value >= 0 && value <= max; }

// Requests running and waiting in the engine.
inline double engine_batch(const FeatureRow& row) {
  const double batch = row.running + row.waiting;
  return sane_gauge(row.running, kMaxGaugeRequests) && sane_gauge(row.waiting, kMaxGaugeRequests)
             ? batch
             : row.inflight;
}

// Requests waiting in the engine; unknown: those that we sent and that have no
// first token yet.
inline double engine_queue(const FeatureRow& row) {
  const bool known = row.scrape_known != 0 && sane_gauge(row.waiting, kMaxGaugeRequests);
  return known ? row.waiting : row.inflight_prefill;
}

// KV cache usage, 0..1. Unknown: what our own requests hold there, or NaN when
// the capacity is unknown too.
inline double kv_usage(const FeatureRow& row) {
  if (sane_gauge(row.kv_usage, 1.0)) {
    if (row.scrape_known != 0 || row.kv_capacity_tokens > 0) return row.kv_usage;
    return std::nan("");
  }
  if (!(row.kv_capacity_tokens > 0)) return std::nan("");
  const double used =
      (row.decode_context_tokens + row.pending_prompt_tokens) / row.kv_capacity_tokens;
  return used < 1.0 ? used : 1.0;
}

// Believed hit in whole per cent, rounded down, as AIBrix counts it
// (100 * matched / blocks in integers). The small term undoes the rounding of
// hit_ratio, which is that quotient as a double.
inline double hit_percent(const FeatureRow& row) {
  return std::floor(100.0 * row.hit_ratio + 1e-9);
}

}  // namespace lodestar
