// SPDX-License-Identifier: Apache-2.0
// What each instance would deliver for a request, as distributions of TTFT, TPOT and
// E2E, learned from what it delivered before. Physics with fitted coefficients:
//
//   TTFT = one + tokens ahead and own, their attention, their product with the decode
//          context (a chunk reads it too), the decode context alone (a longer step),
//          seconds until enough KV cache is free, requests ahead          (7 terms)
//   TPOT = one + requests in decode, decode context, how often the instance is found
//          prefilling, tokens waiting for prefill now                     (5 terms)
//   E2E  = (TTFT + expected output tokens x TPOT) x what experience says
//
// The queue ahead is the sum of the placed requests that have no first token yet, less
// the progress made since: halfway between two estimates, one that restarts at each
// first token seen (the head of the queue has been served since then) and one that
// drains at the predicted rate. A head that is overdue makes everything behind it wait.
//
// Nothing here knows an engine's formula, chunk size or hardware: coefficients come
// from the observed first tokens and ends alone (paced_regression.h), the intervals
// from the observed errors (calibration.h).
//
// Labels. Abort or failure before the first token: the TTFT is at least the time that
// passed (right-censored). An answer that was not streamed trains E2E only; its first
// token is assumed when it was predicted, so that it does not stand in the queue until
// its end. Every sample is predicted before it is learned (prequential), with the
// forecast that the decision used.
//
// Owned by the brain; deterministic; times in seconds, tokens as estimated by the
// router. A slot must be `up` before use. No errors: samples that are not finite are
// counted and refused.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "learn/calibration.h"
#include "learn/paced_regression.h"
#include "routing/features.h"
#include "routing/fleet.h"
#include "routing/learn_stats.h"
#include "routing/outcome.h"

namespace lodestar::learn {

inline constexpr std::size_t kTtftTerms = 7;
inline constexpr std::size_t kTpotTerms = 5;

enum TtftTerm : std::size_t {
  kOne,        // 1: the rest of the running step, front end, network
  kTokens,     // 1,000 tokens to compute
  kAttention,  // 1e6 token pairs: sum over prompts of T (cached + T / 2)
  kMixed,      // 1,000 tokens to compute x 10,000 tokens of decode context
  kDecode,     // 10,000 tokens of decode context
  kMemory,     // seconds until enough KV cache is free, by our own books
  kRequests,   // requests ahead
};
enum TpotTerm : std::size_t {
  kStepOne,       // 1
  kStepRequests,  // 10 requests in decode, this one included
  kStepContext,   // 10,000 tokens of decode context
  kStepBusy,      // share of recent arrivals that found a prefill pending, 0..1
  kStepPending,   // 1,000 tokens that wait for prefill
};

// One request on one instance. Seconds; point values are medians.
struct Forecast {
  double ttft = 0, tpot = 0, e2e = 0;
  double wait = 0;            // of ttft: what is there before the request's own work
  double own = 0;             // of ttft: prefill seconds that the request itself takes
  double own_tokens = 0;      // tokens that it will have to compute there
  double crowding = 0;        // seconds that later arrivals wait longer for KV cache
  double output_tokens = 0;   // expected
  bool queued = false;        // something is ahead of it: another error distribution
  Terms<kTtftTerms> ttft_terms{};
  Terms<kTpotTerms> tpot_terms{};
  double own_attention = 0;

  bool finite() const;
};

class Forecaster {
 public:
  using Slot = Fleet::Slot;

  Forecaster();

  // `name` is how the instance is known across restarts of router and engine.
  void up(Slot slot, const std::string& name);
  void down(Slot slot);

  // One per request that is decided, before its forecasts; `candidates` is their number.
  void arrival(TimeNs now, std::size_t candidates);
  // An arrival that could go there, before its forecast: how often it finds a prefill
  // pending. Answers that are not streamed leave the queue when that was predicted.
  void offered(TimeNs now, Slot slot);
  Forecast forecast(TimeNs now, Slot slot, const FeatureRow& row, double output_cap) const;

  // kLevel[level] of the distribution, seconds.
  double ttft_quantile(Slot slot, const Forecast& f, std::size_t level) const;
  // P(TTFT <= seconds), P(TPOT <= seconds).
  double ttft_probability(Slot slot, const Forecast& f, double seconds) const;
  double tpot_probability(Slot slot, const Forecast& f, double seconds) const;

  void placed(TimeNs now, const Outcome& outcome, const Forecast& forecast, bool streamed);
  void first_token(TimeNs now, const Outcome& outcome);
  void settled(TimeNs now, const Outcome& outcome);

