// SPDX-License-Identifier: Apache-2.0
// Checks what the router believes of each instance's prefix cache against what the
// engine says, learns by how much the belief is off, and repairs it.
//
// Evidence, best first: `cached_tokens` of a request's usage (which vLLM leaves out when
// it is 0: absent means 0 from an engine that tells hits and no zeros); where no usage carries
// it, the engine's own hit counters of the scrapes, compared over windows of requests.
// A belief that rests on a prompt which the engine was still computing when the
// request was placed is no evidence: such blocks are findable only once scheduled.
//
// What it repairs, per slot:
//   lost         several hits that were believed and did not come, on content placed
//                before the first of them: the engine lost its cache without a word.
//                The slot is cleared; what was placed since the first one stays.
//   restarted    a counter went backwards between two scrapes. Cleared as well.
//   shrunk       content misses that a cache of the believed size could not have evicted,
//                while other content hits. The slot's capacity in the prefix index goes
//                down with the misses and grows back by 0.3 % per confirmed hit. Misses of
//                content that such a cache may well have evicted only move the correction:
//                a belief that is too large costs little (what is not there is computed
//                there, and then it is), one that is too small scatters prompts.
//   not caching  told to cache, and never a hit: capacity one block, correction 0,
//                until an unexpected hit shows otherwise.
//
// Owned by the router, one thread, deterministic, no errors: absurd numbers from an
// engine are ignored. The thresholds are named in cache_belief.cc.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "prefix/prefix_index.h"
#include "routing/instance.h"
#include "routing/outcome.h"

namespace lodestar {

// What one placement believed; it stays with the lease. Tokens as estimated.
struct CacheClaim {
  bool made = false;           // false: nobody looked at this instance's cache
  bool in_window = false;      // already counted against the scraped counters
  double prompt_tokens = 0;
  double believed_tokens = 0;  // FeatureRow::hit_tokens
  double certain_tokens = 0;   // of these: not just then being computed by the engine
  TimeNs last_use = 0;         // of the deepest matched block
  TimeNs placed_at = 0;
  TimeNs computed_at = 0;      // first token; 0: none was seen
  bool young = false;  // so little came since that no cache of that size has evicted it
};

struct CacheRepair {
  enum class Kind : std::uint8_t { kLost, kRestarted, kShrunk, kNotCaching };
  static constexpr std::size_t kKinds = 4;
  Kind kind = Kind::kLost;
  InstanceId instance;
  TimeNs at = 0;
  std::uint64_t forgotten_blocks = 0;  // entries of the index that went
};
const char* name_of(CacheRepair::Kind kind);  // "lost", "restarted", "shrunk", "not_caching"

class CacheBelief {
 public:
  using Slot = PrefixIndex::Slot;

  // What is known of one instance, for metrics.
  struct Report {
    double correction = 1;
    double believed_tokens = 0;    // sums over requests whose truth is known
    double confirmed_tokens = 0;   // of the believed ones
    double unexpected_tokens = 0;  // cached beyond the belief
    std::size_t capacity_blocks = 0, told_blocks = 0;  // 0: unbounded
    std::array<std::uint64_t, CacheRepair::kKinds> repairs{};
  };
  // Why the slot must be cleared, and what of it stays.
  struct Loss {
    CacheRepair::Kind kind;
    TimeNs since;                                  // placements from here on stay
    std::vector<std::vector<std::uint64_t>> kept;  // chains of those settled already
  };
  struct Look {  // of a placement at its instance's cache
    std::span<const std::uint64_t> chain;
    std::uint32_t depth = 0;  // matched blocks
    TimeNs last_use = 0;
    double hit_tokens = 0, prompt_tokens = 0;
    double used_blocks = 0;  // by what runs there
  };

  explicit CacheBelief(double block_tokens) : block_tokens_(block_tokens) {}

  // A new life: nothing is known. told_blocks 0: unbounded.
  void open(Slot slot, InstanceId instance, std::size_t told_blocks);
  // The same life, better facts. Returns the capacity to use now.
  std::size_t retell(Slot slot, std::size_t told_blocks);
  void close(Slot slot);

