// SPDX-License-Identifier: Apache-2.0
#include "conformance/test_policies.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "policies/catalog.h"
#include "policies/picker.h"

namespace lodestar::testing {
namespace {

constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

std::size_t least_loaded(const DecisionContext& context, std::size_t except) {
  std::vector<double> load;
  for (const FeatureRow& row : context.rows) load.push_back(row.inflight);
  if (except != kNobody) load[except] = std::numeric_limits<double>::quiet_NaN();
  return pick_least(load, load, context.rng).index;
}

}  // namespace

void HoldReorderPolicy::decide(const DecisionContext& context, Decision& out,
                               PolicyActions& actions) {
  if (context.reconsidered) return out.place(least_loaded(context, kNobody), "released");
  out.kind = Decision::Kind::kHold;
  held_.push_back({context.request_id, context.now});
  if (held_.size() >= kBatch) return release(actions);
  actions.wake_at = held_.front().since + kPatience;
}

void HoldReorderPolicy::on_forgotten(TimeNs, RequestId request) {
  std::erase_if(held_, [&](const Held& h) { return h.request == request; });
}

void HoldReorderPolicy::on_timer(TimeNs now, const Fleet&, PolicyActions& actions) {
  if (held_.empty()) return;
  const TimeNs due = held_.front().since + kPatience;
  if (now >= due) return release(actions);
  actions.wake_at = due;
}

void HoldReorderPolicy::release(PolicyActions& actions) {
  while (!held_.empty()) {
    actions.reconsider.push_back(held_.back().request);
    held_.pop_back();
  }
}

void PairPolicy::decide(const DecisionContext& context, Decision& out, PolicyActions&) {
  const std::size_t first = least_loaded(context, kNobody);
  if (context.rows.size() == 1) return out.place(first, "single candidate");
  out.kind = Decision::Kind::kPlace;
  out.choices = {{first, Role::kPrefill}, {least_loaded(context, first), Role::kDecode}};
  out.reason = "pair";
}

Result<std::unique_ptr<Policy>> make_test_policy(std::string_view name) {
  if (name == kHoldReorder) return std::make_unique<HoldReorderPolicy>();
  if (name == kPair) return std::make_unique<PairPolicy>();
  return make_policy(name);
}

}  // namespace lodestar::testing
