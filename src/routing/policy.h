// SPDX-License-Identifier: Apache-2.0
// The interface that decides which policies can exist. A policy sees the
// request, the candidates' feature rows, the fleet with its residents, and
// `now`; it may place, hold or reject, may answer held requests later in any
// order, and may place one request on several instances.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "routing/event.h"
#include "routing/features.h"
#include "routing/fleet.h"
#include "routing/learn_stats.h"
#include "routing/outcome.h"
#include "routing/request.h"

namespace lodestar {

// What a policy reads; the router computes nothing that nobody needs.
struct Needs {
  bool prefix = false;    // hit_* of the feature rows
  bool progress = false;  // decode_*_tokens between first token and end
  // The prefix index follows the engines' block managers: blocks of running requests
  // cannot be evicted, and answers take room too.
  bool mirror = false;
};

struct DecisionContext {
  TimeNs now;
  const RequestInfo& request;              // prompt_tokens is filled in
  RequestId request_id;
  std::span<const Fleet::Slot> candidates; // by ascending InstanceId, at least one
  std::span<const FeatureRow> rows;        // parallel to candidates
  const Fleet& fleet;
  Rng& rng;                                // the policy's own stream
  bool reconsidered = false;               // it was held before

  const InstanceState& instance(std::size_t candidate) const {
    return fleet.at(candidates[candidate]);
  }
};

struct Decision {
  enum class Kind : std::uint8_t { kPlace, kHold, kReject };
  struct Choice {
    std::size_t candidate = 0;  // index into DecisionContext::candidates
    Role role = Role::kFull;
    int dp_rank = -1;
  };
  Kind kind = Kind::kPlace;
  std::vector<Choice> choices;      // for kPlace: at least one
  double propensity = 1;
  bool fallback = false;
  std::string_view reason;          // must be a string literal
  DurationNs retry_after = 0;       // for kReject
  Expectation forecast;             // of the first choice; all 0 if the policy has none

  void clear() {
    kind = Kind::kPlace;
    choices.clear();
    propensity = 1;
    fallback = false;
    reason = {};
    retry_after = 0;
    forecast = {};
  }
  void place(std::size_t candidate, std::string_view why = {}) {
    kind = Kind::kPlace;
    choices.assign(1, Choice{candidate});
    reason = why;
  }
};

// What a hook may ask the router to do.
struct PolicyActions {
  std::vector<RequestId> reconsider;          // held requests to decide again, in this order
  TimeNs wake_at = kNever;                    // earliest time for on_timer
  std::shared_ptr<const TrainJob> train;
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual Needs needs() const = 0;
  // Writes `out` (cleared by the caller). May ask for a wake-up when it holds.
  virtual void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) = 0;

  // Hooks; all default to nothing. `slot` values are valid during the call.
  virtual void on_placed(TimeNs, const RequestInfo&, const Outcome&, PolicyActions&) {}
  virtual void on_first_token(TimeNs, const Outcome&, PolicyActions&) {}
  virtual void on_settled(TimeNs, const Outcome&, PolicyActions&) {}
  virtual void on_forgotten(TimeNs, RequestId) {}  // a held request was aborted
  virtual void on_instance_up(TimeNs, Fleet::Slot, const Fleet&, PolicyActions&) {}
  virtual void on_instance_down(TimeNs, Fleet::Slot, const Fleet&) {}
  virtual void on_timer(TimeNs, const Fleet&, PolicyActions&) {}
  virtual void on_predictor(TimeNs, std::shared_ptr<const Predictor>, PolicyActions&) {}
  // The state that on_predictor would take back; null for a rule.
  virtual std::shared_ptr<const Predictor> learned() const { return nullptr; }
  // What a policy that learns can say of itself; nothing for a rule.
  virtual std::optional<LearnStats> learning() const { return std::nullopt; }
  // A part of it that is read after every outcome, so without allocation; null for a rule.
  virtual const LearnStats* learning_sums() const { return nullptr; }
  // Digest of private random or learned state, for the determinism check.
  virtual std::uint64_t state_hash() const { return 0; }
};

}  // namespace lodestar
