// SPDX-License-Identifier: Apache-2.0
// cache-aware: SMG's default policy (successor of sglang's router). load = own
// requests in flight.
//   1. max load - min load > abs (64) and max > rel (1.5) * min: least load, for
//      every request.
//   2. else the longest match, if its share of the prompt is above threshold (.3);
//      equal matches: least load.
//   3. else a miss: least load. (Older releases sent misses to the smallest tree
//      or to replica 0: sglang #14650, #32983. Not copied.)
// Step 1 as published drops affinity for the whole fleet when one pair is
// imbalanced (sglang #32195). `per_request=1` asks only whether the instance
// that the request would go to is itself beyond the bound (vllm-router #238).
#include <limits>

#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class CacheAwarePolicy final : public ScoredPolicy {
 public:
  explicit CacheAwarePolicy(const PolicyParams& p)
      : ScoredPolicy({.prefix = true}, "longest match"),
        threshold_(p.at("threshold")),
        abs_(p.at("abs")),
        rel_(p.at("rel")),
        per_request_(p.at("per_request") != 0) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (const FeatureRow& row : context.rows) {
      if (row.inflight < least) least = row.inflight;
      if (row.inflight > most) most = row.inflight;
    }
    if (!per_request_ && overloaded(most, least))
      return by_load(context, cost, "load imbalance: least loaded");
    double best = 0;
    for (const FeatureRow& row : context.rows) {
      const bool allowed = !per_request_ || !overloaded(row.inflight, least);
      if (allowed && match(row) > best) best = match(row);
    }
    if (!(best > threshold_)) return by_load(context, cost, "no match: least loaded");
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      const bool allowed = !per_request_ || !overloaded(row.inflight, least);
      cost[i] = allowed ? -match(row) : std::numeric_limits<double>::infinity();
    }
  }

 private:
  bool overloaded(double load, double least) const {
    return load - least > abs_ && load > rel_ * least;
  }
  static double match(const FeatureRow& row) {
    return row.prompt_tokens > 0 ? row.hit_tokens / row.prompt_tokens : 0;
  }
  void by_load(const DecisionContext& context, std::span<double> cost, std::string_view why) {
    explain(why);
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = context.rows[i].inflight;
  }

  double threshold_, abs_, rel_;
  bool per_request_;
};

constexpr ParamSpec kParams[] = {
    {"threshold", 0.3, 0, 1, "share of the prompt that must match"},
    {"abs", 64, 0, 1e9, "load difference beyond which balance comes first"},
    {"rel", 1.5, 1, 1e9, "load ratio that must be exceeded as well"},
    {"per_request", 0, 0, 1, "1: judge only the matching instance, not the fleet's extremes"}};

}  // namespace

CatalogRow cache_aware_row() {
  return {.name = "cache-aware",
          .summary = "longest match above 30 %, else least loaded; gate on imbalance",
          .source = "SMG (sglang router) `cache_aware`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<CacheAwarePolicy>(p);
          },
          .randomized = false,
          .no_spread = "a matching prompt piles up until the difference exceeds 64"};
}

}  // namespace lodestar
