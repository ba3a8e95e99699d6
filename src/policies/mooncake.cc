// SPDX-License-Identifier: Apache-2.0
// mooncake: the cache-aware scheduler of Mooncake (FAST'25, algorithm 1 without
// its cross-instance KV transfer, which the engines would have to offer): the
// least estimated TTFT = queue + prefill of the uncached tokens. (Lodestar's
// baseline of this name has no cache term; it is not this.)
//
// Estimate. Prefilling n tokens after c cached ones takes
//   T(n, c) = n / rate * (1 + (c + n / 2) / attention_tokens)
// a linear part for the weights' work and a quadratic one for attention over the
// mean context c + n/2; attention_tokens is the context at which both are equal
// (2 * parameters / (4 * layers * hidden): 30,000 for Llama-3-8B). The queue is T
// of the uncached tokens sent there that have no first token yet, at their mean
// prompt. `rate` is one number for the whole fleet, as Mooncake profiles one kind
// of prefill node; being a common factor, it changes seconds, not picks.
#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class MooncakePolicy final : public ScoredPolicy {
 public:
  MooncakePolicy(double rate, double attention_tokens)
      : ScoredPolicy({.prefix = true}, "least estimated TTFT"),
        rate_(rate),
        attention_tokens_(attention_tokens) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      cost[i] = queue_s(row) + prefill_s(row.uncached_tokens(), row.hit_tokens);
    }
  }

 private:
  double prefill_s(double fresh, double cached) const {
    return fresh / rate_ * (1 + (cached + fresh / 2) / attention_tokens_);
  }
  double queue_s(const FeatureRow& row) const {
    if (!(row.inflight_prefill > 0)) return 0;
    const double fresh = row.pending_uncached_tokens / row.inflight_prefill;
    const double prompt = row.pending_prompt_tokens / row.inflight_prefill;
    return row.inflight_prefill * prefill_s(fresh, prompt - fresh);
  }

  double rate_, attention_tokens_;
};

constexpr ParamSpec kParams[] = {
    {"rate", 10000, 1, 1e12, "prefill tokens per second of an instance"},
    {"attention_tokens", 30000, 1, 1e12,
     "context at which attention costs as much as the weights"}};

}  // namespace

CatalogRow mooncake_row() {
  return {.name = "mooncake",
          .summary = "least estimated TTFT: queue + prefill of uncached tokens",
          .source = "Mooncake, FAST'25, algorithm 1",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<MooncakePolicy>(p.at("rate"), p.at("attention_tokens"));
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
