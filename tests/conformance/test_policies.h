// SPDX-License-Identifier: Apache-2.0
// Two policies that no catalog lists. They prove that the router's shape carries
// what later policies need: answers that come late and out of order, and
// requests that need several instances.
#pragma once
#include <cstddef>
#include <deque>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "routing/policy.h"

namespace lodestar::testing {

// Holds requests until kBatch are held or kPatience passed since the oldest came,
// then answers them newest first, each at the least loaded candidate.
class HoldReorderPolicy final : public Policy {
 public:
  static constexpr std::size_t kBatch = 4;
  static constexpr DurationNs kPatience = 20 * kMillisecond;

  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) override;
  void on_forgotten(TimeNs now, RequestId request) override;
  void on_timer(TimeNs now, const Fleet& fleet, PolicyActions& actions) override;
  std::size_t held() const { return held_.size(); }

 private:
  struct Held {
    RequestId request;
    TimeNs since = 0;
  };
  void release(PolicyActions& actions);
  std::deque<Held> held_;  // oldest first
};

// The prompt on the least loaded candidate, the answer on the next one; a single
// candidate takes both.
class PairPolicy final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) override;
};

inline constexpr std::string_view kHoldReorder = "test-hold-reorder";
inline constexpr std::string_view kPair = "test-pair";

// A PolicyFactory for drivers under test: the two above, else the catalog.
Result<std::unique_ptr<Policy>> make_test_policy(std::string_view name);

}  // namespace lodestar::testing
