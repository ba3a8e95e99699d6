// SPDX-License-Identifier: Apache-2.0
// preble: E2 scheduling, "exploit or explore" (Preble, arXiv 2407.00023, section
// 3.2), with the window of 3 minutes and the prefill fit of its AIBrix port.
//   exploit  the best match covers at least as many tokens as it leaves: of the
//            instances with that match the one with the least load L
//   explore  else the least L + M + P
//     L  GPU seconds given to it within the window: prefill of uncached tokens,
//        and decoding of a mean answer at the median time per token
//     P  prefill of the tokens that this request would miss there
//     M  what it would evict: tokens beyond its capacity, at their prefill time,
//        times the share of recent prompt tokens that came from its cache. (The
//        paper sums this over the tree nodes to be evicted; a feature row has no
//        nodes, so they count as average.) 0 if the capacity is unknown.
//   rebalance  an exploited instance with more than `ratio` (1.5) times the load of
//        the lightest hands the request to the lightest, once the window holds 50
//        requests per instance. The prefix is then cached on both, which is also
//        how the paper's replication of hot prefixes comes about here.
// Answers seen so far give mean length and median time per token; before the
// first one: 45 tokens, 0.15 s.
#include <algorithm>
#include <limits>
#include <vector>

#include "policies/preble_window.h"
#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class PreblePolicy final : public ScoredPolicy {
 public:
  explicit PreblePolicy(const PolicyParams& p)
      : ScoredPolicy({.prefix = true}, "explore: least load + eviction + prefill"),
        window_(from_s(p.at("window_s"))),
        ratio_(p.at("ratio")),
        warmup_(p.at("warmup")),
        answers_(p.at("decode_tokens"), p.at("tpot_s")) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    double best_hit = 0, lightest = std::numeric_limits<double>::infinity(), requests = 0;
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const auto sums = recent(context, i);
      cost[i] = sums.work_s;
      requests += sums.requests;
      lightest = std::min(lightest, sums.work_s);
      best_hit = std::max(best_hit, context.rows[i].hit_tokens);
    }
    if (best_hit > 0 && best_hit >= context.rows[0].prompt_tokens - best_hit) {
      double holder = std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < cost.size(); ++i)
        if (context.rows[i].hit_tokens == best_hit) holder = std::min(holder, cost[i]);
      if (requests >= warmup_ * static_cast<double>(cost.size()) && holder > ratio_ * lightest)
        return explain("rebalance: lightest instead of the best match");
      for (std::size_t i = 0; i < cost.size(); ++i)
        if (context.rows[i].hit_tokens != best_hit)
          cost[i] = std::numeric_limits<double>::infinity();
      return explain("exploit: best match");
    }
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      cost[i] += preble_prefill_s(row.uncached_tokens(), row.hit_tokens) +
                 eviction_s(row, recent(context, i));
    }
  }

  void on_placed(TimeNs now, const RequestInfo&, const Outcome& placed, PolicyActions&) override {
    if (placed.slot >= windows_.size()) windows_.resize(placed.slot + 1);
    const FeatureRow& row = placed.row;
    const double work = preble_prefill_s(row.uncached_tokens(), row.hit_tokens) +
                        answers_.mean_tokens() * answers_.median_tpot_s();
    windows_[placed.slot].add(now, window_, {work, row.prompt_tokens, row.hit_tokens, 1});
  }
  void on_settled(TimeNs, const Outcome& outcome, PolicyActions&) override {
    if (outcome.disposition == Disposition::kLearn && outcome.tpot_ms)
      answers_.add(static_cast<double>(outcome.output_tokens), *outcome.tpot_ms * 1e-3);
  }
  void on_instance_up(TimeNs, Fleet::Slot slot, const Fleet&, PolicyActions&) override {
    forget(slot);
  }
  void on_instance_down(TimeNs, Fleet::Slot slot, const Fleet&) override { forget(slot); }

 private:
  void forget(Fleet::Slot slot) {
    if (slot < windows_.size()) windows_[slot] = PrebleWindow{};
  }
  PrebleWindow::Sums recent(const DecisionContext& context, std::size_t i) const {
    const Fleet::Slot slot = context.candidates[i];
    return slot < windows_.size() ? windows_[slot].sums(context.now, window_)
                                  : PrebleWindow::Sums{};
  }
  static double eviction_s(const FeatureRow& row, const PrebleWindow::Sums& recent) {
    if (!(row.kv_capacity_tokens > 0) || !(recent.prompt_tokens > 0)) return 0;
    const double cached =
        std::min(recent.prompt_tokens - recent.hit_tokens, row.kv_capacity_tokens);
    const double evicted = cached + row.uncached_tokens() - row.kv_capacity_tokens;
    if (!(evicted > 0)) return 0;
    return preble_prefill_s(evicted, 0) * recent.hit_tokens / recent.prompt_tokens;
  }

  DurationNs window_;
  double ratio_, warmup_;
  PrebleAnswers answers_;
  std::vector<PrebleWindow> windows_;  // by slot
};

constexpr ParamSpec kParams[] = {
    {"window_s", 180, 1, 1e6, "seconds of history that count as load"},
    {"ratio", 1.5, 1, 1e9, "load ratio to the lightest beyond which a match is given up"},
    {"warmup", 50, 0, 1e9, "requests per instance in the window before rebalancing"},
    {"decode_tokens", 45, 0, 1e9, "length of an answer before the first one was seen"},
    {"tpot_s", 0.15, 0, 1e3, "seconds per output token before the first answer was seen"}};

}  // namespace

CatalogRow preble_row() {
  return {.name = "preble",
          .summary = "E2: exploit a majority match, else least load + eviction + prefill",
          .source = "Preble, arXiv 2407.00023; AIBrix `prefix-cache-preble`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<PreblePolicy>(p);
          },
          .randomized = false,
          .no_spread = "a majority match is exploited until rebalancing starts"};
}

}  // namespace lodestar
