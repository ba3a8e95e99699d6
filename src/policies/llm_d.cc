// SPDX-License-Identifier: Apache-2.0
// llm-d: the weighted scorers of llm-d-router v0.10, each in [0, 1], highest sum
// wins. Defaults prefix : queue : kv = 3 : 2 : 2, and its token-load scorer at the
// weight 1 of a scorer that the configuration names without one.
//   prefix  matched blocks / blocks of the prompt
//   queue   (max - q) / (max - min), q = waiting requests; all equal: 1
//   kv      1 - KV cache usage
//   tokens  1 - t / 4,194,304 (128 requests of 32 k), t = tokens in flight there
//           and the request's own uncached ones
// The first three come from scrapes, corrected by what the router has in flight
// (llm-d's inflight-load producer): a queue is at least our requests without a
// first token, a usage at least our tokens over the capacity. `inflight=0` takes
// the gauges as scraped; then every request between two scrapes goes to the same
// best, which in our simulator triples the mean TTFT at 70 % load.
// A KV usage that nobody knows counts as the mean of the known ones: it neither
// attracts nor repels.
#include <algorithm>
#include <cmath>
#include <limits>

#include "policies/rows.h"
#include "policies/scored_policy.h"
#include "policies/signals.h"

namespace lodestar {
namespace {

class LlmDPolicy final : public ScoredPolicy {
 public:
  explicit LlmDPolicy(const PolicyParams& p)
      : ScoredPolicy({.prefix = true, .progress = true}, "highest weighted score"),
        prefix_(p.at("prefix")),
        queue_(p.at("queue")),
        kv_(p.at("kv")),
        tokens_(p.at("tokens")),
        token_threshold_(p.at("token_threshold")),
        inflight_(p.at("inflight") != 0) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    double usage_sum = 0, usage_known = 0;
    for (const FeatureRow& row : context.rows) {
      const double q = queue_of(row);
      least = std::min(least, q);
      most = std::max(most, q);
      const double usage = usage_of(row);
      if (!std::isnan(usage)) {
        usage_sum += usage;
        usage_known += 1;
      }
    }
    const double mean_usage = usage_known > 0 ? usage_sum / usage_known : 0;
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      const double queue = most > least ? (most - queue_of(row)) / (most - least) : 1;
      const double usage = usage_of(row);
      const double in_flight =
          row.pending_uncached_tokens + row.decode_context_tokens + row.uncached_tokens();
      const double share = std::min(in_flight / token_threshold_, 1.0);
      cost[i] = -(prefix_ * row.hit_ratio + queue_ * queue +
                  kv_ * (1 - (std::isnan(usage) ? mean_usage : usage)) + tokens_ * (1 - share));
    }
  }

 private:
  double queue_of(const FeatureRow& row) const {
    const double q = engine_queue(row);
    return inflight_ ? std::max(q, row.inflight_prefill) : q;
  }
  double usage_of(const FeatureRow& row) const {
    const double usage = kv_usage(row);
    if (!inflight_ || !(row.kv_capacity_tokens > 0)) return usage;
    const double own =
        (row.decode_context_tokens + row.pending_prompt_tokens) / row.kv_capacity_tokens;
    return std::min(1.0, std::max(usage, own));
  }

  double prefix_, queue_, kv_, tokens_, token_threshold_;
  bool inflight_;
};

constexpr ParamSpec kParams[] = {
    {"prefix", 3, 0, 1e6, "weight of the prefix scorer"},
    {"queue", 2, 0, 1e6, "weight of the queue scorer"},
    {"kv", 2, 0, 1e6, "weight of the KV usage scorer"},
    {"tokens", 1, 0, 1e6, "weight of the in-flight token scorer"},
    {"token_threshold", 4194304, 1, 1e12, "in-flight tokens that score 0"},
    {"inflight", 1, 0, 1, "1: gauges corrected by what is in flight, 0: as scraped"}};

}  // namespace

CatalogRow llm_d_row() {
  return {.name = "llm-d",
          .summary = "highest 3 prefix + 2 queue + 2 kv, with in-flight tokens",
          .source = "llm-d-router v0.10 default scorers",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<LlmDPolicy>(p);
          },
          .randomized = false,
          .no_spread = "a full prefix hit outweighs the whole queue scorer"};
}

}  // namespace lodestar
