// SPDX-License-Identifier: Apache-2.0
// dynamo-kv: the cost of NVIDIA Dynamo's KV router, in blocks, temperature 0:
//   raw  = active_prefill + incoming prefill
//   cost = prefill_load_scale * max(raw - overlap_credit, 0)
//        + active_decode + incoming_decode
// All from the router's own books, as in Dynamo; no scrape is read.
//   active_prefill   uncached tokens of the requests without a first token
//   active_decode    tokens of every active sequence: Dynamo reserves a sequence's
//                    blocks when it selects, so prompts in prefill count here too
//   overlap_credit   credit (1.0 for device memory) * matched tokens
// Blocks shared by active sequences are counted once in Dynamo and per sequence
// here: the row has no view of sharing. A tie goes to fewer requests in flight.
#include "policies/rows.h"
#include "policies/scored_policy.h"

namespace lodestar {
namespace {

class DynamoKvPolicy final : public ScoredPolicy {
 public:
  explicit DynamoKvPolicy(const PolicyParams& p)
      : ScoredPolicy({.prefix = true, .progress = true}, "least prefill + decode blocks"),
        scale_(p.at("prefill_load_scale")),
        credit_(p.at("overlap_credit")),
        block_(p.at("block_tokens")) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const FeatureRow& row = context.rows[i];
      const double raw = row.pending_uncached_tokens + row.prompt_tokens;
      const double prefill = raw - credit_ * row.hit_tokens;
      const double decode =
          row.decode_context_tokens + row.pending_prompt_tokens + row.prompt_tokens;
      cost[i] = (scale_ * (prefill > 0 ? prefill : 0) + decode) / block_;
    }
  }

 private:
  double scale_, credit_, block_;
};

constexpr ParamSpec kParams[] = {
    {"prefill_load_scale", 1, 0, 1e6, "weight of a prefill block against a decode block"},
    {"overlap_credit", 1, 0, 1, "share of a matched block that is saved"},
    {"block_tokens", 16, 1, 1e6, "tokens per KV block; a unit, it changes no pick"}};

}  // namespace

CatalogRow dynamo_kv_row() {
  return {.name = "dynamo-kv",
          .summary = "least scaled prefill blocks less overlap + decode blocks",
          .source = "NVIDIA Dynamo 1.6 KV router",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<DynamoKvPolicy>(p);
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
