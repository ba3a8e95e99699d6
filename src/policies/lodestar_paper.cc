// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper.h"

#include <algorithm>
#include <string>

#include "policies/lodestar_paper_policy.h"
#include "policies/rows.h"

namespace lodestar {
namespace {

constexpr ParamSpec kParams[] = {
    {"theta", 1000, 1, 1e6, "new labels per training round"},
    {"epochs", 20, 1, 1000, "epochs per round (published runs: 20 or 50)"},
    {"fifo", 5000, 0, 1e6, "newest older rows in a round"},
    {"replay", 5000, 0, 1e6, "rows in a round chosen by the coreset"},
    {"coreset", 0, 0, 1, "0: as the published code computes it, 1: error-weighted as described"},
    {"k", 2, 0, 64, "instances per prefix group when KV caches are full; 0: no filter"},
    {"kv_threshold", 0.8, 0, 1,
     "mean KV usage above which the filter acts (published: 0.8, 0.6, 0.5)"},
    {"min_hit_tokens", 100, 0, 1e9, "best hit in tokens above which the filter acts"},
    {"group_tokens", 0, 0, 1e6, "prefix group depth in tokens; 0: follows the traffic"},
    {"range_check", 1, 0, 2,
     "features in training range: 0 off, 1 of all candidates, 2 of the chosen"},
    {"range_margin", 0.3, 0, 1e3, "slack on both sides, as a share of the range"},
    {"ttft_limit_ms", 15000, 1, 1e9, "labels above this are dropped (clip_ttft 0) or clipped (1)"},
    {"clip_ttft", 0, 0, 1, "what happens above ttft_limit_ms"},
    {"min_rows", 256, 2, 1e6, "usable rows without which no round starts"},
    {"us_per_row_epoch", 14, 0, 1e6, "simulated training time per row and epoch, microseconds"},
    {"time_scale", 1, 1e-3, 1e3,
     "engine seconds per router second: the published label is in engine seconds (emulation)"},
    {"train_seed", 42, 0, 1e9, "seed of weights, dropout, split and order in each round"},
};

std::size_t count(const PolicyParams& params, const char* name) {
  return static_cast<std::size_t>(params.at(name) + 0.5);
}

LodestarPaperOptions options_of(const PolicyParams& params, bool gpu_labels) {
  LodestarPaperOptions o;
  o.trainer.gpu_labels = gpu_labels;
  o.trainer.epochs = count(params, "epochs");
  o.trainer.seed = count(params, "train_seed");
  o.trainer.us_per_row_epoch = params.at("us_per_row_epoch");
  o.trainer.coreset =
      params.at("coreset") >= 0.5 ? learn::CoresetRule::kAsDescribed : learn::CoresetRule::kAsCoded;
  o.pools.fifo = count(params, "fifo");
  o.pools.replay = count(params, "replay");
  o.theta = count(params, "theta");
  o.pools.fresh = std::max<std::size_t>(10000, o.theta * 2);
  o.min_rows = count(params, "min_rows");
  o.ttft_limit_ms = params.at("ttft_limit_ms");
  o.clip_ttft = params.at("clip_ttft") >= 0.5;
  o.time_scale = params.at("time_scale");
  o.k = count(params, "k");
  o.kv_threshold = params.at("kv_threshold");
  o.min_hit_tokens = params.at("min_hit_tokens");
  o.group_tokens = params.at("group_tokens");
  o.range_rule = static_cast<RangeRule>(count(params, "range_check"));
  o.range_margin = params.at("range_margin");
  return o;
}

std::unique_ptr<Policy> make_fallback() {
  const CatalogRow row = prefix_cache_row();
  PolicyParams params;
  for (const ParamSpec& spec : row.params) params.emplace(spec.name, spec.default_value);
  return row.make(params);
}

}  // namespace

std::unique_ptr<Policy> make_lodestar_paper(const PolicyParams& params, bool gpu_labels) {
  PolicyParams all = params;
  for (const ParamSpec& spec : kParams) all.try_emplace(std::string(spec.name), spec.default_value);
  return std::make_unique<LodestarPaperPolicy>(options_of(all, gpu_labels), make_fallback());
}

CatalogRow lodestar_paper_row() {
  CatalogRow row;
  row.name = "lodestar-paper";
  row.summary = "least TTFT predicted by a network that learns online; prefix-cache when unsure";
  row.source = "Lodestar, arXiv 2606.00946, as intended";
  row.params = kParams;
  row.make = [](const PolicyParams& p) { return make_lodestar_paper(p, false); };
  return row;
}

CatalogRow lodestar_paper_labels_row() {
  CatalogRow row = lodestar_paper_row();
  row.name = "lodestar-paper-labels";
  row.summary = "lodestar-paper with the GPU name of each instance as an input";
  row.source = "Lodestar, arXiv 2606.00946, INCLUDE_GPU_FEATURES=1";
  row.make = [](const PolicyParams& p) { return make_lodestar_paper(p, true); };
  return row;
}

}  // namespace lodestar
