// SPDX-License-Identifier: Apache-2.0
// consistent-hash with bounded load (Mirrokni, Thorup, Zadimoghaddam 2018; factor
// 1.25 as in SMG's prefix_hash and HAProxy's hash-balance-factor): a key goes to
// the first instance in its own order of preference that holds fewer than
//   ceil(factor * (m + 1) / n)
// requests, m = all in flight, n = candidates. The order is by rendezvous weight
// (hash_ring.h): 8 -> 9 instances moves one ninth of the keys.
// Key: the session key, else the prefix group of 256 tokens (SMG prefix_hash).
// A request with neither goes to the least loaded, marked as a fallback.
#include <cmath>
#include <limits>

#include "policies/hash_ring.h"
#include "policies/picker.h"
#include "policies/rows.h"

namespace lodestar {
namespace {

class ConsistentHashPolicy final : public Policy {
 public:
  ConsistentHashPolicy(double factor, double prefix_tokens)
      : factor_(factor), prefix_tokens_(prefix_tokens) {}

  Needs needs() const override { return {}; }

  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    const std::uint64_t key = affinity_key(context.request, prefix_tokens_);
    if (key == 0) return least_request(context, out);
    double total = 1;  // with the request itself
    for (const FeatureRow& row : context.rows) total += row.inflight;
    const double bound = std::ceil(factor_ * total / static_cast<double>(context.rows.size()));
    std::size_t best = kNoPick, first = 0;
    std::uint64_t best_weight = 0, first_weight = 0;
    for (std::size_t i = 0; i < context.rows.size(); ++i) {
      const std::uint64_t weight = rendezvous_weight(key, context.instance(i).info.id);
      if (i == 0 || weight > first_weight) {
        first = i;
        first_weight = weight;
      }
      if (context.rows[i].inflight + 1 > bound) continue;
      if (best == kNoPick || weight > best_weight) {
        best = i;
        best_weight = weight;
      }
    }
    // factor >= 1, so the least loaded is always below the bound.
    if (best == kNoPick) return least_request(context, out);
    out.place(best, best == first ? "hash" : "hash, first choice at its load bound");
  }

 private:
  void least_request(const DecisionContext& context, Decision& out) {
    load_.clear();
    for (const FeatureRow& row : context.rows) load_.push_back(row.inflight);
    const Pick pick = pick_least(load_, load_, context.rng);
    out.place(pick.index, "no session key and no full block: least request");
    out.propensity = pick.propensity;
    out.fallback = true;
  }

  double factor_, prefix_tokens_;
  std::vector<double> load_;
};

constexpr ParamSpec kParams[] = {
    {"factor", 1.25, 1, 1e9, "load bound as a multiple of the mean"},
    {"prefix_tokens", 256, 1, 1e9, "depth of the prefix group when there is no session key"}};

}  // namespace

CatalogRow consistent_hash_row() {
  return {.name = "consistent-hash",
          .summary = "rendezvous hash of session or prefix, load bounded at 1.25 x mean",
          .source = "Mirrokni et al. 2018; SMG `prefix_hash` and `consistent_hashing`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<ConsistentHashPolicy>(p.at("factor"), p.at("prefix_tokens"));
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