  // Of the load that an instance gets. Arrivals to it per second; the share of arrivals
  // that find it prefilling.
  double arrivals_per_s(Slot slot) const { return at(slot).share / gap_s_; }
  double busy(Slot slot) const { return at(slot).busy; }
  void chosen(Slot slot, std::span<const Slot> candidates);
  // Relative standard error of its TTFT.
  double uncertainty(TimeNs now, Slot slot) const { return ttft_.uncertainty(now, at(slot).ttft); }
  TimeNs last_sample(Slot slot) const { return at(slot).ttft.last_at; }
  bool idle(Slot slot) const { return at(slot).pending.empty(); }

  // Stops learning of coefficients and intervals (for ablations and for people).
  void freeze(bool on) { frozen_ = on; }

  std::uint64_t samples() const { return stats_.samples; }
  const LearnStats& sums() const { return stats_; }  // without its instances
  void report(LearnStats& stats) const;
  std::uint64_t state_hash() const;

  // ---- what is kept across restarts, and what a rollback returns to ----------
  struct Remembered {
    PacedInstance<kTtftTerms> ttft;
    PacedInstance<kTpotTerms> tpot;
    double e2e_pace = 1;
  };
  struct Snapshot {
    PacedFleet<kTtftTerms> ttft;
    PacedFleet<kTpotTerms> tpot;
    double output_tokens = 0;
    std::map<std::string, Remembered> instances;
    Calibration idle, queued;  // where a new instance's intervals start
  };
  Snapshot snapshot() const;
  // Instances that are up take what is remembered of their names. A snapshot with a value
  // that is not finite is refused (LearnStats::rounds_failed).
  void restore(const Snapshot& snapshot);
  void count_refused() { ++stats_.rounds_failed; }  // something that is no snapshot came

 private:
  struct Pending {  // placed, no first token yet; in order of placement
    LeaseId lease;
    double tokens, attention;
    TimeNs placed_at;
    TimeNs assumed_first;  // of an answer that is not streamed; kNever otherwise
  };
  struct Instance {
    bool present = false;
    std::uint64_t life = 0;  // which of those that had this slot
    std::string name;
    PacedInstance<kTtftTerms> ttft;
    PacedInstance<kTpotTerms> tpot;
    double e2e_pace = 1, e2e_evidence = 0;
    Calibration idle, queued, tpot_calibration, e2e_calibration;
    Coverage ttft_coverage, tpot_coverage, e2e_coverage;
    std::vector<Pending> pending;
    double tokens = 0, attention = 0;  // sums over pending
    double backlog_s = 0;              // by the draining estimate, at backlog_at
    TimeNs backlog_at = 0, last_first = 0;
    double busy = 0, share = 0;
    double kv_ratio = 1;        // KV in use / decode context by our books: shared prefixes
    double residence_s = 5;     // usual time in decode
  };
  struct Flight {
    Slot slot;
    std::uint64_t life;
    Forecast forecast;
    bool streamed, first_seen;
  };

  Instance& at(Slot slot) { return instances_[slot]; }
  const Instance& at(Slot slot) const { return instances_[slot]; }
  double seconds_of(const Instance& i, double tokens, double attention, double context) const;
  double part_left(TimeNs now, const Instance& i, double context, double& overdue_s) const;
  double room_wait(const Instance& i, const FeatureRow& row, double context, double tokens) const;
  double crowding(const Instance& i, const FeatureRow& row, double context, double tokens) const;
  Instance* instance_of(const Flight& flight);  // null: it left, the slot is another's
  void leave_queue(TimeNs now, Instance& i, LeaseId lease);
  void drop_assumed(TimeNs now, Instance& i);
  void learn_ttft(TimeNs now, Instance& i, const Forecast& f, double seconds);
  void learn_at_least(TimeNs now, Instance& i, const Forecast& f, double seconds);
  void learn_end(TimeNs now, Instance& i, const Flight& flight, const Outcome& o);
  void note_gauge(Instance& i, const FeatureRow& row);
  void check_for_rollback();

  PacedRegression<kTtftTerms> ttft_;
  PacedRegression<kTpotTerms> tpot_;
  std::vector<Instance> instances_;
  std::uint64_t lives_ = 0;
  std::map<std::string, Remembered> remembered_;  // of instances that left
  std::unordered_map<LeaseId, Flight> flights_;   // looked up only
  double computed_tokens_ = 1000;  // mean uncached tokens of placed requests
  double prompt_tokens_ = 1000; // mean of placed requests
  double output_tokens_ = 150;  // mean of finished answers
  double gap_s_ = 0.1;          // between arrivals
  double smoothing_ = 0.005;    // of shares and busy, per arrival
  TimeNs last_arrival_ = kNever;
  bool frozen_ = false;
  Calibration fleet_idle_, fleet_queued_;  // where a new instance's intervals start
  LearnStats stats_;
  Snapshot good_;               // what a rollback returns to
  double good_error_ = 0;       // recent error when it was taken
  double recent_error_ = 0;     // |log ratio|, about 200 samples
  std::uint64_t since_good_ = 0;
};

}  // namespace lodestar::learn
