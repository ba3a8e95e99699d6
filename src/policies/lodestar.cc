// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar.h"

#include "policies/lodestar_policy.h"

namespace lodestar {
namespace {

constexpr std::string_view kRewards[] = {"blend", "neg_ttft", "neg_e2e", "slo"};

constexpr ParamSpec kParams[] = {
    {"reward", 0, 0, 3,
     "what a request wants: TTFT and some decode time, or one alone, or its targets", kRewards},
    {"decode_weight", 0.03, 0, 100, "seconds of TTFT that a second of decode time is worth"},
    {"tail", 0.1, 0, 100, "extra weight of a TTFT for each usual TTFT that it lasts; 0: none"},
    {"toll", 1, 0, 100, "weight of the price of prefill work on busy instances; 0: greedy"},
    {"crowding", 1, 0, 100, "weight of the waiting for KV cache that later arrivals get"},
    {"externality", 0.3, 0, 100, "weight of the delay of later arrivals; 0: none"},
    {"explore", 0.005, 0, 1, "most of the predicted TTFT spent on instances not heard of; 0: none"},
    {"explore_after_s", 20, 0, 1e6, "seconds without a sample after which an instance is probed"},
    {"near", 0.03, 0, 1, "costs within this share of the best are equal"},
    {"k", 0, 0, 1000, "instances per prefix group (rendezvous hashing); 0: all"},
    {"mirror", 1, 0, 1,
     "the prefix index follows the engines' block managers; 0: order of placement"},
    {"freeze_after", 0, 0, 1e9, "samples after which learning stops; 0: never (for ablations)"},
};

std::unique_ptr<Policy> make(const PolicyParams& params) {
  LodestarOptions o;
  o.objective.reward = static_cast<Reward>(static_cast<int>(params.at("reward") + 0.5));
  o.objective.decode_weight = params.at("decode_weight");
  o.objective.tail = params.at("tail");
  o.objective.toll = params.at("toll");
  o.objective.crowding = params.at("crowding");
  o.objective.externality = params.at("externality");
  o.explore = params.at("explore");
  o.explore_after_s = params.at("explore_after_s");
  o.near = params.at("near");
  o.k = static_cast<std::size_t>(params.at("k") + 0.5);
  o.mirror = params.at("mirror") >= 0.5;
  o.freeze_after = params.at("freeze_after");
  return std::make_unique<LodestarPolicy>(o);
}

}  // namespace

CatalogRow lodestar_row() {
  return {.name = "lodestar",
          .summary = "least predicted TTFT and decode time, plus what the placement costs others",
          .source = "this project (docs/results/learning.md)",
          .params = kParams,
          .make = make,
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
