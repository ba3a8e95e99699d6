// SPDX-License-Identifier: Apache-2.0
// prefix-cache: AIBrix's prefix-cache-and-load-aware rule ("PC1" in Lodestar,
// where it is the main baseline and the fallback). r = own requests in flight,
// hit = whole per cent of the prompt's blocks believed cached:
//   1. max r - min r > abs: the least loaded.
//   2. else, of those with r <= mean(r) + factor * sd(r) (sample sd, n - 1): the
//      highest hit, then the lowest r. The least loaded always qualifies.
// Published thresholds: abs 8, factor 1 (AIBrix code); 16 and 2 (its manifests).
//
// prefix-cache-speeds: the same rule for hardware of several speeds. A request
// weighs as much as the time it takes, so r becomes the load after placement in
// units of an average instance, w = (r + 1) * mean speed / speed, speed = the told
// prefill rate. With equal speeds w = r + 1 and both rules pick alike. An instance
// without a told rate counts as average. AIBrix has no such rule; it is the
// strongest hand-made baseline for mixed fleets.
#include <cmath>
#include <limits>
#include <vector>

#include "policies/rows.h"
#include "policies/scored_policy.h"
#include "policies/signals.h"
#include "policies/speeds.h"

namespace lodestar {
namespace {

class PrefixCachePolicy final : public ScoredPolicy {
 public:
  PrefixCachePolicy(double abs, double factor, bool speeds)
      : ScoredPolicy({.prefix = true}, "best prefix hit within the load bound"),
        abs_(abs),
        factor_(factor),
        speeds_(speeds) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    const auto rows = context.rows;
    mean_speed_ = speeds_ ? mean_told_speed(rows) : 0;
    double least = std::numeric_limits<double>::infinity(), most = 0, sum = 0;
    for (const FeatureRow& row : rows) {
      const double w = weight(row);
      least = w < least ? w : least;
      most = w > most ? w : most;
      sum += w;
    }
    if (most - least > abs_) {
      for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = weight(rows[i]);
      explain("load imbalance: least loaded");
      return;
    }
    const double n = static_cast<double>(rows.size());
    const double mean = sum / n;
    double squares = 0;
    for (const FeatureRow& row : rows) {
      const double d = weight(row) - mean;
      squares += d * d;
    }
    const double sd = rows.size() > 1 ? std::sqrt(squares / (n - 1)) : 0;
    const double bound = mean + factor_ * sd;
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const double w = weight(rows[i]);
      // The least loaded is within the bound by arithmetic; rounding may not cost it that.
      const bool within = w <= bound || w == least;
      cost[i] = within ? -hit_percent(rows[i]) : std::numeric_limits<double>::infinity();
    }
  }

  double load(const FeatureRow& row) const override { return weight(row); }

 private:
  double weight(const FeatureRow& row) const {
    if (mean_speed_ <= 0) return row.inflight;
    const double speed = told_speed(row);
    return (row.inflight + 1) * (speed > 0 ? mean_speed_ / speed : 1.0);
  }

  double abs_, factor_;
  bool speeds_;
  double mean_speed_ = 0;
};

constexpr std::string_view kSource =
    "AIBrix `prefix-cache` (prefix_cache.go); Lodestar arXiv 2606.00946 `prefix_cache_1`";

constexpr ParamSpec param_abs(double value) {
  return {"abs", value, 0, 1e9, "spread of in-flight counts beyond which load alone decides"};
}
constexpr ParamSpec param_factor(double value) {
  return {"factor", value, 0, 1e9, "standard deviations above the mean that a hit may cost"};
}
constexpr ParamSpec kParams[] = {param_abs(8), param_factor(1)};
constexpr ParamSpec kParams162[] = {param_abs(16), param_factor(2)};

template <bool kSpeeds>
std::unique_ptr<Policy> make(const PolicyParams& p) {
  return std::make_unique<PrefixCachePolicy>(p.at("abs"), p.at("factor"), kSpeeds);
}

}  // namespace

CatalogRow prefix_cache_row() {
  return {.name = "prefix-cache",
          .summary = "best prefix hit among those not above mean + sd in flight",
          .source = kSource,
          .params = kParams,
          .make = make<false>,
          .randomized = false,
          .no_spread = {}};
}

CatalogRow prefix_cache_16_2_row() {
  return {.name = "prefix-cache-16-2",
          .summary = "prefix-cache with the thresholds of AIBrix's manifests",
          .source = kSource,
          .params = kParams162,
          .make = make<false>,
          .randomized = false,
          .no_spread = {}};
}

CatalogRow prefix_cache_speeds_row() {
  return {.name = "prefix-cache-speeds",
          .summary = "prefix-cache with loads weighted by told prefill rates",
          .source = "prefix-cache, weighted (this project)",
          .params = kParams,
          .make = make<true>,
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
