// SPDX-License-Identifier: Apache-2.0
// A router on a bench: scripted events in, effects checked on the way out, and
// beside it a naive second set of books that every test compares with the
// router's own. A broken rule of the contract is a gtest failure here, so a test
// need only say what it wants beyond the contract.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "routing/router.h"

namespace lodestar::testing {

// Per lease: how often the policy heard of it. Filled by the spy around the policy.
struct LeaseLog {
  int placed = 0, first_token = 0, settled = 0;
};
struct PolicyLog {
  std::map<std::uint64_t, LeaseLog> leases;
  std::vector<std::uint64_t> forgotten;
};

struct OpenLease {
  RequestId request;
  InstanceId instance;
  Incarnation incarnation = 0;
  Role role = Role::kFull;
  bool departed = false;  // its instance left, or restarted, since
  double prompt_tokens = 0, uncached_tokens = 0;
  std::int64_t generated = 0;
  bool decoding = false;
};

class Lab {
 public:
  explicit Lab(std::string_view policy, std::uint64_t seed = 1, RouterConfig config = {});

  Router& router() { return *router_; }
  const PolicyLog& log() const { return *log_; }
  TimeNs now() const { return now_; }
  void advance(DurationNs by) { now_ += by; }

  // Hands the event over, checks and keeps the effects.
  Effects send(const Event& event);

  void up(std::uint32_t id, Incarnation incarnation = 1, std::int64_t capacity = 100000);
  void up(InstanceInfo info) { send(InstanceUp{std::move(info)}); }
  void down(std::uint32_t id) { send(InstanceDown{InstanceId(id)}); }
  void scrape(std::uint32_t id, LoadSnapshot load);
  // Next request id; returns it. `blocks` are the prompt's block hashes.
  RequestId arrive(RequestInfo info);
  RequestId arrive(double prompt_tokens, std::vector<std::uint64_t> blocks = {},
                   std::string session = {});

  // What became of a request so far.
  enum class Fate { kUnknown, kHeld, kPlaced, kRejected };
  Fate fate(RequestId request) const;
  // The instance of the last (first placement of the last) dispatch.
  InstanceId where(RequestId request) const {
    return dispatches_.at(request.value).placements[0].instance;
  }
  const Dispatch& dispatch(RequestId request) const { return dispatches_.at(request.value); }
  const std::map<std::uint64_t, OpenLease>& open() const { return open_; }
  std::vector<LeaseId> leases_of(RequestId request) const;
  // Answers for all that is open: end, settle; fires timers until nothing is held.
  void finish_all();
  std::vector<std::uint32_t> placements_by_instance(std::uint32_t instances) const;
  const std::vector<InstanceId>& picks() const { return picks_; }

  int rounds() const { return rounds_; }  // of training, all published
  void check_books();  // the router's OwnLoad against ours, for every instance

 private:
  struct Books {
    OwnLoad load;
    bool pair = false;  // the hit of a second placement is not in the effect
  };
  std::map<std::uint32_t, Books> naive_books() const;
  void before(const Event& event);
  void account(const Effects& effects);
  void close(LeaseId lease);

  std::shared_ptr<PolicyLog> log_;
  std::unique_ptr<Router> router_;
  TimeNs now_ = kSecond;
  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, Fate> fates_;
  std::map<std::uint64_t, Dispatch> dispatches_;
  std::map<std::uint64_t, OpenLease> open_;
  std::map<std::uint32_t, Incarnation> alive_;
  std::vector<InstanceId> picks_;       // of the first placement of each dispatch
  std::vector<InstanceId> placements_;  // of all
  std::vector<Train> training_;
  int rounds_ = 0;
  TimeNs wake_at_ = kNever;
};

// Unique block hashes: request `tag` has `count` blocks that no other tag shares.
std::vector<std::uint64_t> blocks_of(std::uint64_t tag, std::size_t count);

}  // namespace lodestar::testing
