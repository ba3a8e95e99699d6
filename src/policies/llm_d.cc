// SPDX-License-Identifier: Apache-2.0
// llm-d: the weighted scorers of llm-d-router v0.10, each in [0, 1], highest sum
// wins. Defaults prefix : queue : kv = 3 : 2 : 2, plus its token-load scorer on the
// in-flight tokens at the weight 1 of a scorer that the configuration names
// without one.
//   prefix  matched blocks / blocks of the prompt
//   queue   (max - q) / (max - min), q = waiting requests; all equal: 1
//   kv      1 - KV cache usage
//   tokens  1 - t / 4,194,304 (128 requests of 32 k), t = tokens in flight there
//           and the request's own uncached ones
// A KV usage that nobody knows counts as the mean of the known ones: it neither
// attracts nor repels.
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
        prefix_(p.at("prefix")), queue_(p.at("queue")), kv_(p.at("kv")), tokens_(p.at("tokens")),
        token_threshold_(p.at("token_threshold")) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    double usage_sum = 0, usage_known = 0;
    for (const FeatureRow& row : context.rows) {
      const double q = engine_queue(row);
      least = q < least ? q : least;
      most = q > most ? q : most;
      const double usage = kv_usage(row);
      if (!std::isnan(usage)) {
        usage_sum += usage;
        usage_known += 1;
      }
    }
    const double mean_usage = usage_known > 0 ? usage_sum / usage_known : 0;
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      const double queue = most > least ? (most - engine_queue(row)) / (most - least) : 1;
      const double usage = kv_usage(row);
      const double in_flight =
          row.pending_uncached_tokens + row.decode_context_tokens + row.uncached_tokens();
      const double share = in_flight < token_threshold_ ? in_flight / token_threshold_ : 1;
      cost[i] = -(prefix_ * row.hit_ratio + queue_ * queue +
                  kv_ * (1 - (std::isnan(usage) ? mean_usage : usage)) + tokens_ * (1 - share));
    }
  }

 private:
  double prefix_, queue_, kv_, tokens_, token_threshold_;
};

constexpr ParamSpec kParams[] = {
    {"prefix", 3, 0, 1e6, "weight of the prefix scorer"},
    {"queue", 2, 0, 1e6, "weight of the queue scorer"},
    {"kv", 2, 0, 1e6, "weight of the KV usage scorer"},
    {"tokens", 1, 0, 1e6, "weight of the in-flight token scorer"},
    {"token_threshold", 4194304, 1, 1e12, "in-flight tokens that score 0"}};

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
          .no_spread = "a prefix hit outweighs any in-flight load until the next scrape"};
}

}  // namespace lodestar
