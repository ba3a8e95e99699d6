// SPDX-License-Identifier: Apache-2.0
// The router: events in, effects out. Deterministic: the same configuration,
// seed and events give the same effects, bit for bit, in every driver.
//
// Owned by one thread (the brain). No clock, no I/O, no locks. What a client, an
// engine or a file can cause never aborts it: reports about unknown requests,
// leases or instances are counted and ignored.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "prefix/prefix_index.h"
#include "routing/cache_belief.h"
#include "routing/event.h"
#include "routing/features.h"
#include "routing/fleet.h"
#include "routing/policy.h"
#include "routing/token_estimator.h"

namespace lodestar {

// Sees every event with its effects, in order. The journal (telemetry/) is one.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void record(TimeNs now, const Event& event, const Effects& effects) = 0;
};

struct RouterConfig {
  std::uint64_t seed = 1;
  std::string policy = "lodestar";                       // default, by catalog name
  std::map<std::string, std::string> policy_by_model;    // served model -> policy
  std::uint32_t max_attempts = 3;                        // placements per request, all told
  DurationNs scrape_stale_after = 5 * kSecond;           // older gauges count as unknown
  double prefix_block_tokens = 16;  // tokens per hash block: sizes each slot
  PrefixIndex::Options prefix;
  std::size_t fallbacks = 2;  // length of Dispatch::fallbacks
  EventSink* sink = nullptr;  // not owned; may be null
};

// Builds a policy by name, or says why not (unknown names list the candidates).
using PolicyFactory = std::function<Result<std::unique_ptr<Policy>>(std::string_view name)>;

struct RouterCounters {
  std::uint64_t arrived = 0, dispatched = 0, held = 0, rejected = 0, retried = 0;
  std::uint64_t ended = 0, failed = 0, aborted = 0;
  std::uint64_t fallback_decisions = 0;  // Dispatch::fallback
  std::uint64_t ignored_reports = 0;  // about things that are gone
  std::uint64_t invalid_decisions = 0;  // a policy chose nothing valid; least-loaded stood in
};

class Router {
 public:
  // The default policy must exist: its error is returned by `create`.
  static Result<std::unique_ptr<Router>> create(RouterConfig config, PolicyFactory factory);

  Effects handle(TimeNs now, const Event& event);
  // Takes an arriving request's hashes instead of copying them, if no sink wants them.
  Effects handle(TimeNs now, Event&& event);

  const Fleet& fleet() const { return fleet_; }
  const PrefixIndex& prefix() const { return prefix_; }
  const CacheBelief& belief() const { return belief_; }
  const TokenEstimator& tokens() const { return tokens_; }
  const RouterCounters& counters() const { return counters_; }
  bool has_policy(std::string_view name);  // tries to build it
  std::uint64_t decision_hash() const { return decision_hash_; }
  std::uint64_t state_hash() const;  // generators and policies: the "unseed" check
  std::size_t active_requests() const { return requests_.size(); }
  std::size_t open_leases() const { return leases_.size(); }
  bool needs_progress() const;
  // Of each learning policy in use, by "policy" and "served model" (empty: any).
  struct LearnReport {
    std::string policy, served_model;
    LearnStats stats;
  };
  std::vector<LearnReport> learning() const;
  // Of each of them, the sums over all samples (LearnStats without its instances) at no
  // cost: `see(key, sums)` with a key of the policy object.
  void learning_sums(const std::function<void(std::string_view, const LearnStats&)>& see) const;
  // What StateLoaded would bring back, of each policy object that can be brought back.
  struct LearnedState {
    std::string policy, served_model;  // the policy's name without settings
    std::shared_ptr<const Predictor> predictor;
  };
  std::vector<LearnedState> learned() const;
  bool needs_prefix() const;

 private:
  struct ActiveRequest {
    RequestInfo info;
    PolicyId policy = 0;
    std::uint32_t attempts = 0;
    bool held = false;
    std::vector<std::pair<InstanceId, Incarnation>> tried;  // that failed this request
    std::vector<LeaseId> leases;  // open ones
  };
  struct Lease {
    RequestId request;
    Fleet::Slot slot = Fleet::kNoSlot;
    InstanceId instance;
    Incarnation incarnation = 0;
    Role role = Role::kFull;
    bool decoding = false;
    bool departed = false;  // its instance left, or restarted, since
    TimeNs placed_at = 0;
    TimeNs first_token_at = 0;
    double prompt_tokens = 0;
    double uncached_tokens = 0;
    std::int64_t generated = 0;
    double propensity = 1;
    FeatureRow row;
    CacheClaim claim;
  };
  struct PolicySlot {
    std::string name;
    std::unique_ptr<Policy> policy;
    Needs needs;
    Rng rng;
  };

