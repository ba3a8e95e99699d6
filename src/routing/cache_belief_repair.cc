// SPDX-License-Identifier: Apache-2.0
// What follows from evidence: a loss, a smaller capacity, a larger one.
#include <algorithm>
#include <cmath>

#include "routing/cache_belief.h"

namespace lodestar {
namespace {

constexpr double kEmptyBelow = 0.1;
constexpr double kRateMemory = 1.0 / 20;  // of the share of misses
constexpr double kToleratedMisses = 0.1;  // share from which the capacity shrinks
constexpr double kGrowth = 1.003;         // per confirmed hit, while the bound binds
constexpr double kLeastMisses = 2.8;       // three, a little faded
constexpr int kLossPoints = 8;            // two clear misses, four, or eight faint ones
constexpr int kRefreshedMisses = 3;
constexpr int kMissesWithoutHit = 6;      // never a hit: the engine does not cache
constexpr DurationNs kLossesApart = 300 * kSecond;
constexpr double kSmallestShare = 1.0 / 64;  // of the told capacity
constexpr std::size_t kRepairsKept = 64, kKept = 64;
constexpr DurationNs kUseSlack = 20 * kMillisecond;  // the index keeps times in ticks of 10 ms

}  // namespace

const char* name_of(CacheRepair::Kind kind) {
  switch (kind) {
    case CacheRepair::Kind::kLost:
      return "lost";
    case CacheRepair::Kind::kRestarted:
      return "restarted";
    case CacheRepair::Kind::kShrunk:
      return "shrunk";
    case CacheRepair::Kind::kNotCaching:
      return "not_caching";
  }
  return "unknown";
}

void CacheBelief::keep(Suspicion& doubt, std::span<const std::uint64_t> chain) {
  if (!chain.empty() && doubt.kept.size() < kKept)
    doubt.kept.emplace_back(chain.begin(), chain.end());
}

void CacheBelief::set_sums(State& s, Sums sums) {
  s.sums = sums;
  s.report.correction = sums.actual / sums.believed;  // both start above 0
}

void CacheBelief::confirmed(TimeNs now, Slot slot, const Observation& seen, PrefixIndex& index) {
  State& s = states_[slot];
  s.ever_hit = true;
  s.misses_in_a_row = 0;
  s.hits = (1 - kRateMemory) * s.hits + 1;
  s.misses *= 1 - kRateMemory;
  if (s.suspicion.active && seen.placed_at >= s.suspicion.since &&
      seen.last_use + kUseSlack < s.suspicion.since) {
    s.suspicion = {};  // it outlived the supposed loss
    shrink_if_due(now, slot, index);
    return;
  }
  grow(slot, kGrowth, index);
}

std::optional<CacheBelief::Loss> CacheBelief::contradicted(TimeNs now, Slot slot,
                                                           const Observation& seen,
                                                           PrefixIndex& index) {
  State& s = states_[slot];
  const Sums before = s.sums;
  learn(s, seen.cached, seen.sure);
  if (seen.young) {
    s.hits *= 1 - kRateMemory;
    s.misses = (1 - kRateMemory) * s.misses + 1;
  }
  ++s.misses_in_a_row;
  if (!s.ever_hit) {
    if (s.misses_in_a_row < kMissesWithoutHit) return std::nullopt;
    const std::size_t held = index.holdings(slot);
    s.not_caching = true;
    s.suspicion = {};
    set_sums(s, {0, s.sums.believed});
    s.report.capacity_blocks = 1;
    index.set_capacity(slot, 1);
    s.judge_from = now;
    s.misses_in_a_row = 0;
    record(now, s, CacheRepair::Kind::kNotCaching, held - index.holdings(slot));
    return std::nullopt;
  }
  Suspicion& doubt = s.suspicion;
  if (!doubt.active) {
    doubt.active = true;
    doubt.since = seen.placed_at;
    doubt.keep_since = seen.computed_at;
    doubt.before = before;
  } else if (seen.last_use >= doubt.keep_since + kUseSlack) {
    // Placed again since, and gone again: no loss explains that, if it happens often.
    if (++doubt.refreshed < kRefreshedMisses) return std::nullopt;
    doubt = {};
    shrink_if_due(now, slot, index);
    return std::nullopt;
  }
  doubt.since = std::min(doubt.since, seen.placed_at);
  doubt.keep_since = std::min(doubt.keep_since, seen.computed_at);
  keep(doubt, seen.chain);  // this prompt is there again
  const bool empty = seen.cached <= kEmptyBelow * seen.certain;
  doubt.points += !seen.young ? 1 : empty ? 4 : 2;
  return doubt.points >= kLossPoints ? verdict(now, slot, index) : std::nullopt;
}

// Lost; unless it was so not long ago: more likely than an engine that loses its cache
// time and again is one that holds less than we believe.
std::optional<CacheBelief::Loss> CacheBelief::verdict(TimeNs now, Slot slot, PrefixIndex& index) {
  State& s = states_[slot];
  Suspicion doubt = std::exchange(s.suspicion, {});
  if (s.lost_at != 0 && now - s.lost_at < kLossesApart) {
    s.misses = std::max(s.misses, kLeastMisses);
    s.hits = 0;
    shrink_if_due(now, slot, index);
    return std::nullopt;
  }
  set_sums(s, doubt.before);
  return Loss{CacheRepair::Kind::kLost, doubt.keep_since, std::move(doubt.kept)};
}

void CacheBelief::forgot(TimeNs now, Slot slot, CacheRepair::Kind kind, std::uint64_t blocks) {
  State& s = states_[slot];
  s.lost_at = now;
  s.hits = s.misses = 0;
  s.judge_from = now;
  s.suspicion = {};
  s.window.open = false;
  record(now, s, kind, blocks);
}

void CacheBelief::shrink_if_due(TimeNs now, Slot slot, PrefixIndex& index) {
  State& s = states_[slot];
  const double share = s.misses / std::max(s.misses + s.hits, 1.0);
  if (s.suspicion.active || s.misses < kLeastMisses || share < kToleratedMisses) return;
  const std::size_t held = index.holdings(slot);
  const std::size_t from =
      s.report.capacity_blocks == 0 ? held : std::min(s.report.capacity_blocks, held);
  const double factor = 1 - std::clamp(share / 2, 0.1, 0.5);
  const double least = std::max(8.0, kSmallestShare * static_cast<double>(s.report.told_blocks));
  const auto to = static_cast<std::size_t>(std::max(least, factor * static_cast<double>(from)));
  // Claims made on the larger belief will still be contradicted: count anew.
  s.judge_from = now;
  s.misses = s.hits = 0;
  if (s.report.capacity_blocks != 0 && to >= s.report.capacity_blocks) return;
  s.report.capacity_blocks = to;
  index.set_capacity(slot, to);
  record(now, s, CacheRepair::Kind::kShrunk, held - index.holdings(slot));
}

void CacheBelief::grow(Slot slot, double factor, PrefixIndex& index) {
  State& s = states_[slot];
  const std::size_t told = s.report.told_blocks;
  std::size_t& capacity = s.report.capacity_blocks;
  if (capacity == told || capacity == 0) return;
  // A bound that does not bind has not been tried: hits say nothing of a larger one.
  const auto held = static_cast<double>(index.holdings(slot));
  const auto bound = static_cast<double>(capacity);
  if (held < 0.9 * bound && std::isfinite(factor)) return;
  const double most = told != 0 ? static_cast<double>(told) : 1e12;
  const double wanted = std::min(factor * bound + 1, most);
  capacity = told == 0 && !std::isfinite(factor) ? 0 : static_cast<std::size_t>(wanted);
  index.set_capacity(slot, capacity);
}

void CacheBelief::record(TimeNs now, State& s, CacheRepair::Kind kind, std::uint64_t blocks) {
  ++s.report.repairs[static_cast<std::size_t>(kind)];
  ++repairs_total_;
  if (repairs_.size() >= kRepairsKept) repairs_.pop_front();
  repairs_.push_back({kind, s.instance, now, blocks});
}

}  // namespace lodestar
