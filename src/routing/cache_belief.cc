// SPDX-License-Identifier: Apache-2.0
#include "routing/cache_belief.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/hash.h"

namespace lodestar {
namespace {

constexpr double kLeastTokens = 64;       // smaller beliefs, or gaps, are block rounding
constexpr double kMissBelow = 0.6;        // of the certain tokens; estimates err by 15 %
constexpr double kHitFrom = 0.75;
constexpr double kMostCorrection = 1.5;
constexpr double kMemory = 1.0 / 50;      // weight of a request in the correction
constexpr double kPriorTokens = 1000;     // the correction starts from these, believed and true
constexpr double kEvictionSlack = 1.25;   // of what was written since the last use
constexpr DurationNs kSuspicionFor = 60 * kSecond;
constexpr DurationNs kTrailStep = 500 * kMillisecond;
constexpr std::size_t kTrail = 256;
constexpr int kWithoutUsage = 3;       // ends in a row until the scraped counters count
constexpr int kWindowRequests = 4;
constexpr double kWindowTokens = 1000;

}  // namespace

void CacheBelief::open(Slot slot, InstanceId instance, std::size_t told_blocks) {
  if (slot >= states_.size()) states_.resize(slot + 1);
  State& s = states_[slot] = State{};
  s.instance = instance;
  s.sums = {kPriorTokens, kPriorTokens};
  s.report.told_blocks = s.report.capacity_blocks = told_blocks;
}

std::size_t CacheBelief::retell(Slot slot, std::size_t told_blocks) {
  Report& r = states_[slot].report;
  const bool shrunk = r.capacity_blocks != r.told_blocks;
  r.told_blocks = told_blocks;
  if (!shrunk || (told_blocks != 0 && r.capacity_blocks > told_blocks))
    r.capacity_blocks = told_blocks;
  return r.capacity_blocks;
}

void CacheBelief::close(Slot slot) {
  if (slot < states_.size()) states_[slot] = State{};
}

double CacheBelief::correction(Slot slot) const {
  if (slot >= states_.size()) return 1;
  return states_[slot].report.correction;
}

CacheBelief::Report CacheBelief::report(Slot slot) const {
  return slot < states_.size() ? states_[slot].report : Report{};
}

std::uint64_t CacheBelief::state_hash() const {
  std::uint64_t h = repairs_total_;
  for (const State& s : states_) {
    h = hash_combine(h, std::bit_cast<std::uint64_t>(s.report.correction));
    h = hash_combine(h, s.report.capacity_blocks);
  }
  return h;
}

// ---- placements -----------------------------------------------------------------

CacheClaim CacheBelief::claim(TimeNs now, Slot slot, LeaseId lease, const Look& look,
                              const PrefixIndex& index) {
  State& s = states_[slot];
  const auto blocks = static_cast<std::uint32_t>(look.chain.size());
  std::uint32_t certain = std::min(look.depth, blocks);
  for (const Computing& c : s.computing)
    if (c.certain < certain && look.chain[c.certain] == c.boundary) certain = c.certain;
  if (certain < blocks) s.computing.push_back({lease, certain, look.chain[certain]});

  CacheClaim out;
  out.made = true;
  out.prompt_tokens = look.prompt_tokens;
  out.believed_tokens = look.hit_tokens;
  out.certain_tokens = look.depth == 0 ? 0 : look.hit_tokens * certain / look.depth;
  out.last_use = look.depth == 0 ? 0 : look.last_use;
  out.placed_at = now;
  out.young = look.depth > 0 && is_young(s, look, index.holdings(slot));
  if (s.trail.empty() || now - s.trail.back().at >= kTrailStep) {
    if (s.trail.size() >= kTrail) s.trail.erase(s.trail.begin(), s.trail.begin() + kTrail / 2);
    s.trail.push_back({now, s.written_blocks, look.used_blocks});
  }
  s.written_blocks += blocks - std::min(look.depth, blocks);
  return out;
}

// An engine evicts what has been unused longest, and only when all the room that running
// requests leave was written over since: prompts, and answers, which we learn at the end.
bool CacheBelief::is_young(const State& s, const Look& look, std::size_t held) const {
  const auto later = std::upper_bound(s.trail.begin(), s.trail.end(), look.last_use,
                                      [](TimeNs t, const Mark& mark) { return t < mark.at; });
  if (later == s.trail.begin()) return false;
  const Mark& then = *std::prev(later);
  const auto room =
      static_cast<double>(s.report.capacity_blocks != 0 ? s.report.capacity_blocks : held);
  return kEvictionSlack * (s.written_blocks - then.written_blocks) +
             std::max(look.used_blocks, then.used_blocks) <
         room;
}

void CacheBelief::computed(TimeNs now, Slot slot, LeaseId lease, CacheClaim& claim, bool answered) {
  State& s = states_[slot];
  std::erase_if(s.computing, [&](const Computing& c) { return c.lease == lease; });
  if (answered) claim.computed_at = now;
  if (answered && s.without_usage >= kWithoutUsage) count_in_window(s, claim);
}

// ---- evidence --------------------------------------------------------------------

std::optional<CacheBelief::Loss> CacheBelief::ended(TimeNs now, Slot slot, CacheClaim& claim,
                                                    const Usage& usage,
                                                    std::span<const std::uint64_t> chain,
                                                    PrefixIndex& index) {
  State& s = states_[slot];
  if (!claim.made) return std::nullopt;
  if (s.suspicion.active && claim.placed_at >= s.suspicion.keep_since) keep(s.suspicion, chain);
  if (usage.completion_tokens)
    s.written_blocks +=
        std::clamp(static_cast<double>(*usage.completion_tokens), 0.0, 1e7) / block_tokens_;
  std::optional<std::int64_t> cached = usage.cached_tokens;
  if (cached && *cached >= 0) (*cached > 0 ? s.tells_hits : s.tells_zeros) = true;
  // vLLM leaves out prompt_tokens_details when the number is 0. Absent is unknown, unless
  // this engine has told hits, never a zero, and does report usage here.
  if (!cached && s.tells_hits && !s.tells_zeros && usage.prompt_tokens) cached = 0;
  if (!cached || *cached < 0) {
    s.without_usage = std::min(s.without_usage + 1, kWithoutUsage);
    if (s.without_usage >= kWithoutUsage) count_in_window(s, claim);
    return std::nullopt;
  }
  s.without_usage = 0;
  s.window.open = false;
  Observation seen;
  seen.believed = claim.believed_tokens;
  seen.sure = claim.certain_tokens;
  seen.cached = static_cast<double>(*cached);
  if (usage.prompt_tokens && *usage.prompt_tokens > 0 && claim.prompt_tokens > 0) {
    // The estimate of the prompt errs as that of the hit does; and the engine always
    // computes the last token.
    const auto prompt = static_cast<double>(*usage.prompt_tokens);
    const double scale = prompt / claim.prompt_tokens;
    seen.believed = std::min(seen.believed * scale, prompt - 1);
    seen.sure = std::min(seen.sure * scale, prompt - 1);
    seen.cached = std::min(seen.cached, prompt);
  }
  seen.certain = seen.sure;
  seen.placed_at = claim.placed_at;
  seen.last_use = claim.last_use;
  seen.young = claim.young;
  seen.computed_at = claim.computed_at != 0 ? claim.computed_at : now;
  seen.chain = chain;
  auto loss = judge(now, slot, seen, index);
  s.written_blocks += std::max(0.0, seen.believed - seen.cached) / block_tokens_;
  return loss;
}

void CacheBelief::count_in_window(State& s, CacheClaim& claim) {
  if (!claim.made || claim.in_window || !s.window.open || claim.placed_at < s.window.opened_at)
    return;
  claim.in_window = true;
  s.window.prompt += claim.prompt_tokens;
  s.window.believed += claim.believed_tokens;
  s.window.sure += claim.certain_tokens;
  if (claim.young) s.window.young += claim.certain_tokens;
  s.window.last_use = std::max(s.window.last_use, claim.last_use);
  ++s.window.requests;
}

std::optional<CacheBelief::Loss> CacheBelief::scraped(TimeNs now, Slot slot,
                                                      const LoadSnapshot& load,
                                                      PrefixIndex& index) {
  State& s = states_[slot];
  const double queries = load.prefix_queries_tokens, hits = load.prefix_hits_tokens;
  // 0: not exported, or nothing asked yet.
  if (!std::isfinite(queries) || !std::isfinite(hits) || queries <= 0 || hits < 0 ||
      load.taken_at <= s.last_scrape)
    return std::nullopt;
  const bool backwards = queries < s.last_queries;
  const TimeNs previous = std::exchange(s.last_scrape, load.taken_at);
  s.last_queries = queries;
  if (backwards) {
    if (s.suspicion.active) set_sums(s, s.suspicion.before);
    return Loss{CacheRepair::Kind::kRestarted, previous, {}};
  }
  if (s.without_usage < kWithoutUsage) return std::nullopt;
  Window& w = s.window;
  const double asked = queries - w.queries;
  if (w.open && (w.requests < kWindowRequests || asked < kWindowTokens)) return std::nullopt;
  const Window full =
      std::exchange(w, {.open = true, .queries = queries, .hits = hits, .opened_at = now});
  // Prompts that wait are counted again at each try, so some excess is normal; far
  // more is traffic that is not ours.
  if (!full.open || full.prompt <= 0 || asked > 2 * full.prompt || hits < full.hits)
    return std::nullopt;
  Observation seen;
  seen.believed = full.believed;
  seen.sure = full.sure;
  seen.certain = full.young;  // of the rest some may well have been evicted
  seen.cached = std::min(1.0, (hits - full.hits) / asked) * full.prompt;
  seen.placed_at = full.opened_at;
  seen.computed_at = now;
  // A window's hits prove that content survived only if all of it is old.
  seen.young = seen.cached < kMissBelow * seen.certain;
  seen.last_use = seen.young ? 0 : full.last_use;
  return judge(now, slot, seen, index);
}

void CacheBelief::learn(State& s, double actual, double believed) {
  set_sums(s, {(1 - kMemory) * s.sums.actual + std::min(actual, kMostCorrection * believed),
               (1 - kMemory) * s.sums.believed + believed});
}

std::optional<CacheBelief::Loss> CacheBelief::judge(TimeNs now, Slot slot, const Observation& seen,
                                                    PrefixIndex& index) {
  State& s = states_[slot];
  if (!std::isfinite(seen.believed) || !std::isfinite(seen.sure)) return std::nullopt;
  s.report.believed_tokens += seen.believed;
  s.report.confirmed_tokens += std::min(seen.cached, seen.believed);
  s.report.unexpected_tokens += std::max(0.0, seen.cached - seen.believed);
  if (s.suspicion.active && now - s.suspicion.since > kSuspicionFor) {
    s.suspicion = {};
    shrink_if_due(now, slot, index);
  }
  if (seen.cached >= kLeastTokens && seen.believed < seen.cached / 4) {
    s.ever_hit = true;
    s.misses_in_a_row = 0;
    // Answered from what somebody else put there, or what we took for evicted.
    if (std::exchange(s.not_caching, false)) {
      set_sums(s, {kPriorTokens, kPriorTokens});
      grow(slot, std::numeric_limits<double>::infinity(), index);
    } else {
      grow(slot, 1.1, index);
    }
  }
  if (seen.sure < kLeastTokens || seen.placed_at < s.judge_from) return std::nullopt;
  if (seen.cached < kMissBelow * seen.certain && seen.certain - seen.cached >= kLeastTokens)
    return contradicted(now, slot, seen, index);
  // Between the certain and the believed part anything may be true.
  if (seen.cached >= seen.believed || seen.sure >= seen.believed)
    learn(s, seen.cached, seen.believed);
  if (seen.certain >= kLeastTokens && seen.cached >= kHitFrom * seen.certain)
    confirmed(now, slot, seen, index);
  return std::nullopt;
}

}  // namespace lodestar
