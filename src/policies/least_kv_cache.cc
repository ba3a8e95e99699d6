// SPDX-License-Identifier: Apache-2.0
// least-kv-cache: lowest KV cache usage as the engine reports it (AIBrix: argmin
// of kv_cache_usage_perc; the CPU part that it adds does not exist in vLLM V1).
// With an unknown gauge our own books stand in; with neither gauge nor capacity
// the instance has no score.
//
// The published rule reads a gauge alone, so between two scrapes every request
// goes to the same minimum unless gauges are equal. `reserve=1` adds what was
// promised since: the prompts in prefill over the capacity.
#include "policies/rows.h"
#include "policies/scored_policy.h"
#include "policies/signals.h"

namespace lodestar {
namespace {

class LeastKvCachePolicy final : public ScoredPolicy {
 public:
  explicit LeastKvCachePolicy(bool reserve)
      : ScoredPolicy({.progress = true}, "lowest KV cache usage"), reserve_(reserve) {}
  void score(const DecisionContext& context, std::span<double> cost) override {
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      cost[i] = kv_usage(row);
      if (reserve_ && row.kv_capacity_tokens > 0)
        cost[i] += row.pending_prompt_tokens / row.kv_capacity_tokens;
    }
  }

 private:
  bool reserve_;
};

constexpr ParamSpec kParams[] = {
    {"reserve", 0, 0, 1, "1: count prompts in prefill on top of the gauge"}};

}  // namespace

CatalogRow least_kv_cache_row() {
  return {.name = "least-kv-cache",
          .summary = "lowest KV cache usage as scraped",
          .source = "AIBrix `least-kv-cache`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<LeastKvCachePolicy>(p.at("reserve") != 0);
          },
          .randomized = false,
          .no_spread = "reads a gauge that does not move between two scrapes"};
}

}  // namespace lodestar
