// SPDX-License-Identifier: Apache-2.0
// Everything that enters and leaves the router. Values only: a log of events,
// handed to a fresh router with the same configuration, gives the same effects.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "routing/instance.h"
#include "routing/outcome.h"
#include "routing/request.h"

namespace lodestar {

class TrainJob;
class Predictor;
using PolicyId = std::uint32_t;  // a policy object inside one router

// ---- events ----------------------------------------------------------------
struct RequestArrived {
  RequestId request;  // unique per router; chosen by the driver
  RequestInfo info;
};
// The attempt failed before any byte reached the client: place it again. Every
// lease of the attempt is settled (punish). `lease` names the one that failed.
struct AttemptFailed {
  RequestId request;
  LeaseId lease;
  ErrorCode error = ErrorCode::kConnection;
};
struct Progress {
  LeaseId lease;
  std::int64_t tokens = 0;  // output tokens since the last report
};
struct TokenProgress {  // batched per worker, at most every 20 ms
  std::vector<Progress> items;
};
struct FirstToken {
  LeaseId lease;
};
struct Ended {  // the answer is complete; a lease settles once, later reports are ignored
  LeaseId lease;
  std::int64_t output_tokens = 0;
  Usage usage;
  TimeNs last_token_at = 0;  // 0: now
};
struct LeaseFailed {  // failed after bytes had reached the client: no retry
  LeaseId lease;
  ErrorCode error = ErrorCode::kConnection;
};
struct Aborted {  // the client went away or the driver gave up; also settles held requests
  RequestId request;
};
struct Scraped {
  InstanceId instance;
  Incarnation incarnation = 0;
  LoadSnapshot load;
};
struct ScrapeFailed {  // the gauges become unknown
  InstanceId instance;
};
struct InstanceUp {  // a new instance, or a new incarnation of a known one (starts cold)
  InstanceInfo info;
};
struct InstanceChanged {
  InstanceId instance;
  Health health = Health::kUp;
};
struct InstanceDown {  // leases there are settled as failed by the driver, one by one
  InstanceId instance;
};
struct KvEvicted {  // KV events; hashes in the router's own key space
  InstanceId instance;
  std::vector<std::uint64_t> hashes;
};
struct PredictorPublished {
  PolicyId policy = 0;
  std::shared_ptr<const Predictor> predictor;  // null: the training failed
};
struct Timer {};
// What a policy learned in an earlier life of the router. The bytes of the state travel
// with it, so that a log of events holds all that decided.
struct StateLoaded {
  std::string policy;  // without settings: they may have changed since
  std::string served_model;
  std::string bytes;   // for the log only
  std::shared_ptr<const Predictor> predictor;
};

using Event = std::variant<RequestArrived, AttemptFailed, TokenProgress, FirstToken, Ended,
                           LeaseFailed, Aborted, Scraped, ScrapeFailed, InstanceUp, InstanceChanged,
                           InstanceDown, KvEvicted, PredictorPublished, Timer, StateLoaded>;

// ---- effects ---------------------------------------------------------------
// kFull: the whole request. kPrefill + kDecode: run the prompt on the first
// instance, then the answer on the second; the driver runs placements in order.
enum class Role : std::uint8_t { kFull, kPrefill, kDecode };

struct Placement {
  Role role = Role::kFull;
  InstanceId instance;
  Incarnation incarnation = 0;
  int dp_rank = -1;  // -1: the engine chooses
  LeaseId lease;
};
// What a policy expects of a placement; 0: it has no opinion.
struct Expectation {
  double ttft_ms = 0;
  double ttft_low_ms = 0, ttft_high_ms = 0;  // its 90 % interval
  double tpot_ms = 0;
};
struct Dispatch {
  RequestId request;
  std::uint32_t attempt = 0;
  std::vector<Placement> placements;   // 1..n
  std::vector<InstanceId>
      fallbacks;   // ordered, for drivers that cannot come back (endpoint picker)
  double propensity = 1;
  bool fallback = false;               // a fallback rule decided, not the policy itself
  std::string_view reason;             // static string: why
  double prompt_tokens = 0;            // as estimated
  double hit_tokens = 0;               // believed, on the first placement
  Expectation forecast;
};
struct Hold {
  RequestId request;
};
enum class RejectReason { kUnknownModel, kNoInstance, kTooLong, kAttemptsExhausted, kPolicy };
struct Reject {
  RequestId request;
  RejectReason reason = RejectReason::kNoInstance;
  DurationNs retry_after = 0;  // 0: no use in trying again soon
};
struct Cancel {  // stop this placement; the lease is settled already
  RequestId request;
  LeaseId lease;
};
struct WakeAt {
  TimeNs at = kNever;
};
struct Train {  // run the job off the brain, then send PredictorPublished
  PolicyId policy = 0;
  std::shared_ptr<const TrainJob> job;
};

using Effect = std::variant<Dispatch, Hold, Reject, Cancel, WakeAt, Train>;
using Effects = std::vector<Effect>;

// ---- learning across threads -----------------------------------------------
// An immutable trained artefact: weights and statistics under one pointer.
class Predictor {
 public:
  virtual ~Predictor() = default;
};
// A pure function of its own data; run() may be called on any thread, once.
class TrainJob {
 public:
  virtual ~TrainJob() = default;
  virtual std::shared_ptr<const Predictor> run() const = 0;  // null if it failed
  virtual DurationNs simulated_duration() const = 0;  // how long the simulator lets it take
};

}  // namespace lodestar
