// SPDX-License-Identifier: Apache-2.0
// prefix-hit-threshold (Lodestar `prefix_hit_threshold_or_least_request`): the
// best hit if it is above `threshold` per cent (50; the paper sweeps 20..80),
// else the least loaded. No bound on load.
#include "policies/rows.h"
#include "policies/scored_policy.h"
#include "policies/signals.h"

namespace lodestar {
namespace {

class PrefixHitThresholdPolicy final : public ScoredPolicy {
 public:
  explicit PrefixHitThresholdPolicy(double threshold)
      : ScoredPolicy({.prefix = true}, "best prefix hit"), threshold_(threshold) {}
  void score(const DecisionContext& context, std::span<double> cost) override {
    double best = 0;
    for (const FeatureRow& row : context.rows)
      if (hit_percent(row) > best) best = hit_percent(row);
    const bool exploit = best > threshold_;
    if (!exploit) explain("no hit above the threshold: least request");
    for (std::size_t i = 0; i < cost.size(); ++i)
      cost[i] = exploit ? -hit_percent(context.rows[i]) : context.rows[i].inflight;
  }

 private:
  double threshold_;
};

constexpr ParamSpec kParams[] = {
    {"threshold", 50, 0, 100, "per cent of the prompt that must be cached somewhere"}};

}  // namespace

CatalogRow prefix_hit_threshold_row() {
  return {.name = "prefix-hit-threshold",
          .summary = "best prefix hit if above 50 %, else fewest in flight",
          .source = "Lodestar `prefix_hit_threshold_or_least_request`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<PrefixHitThresholdPolicy>(p.at("threshold"));
          },
          .randomized = false,
          .no_spread = "a prompt stays where its prefix is, whatever the load"};
}

}  // namespace lodestar
