// SPDX-License-Identifier: Apache-2.0
// lmetric: new prefill tokens x batch, no weights to tune (LMetric, arXiv
// 2603.15202; as written in Lodestar's gateway, LMetricScorePods):
//   cost = (A + L * (100 - hit) / 100) * (running + waiting + 1)
// A: uncached tokens sent there and not yet at their first token; L: prompt
// tokens; hit: whole per cent. Integer arithmetic, so every quotient is rounded
// down. A tie goes to the smaller batch. running and waiting are the engine's
// gauges; when they are unknown our own in-flight stands in.
//
// lmetric-speeds: the first factor is work, so with several kinds of hardware it
// is divided by the told prefill rate and becomes seconds:
//   cost = (A + L * (100 - hit) / 100) / rate * (running + waiting + 1)
// The batch stays a count: at equal utilisation a fast instance carries the same
// backlog and the same batch as a slow one (Little: both its arrival rate and its
// 1 / residence scale with the speed), so dividing once makes the faster one win
// as long as it answers sooner, while dividing the batch too would count the speed
// twice. An instance without a told rate counts as average. Not in the paper.
#include <cmath>

#include "policies/rows.h"
#include "policies/scored_policy.h"
#include "policies/signals.h"
#include "policies/speeds.h"

namespace lodestar {
namespace {

class LMetricPolicy final : public ScoredPolicy {
 public:
  explicit LMetricPolicy(bool speeds)
      : ScoredPolicy({.prefix = true}, "least new tokens x batch"), speeds_(speeds) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    const double mean = speeds_ ? mean_told_speed(context.rows) : 0;
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      const double fresh =
          std::floor(std::floor(row.prompt_tokens) * (100 - hit_percent(row)) / 100);
      const double tokens = std::floor(row.pending_uncached_tokens) + fresh;
      const double batch = std::floor(engine_batch(row)) + 1;
      cost[i] = tokens * batch;
      if (mean > 0) {
        const double speed = told_speed(row);
        cost[i] /= speed > 0 ? speed : mean;
      }
    }
  }
  // The smaller batch; within a scrape period equal gauges say little, so then the
  // fewer in flight (below a million, which keeps it the second key).
  double load(const FeatureRow& row) const override {
    return engine_batch(row) + 1e-6 * row.inflight;
  }

 private:
  bool speeds_;
};

template <bool kSpeeds>
std::unique_ptr<Policy> make(const PolicyParams&) {
  return std::make_unique<LMetricPolicy>(kSpeeds);
}

}  // namespace

CatalogRow lmetric_row() {
  return {.name = "lmetric",
          .summary = "least (pending + new uncached tokens) x (batch + 1)",
          .source = "LMetric, arXiv 2603.15202; Lodestar's gateway",
          .params = {},
          .make = make<false>,
          .randomized = false,
          .no_spread = {}};
}

CatalogRow lmetric_speeds_row() {
  return {.name = "lmetric-speeds",
          .summary = "lmetric in seconds, by told prefill rates",
          .source = "lmetric, weighted (this project)",
          .params = {},
          .make = make<true>,
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