  // actual / believed hit tokens, 0..1.5; 1 when unknown.
  double correction(Slot slot) const;
  // Before the chain is inserted for this placement.
  CacheClaim claim(TimeNs now, Slot slot, LeaseId lease, const Look& look,
                   const PrefixIndex& index);
  // The lease left its prefill, one way or the other. `answered`: by a first token.
  void computed(TimeNs now, Slot slot, LeaseId lease, CacheClaim& claim, bool answered);
  // A clean end. A loss is to be answered by clear_slot, re-insertion and forgot().
  std::optional<Loss> ended(TimeNs now, Slot slot, CacheClaim& claim, const Usage& usage,
                            std::span<const std::uint64_t> chain, PrefixIndex& index);
  std::optional<Loss> scraped(TimeNs now, Slot slot, const LoadSnapshot& load, PrefixIndex& index);
  void forgot(TimeNs now, Slot slot, CacheRepair::Kind kind, std::uint64_t blocks);

  Report report(Slot slot) const;
  // The last repairs of all instances, oldest first, and how many there ever were.
  const std::deque<CacheRepair>& repairs() const { return repairs_; }
  std::uint64_t repairs_total() const { return repairs_total_; }
  std::uint64_t state_hash() const;

 private:
  struct Computing {  // a placement that the engine may still be prefilling
    LeaseId lease;
    std::uint32_t certain;   // blocks that do not hang on a prefill
    std::uint64_t boundary;  // hash of the first block that does
  };
  struct Observation {
    double believed = 0, sure = 0, cached = 0;  // tokens; sure: not hanging on a prefill
    double certain = 0;  // of the sure ones: to be judged
    TimeNs placed_at = 0, computed_at = 0, last_use = 0;
    bool young = false;
    std::span<const std::uint64_t> chain;
  };
  struct Mark {
    TimeNs at;
    double written_blocks, used_blocks;
  };
  struct Sums {
    double actual, believed;
  };
  struct Suspicion {
    bool active = false;
    TimeNs since = 0;       // placement of the first contradiction
    TimeNs keep_since = 0;  // its first token: the loss was before
    int points = 0;
    int refreshed = 0;  // misses of content placed after keep_since
    Sums before{};     // the correction as it was before
    std::vector<std::vector<std::uint64_t>> kept;
  };
  struct Window {  // requests against the scraped counters
    bool open = false;
    double queries = 0, hits = 0;  // at its start
    double prompt = 0, believed = 0, sure = 0, young = 0;
    int requests = 0;
    TimeNs opened_at = 0, last_use = 0;
  };
  struct State {
    InstanceId instance;
    Report report;
    Sums sums{};
    double hits = 0, misses = 0;  // decayed counts: confirmed; young and contradicted
    bool ever_hit = false, not_caching = false;
    bool tells_hits = false, tells_zeros = false;  // in cached_tokens
    int misses_in_a_row = 0;
    int without_usage = 0;         // ends in a row without cached_tokens
    TimeNs lost_at = 0;            // 0: never
    TimeNs judge_from = 0;         // claims made before a repair say nothing any more
    double written_blocks = 0;     // that the engine had to write, all told
    std::vector<Mark> trail;       // over time
    std::vector<Computing> computing;
    Suspicion suspicion;
    Window window;
    double last_queries = 0;
    TimeNs last_scrape = 0;
  };

  bool is_young(const State& s, const Look& look, std::size_t held) const;
  std::optional<Loss> judge(TimeNs now, Slot slot, const Observation& seen, PrefixIndex& index);
  void confirmed(TimeNs now, Slot slot, const Observation& seen, PrefixIndex& index);
  std::optional<Loss> contradicted(TimeNs now, Slot slot, const Observation& seen,
                                   PrefixIndex& index);
  std::optional<Loss> verdict(TimeNs now, Slot slot, PrefixIndex& index);
  static void set_sums(State& s, Sums sums);
  static void keep(Suspicion& doubt, std::span<const std::uint64_t> chain);
  void learn(State& s, double actual, double believed);
  void shrink_if_due(TimeNs now, Slot slot, PrefixIndex& index);
  void grow(Slot slot, double factor, PrefixIndex& index);
  void count_in_window(State& s, CacheClaim& claim);
  void record(TimeNs now, State& s, CacheRepair::Kind kind, std::uint64_t blocks);

  double block_tokens_;
  std::vector<State> states_;
  std::deque<CacheRepair> repairs_;
  std::uint64_t repairs_total_ = 0;
};

}  // namespace lodestar