  Router(RouterConfig config, PolicyFactory factory);
  Result<PolicyId> policy_for(TimeNs now, const std::string& name,
                              const std::string& served_model);
  Result<PolicyId> find_policy(TimeNs now, const std::string& name,
                               const std::string& served_model);
  void take_up_state(TimeNs now, PolicySlot& slot);

  void on(TimeNs, const RequestArrived&, Effects&);
  void on(TimeNs, RequestArrived&&, Effects&);
  void on(TimeNs, const AttemptFailed&, Effects&);
  void on(TimeNs, const TokenProgress&, Effects&);
  void on(TimeNs, const FirstToken&, Effects&);
  void on(TimeNs, const Ended&, Effects&);
  void on(TimeNs, const LeaseFailed&, Effects&);
  void on(TimeNs, const Aborted&, Effects&);
  void on(TimeNs, const Scraped&, Effects&);
  void on(TimeNs, const ScrapeFailed&, Effects&);
  void on(TimeNs, const InstanceUp&, Effects&);
  void on(TimeNs, const InstanceChanged&, Effects&);
  void on(TimeNs, const InstanceDown&, Effects&);
  void on(TimeNs, const KvEvicted&, Effects&);
  void on(TimeNs, const PredictorPublished&, Effects&);
  void on(TimeNs, const Timer&, Effects&);
  void on(TimeNs, const StateLoaded&, Effects&);

  void arrive(TimeNs now, RequestId id, RequestInfo info, Effects& out);
  void route(TimeNs now, RequestId id, ActiveRequest& request, bool reconsidered, Effects& out);
  void collect_candidates(const ActiveRequest& request);
  void compute_rows(TimeNs now, const RequestInfo& info, bool prefix);
  void repair_decision(Decision& decision);
  void dispatch(TimeNs now, RequestId id, ActiveRequest& request, const Decision& decision,
                Effects& out);
  LeaseId open_lease(TimeNs now, RequestId id, ActiveRequest& request, const Decision& decision,
                     const Decision::Choice& choice);
  void choose_fallbacks(const Decision& decision, std::vector<InstanceId>& out);
  void reject(RequestId id, RejectReason reason, DurationNs retry_after, Effects& out);
  void settle(TimeNs now, LeaseId id, Disposition disposition, const Ended* end, Effects& out);
  void release_load(LeaseId id, Lease& lease);
  InstanceState* state_of(const Lease& lease);
  Outcome outcome_of(LeaseId id, const Lease& lease) const;
  void finish_request_if_done(RequestId id);
  void apply(TimeNs now, PolicyId policy, PolicyActions& actions, Effects& out);
  void retire(TimeNs now, Fleet::Slot slot);
  // router_mirror.cc
  double tokens_per_block(const RequestInfo& info) const;
  void keep_running(TimeNs now, Fleet::Slot slot, LeaseId placed);
  void keep_answer(TimeNs now, const Lease& lease, LeaseId id, const RequestInfo& info,
                   std::int64_t output_tokens);
  void open_prefix_slot(Fleet::Slot slot, bool same_life);
  CacheClaim claim_cache(TimeNs now, Fleet::Slot slot, LeaseId lease, const RequestInfo& info,
                         const FeatureRow& row);
  void check_belief(TimeNs now, LeaseId id, Lease& lease, const RequestInfo& info,
                    const Ended* end);
  void forget_cache(TimeNs now, Fleet::Slot slot, const CacheBelief::Loss& loss);

  RouterConfig config_;
  PolicyFactory factory_;
  Fleet fleet_;
  PrefixIndex prefix_;
  CacheBelief belief_;
  TokenEstimator tokens_;
  std::vector<PolicySlot> policies_;
  // Loaded and kept for policy objects that are made later.
  std::map<std::string, std::shared_ptr<const Predictor>> states_;
  // What policy_for() found last; forgotten whenever the fleet changes.
  struct KnownPolicy {
    std::string name, served_model;
    PolicyId id;
  };
  std::vector<KnownPolicy> known_policies_;
  std::unordered_map<RequestId, ActiveRequest> requests_;
  std::unordered_map<LeaseId, Lease> leases_;
  std::uint64_t next_lease_ = 1;
  RouterCounters counters_;
  std::uint64_t decision_hash_ = 0;

  // scratch, reused between decisions
  std::vector<Fleet::Slot> candidates_;
  std::vector<FeatureRow> rows_;
  PrefixIndex::Match match_;
  Decision decision_;
  std::vector<std::uint64_t> chain_;
  std::vector<std::size_t> least_loaded_;
};

}  // namespace lodestar
