// SPDX-License-Identifier: Apache-2.0
// For tests: one decision on feature rows made by hand, without a router.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "policies/catalog.h"
#include "policies/scored_policy.h"

namespace lodestar::testing {

class DecisionBench {
 public:
  // text: as make_policy takes it; must be valid.
  explicit DecisionBench(std::string_view text) {
    auto made = make_policy(text);
    LODESTAR_CHECK(made.has_value());
    policy_ = std::move(*made);
  }

  // Candidates with ids 1..n, in this order.
  void rows(std::vector<FeatureRow> rows) {
    std::vector<std::uint32_t> ids(rows.size());
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i + 1);
    candidates(ids, std::move(rows));
  }
  // Candidates with these ids, ascending.
  void candidates(const std::vector<std::uint32_t>& ids, std::vector<FeatureRow> rows) {
    fleet_ = Fleet();
    slots_.clear();
    for (std::uint32_t id : ids) {
      InstanceInfo info;
      info.id = InstanceId(id);
      info.incarnation = incarnation;
      slots_.push_back(fleet_.add(info));
    }
    rows_ = std::move(rows);
  }

  const Decision& decide() {
    out_.clear();
    policy_->decide(context(), out_, actions_);
    return out_;
  }
  std::size_t pick() { return decide().choices.at(0).candidate; }
  // What score() says; the policy must be a ScoredPolicy.
  std::vector<double> costs() {
    auto* scored = dynamic_cast<ScoredPolicy*>(policy_.get());
    LODESTAR_CHECK(scored != nullptr);
    std::vector<double> cost(rows_.size(), std::numeric_limits<double>::quiet_NaN());
    scored->score(context(), cost);
    return cost;
  }
  // As if a request with this row had been placed on candidate i.
  void placed(std::size_t i, const FeatureRow& row) {
    Outcome o;
    o.slot = slots_.at(i);
    o.instance = fleet_.at(o.slot).info.id;
    o.incarnation = incarnation;
    o.row = row;
    o.placed_at = now;
    policy_->on_placed(now, request, o, actions_);
  }

  Policy& policy() { return *policy_; }
  Fleet& fleet() { return fleet_; }
  PolicyActions& actions() { return actions_; }

  RequestInfo request;
  TimeNs now = kSecond;
  Incarnation incarnation = 1;
  Rng rng{1};

 private:
  DecisionContext context() {
    return {now, request, RequestId(1), slots_, rows_, fleet_, rng, false};
  }
  std::unique_ptr<Policy> policy_;
  Fleet fleet_;
  std::vector<Fleet::Slot> slots_;
  std::vector<FeatureRow> rows_;
  Decision out_;
  PolicyActions actions_;
};

}  // namespace lodestar::testing
