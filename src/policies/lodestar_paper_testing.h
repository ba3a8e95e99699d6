// SPDX-License-Identifier: Apache-2.0
// For tests of lodestar-paper: a fleet whose feature rows are written by hand, and
// a predictor whose answer can be worked out on paper.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "learn/paper_predictor.h"
#include "policies/lodestar_paper_policy.h"
#include "routing/policy.h"

namespace lodestar::paper_testing {

// What the handmade predictor answers, in seconds:
//   TTFT = max(0, 0.2 + prefill_tokens / 10000 + waiting / 10 - kv_hit_ratio / 500)
// within prefill_tokens 0..100000, waiting 0..50, counts 0..100, hit 0..100 %,
// kv 0..1, decode_tokens 0..10000, input_tokens 0..20000.
inline std::shared_ptr<const learn::PaperPredictor> handmade_predictor(float not_a_number = 0) {
  learn::MlpWeights weights(learn::paper_inputs(false));
  const learn::MlpLayout& at = weights.layout();
  float* w = weights.values().data();
  w[at.w1 + 5 * learn::kHidden] = 1e-4f;   // prefill_tokens -> hidden unit 0
  w[at.w1 + 4 * learn::kHidden] = 0.1f;    // waiting_requests
  w[at.w1 + 8 * learn::kHidden] = -0.002f; // kv_hit_ratio
  w[at.b1] = 0.2f + not_a_number;
  w[at.w2] = 1;
  w[at.w3] = 1;
  w[at.w4] = -1;
  w[at.b4] = not_a_number;
  learn::Normalizer::Statistics s;
  s.deviation.fill(1);
  s.max = {100, 100, 1, 100, 50, 100000, 10000, 100, 100, 20000};
  learn::TrainingRecord record;
  record.rows = 1;
  return std::make_shared<const learn::PaperPredictor>(learn::Mlp(std::move(weights)),
                                                       learn::Normalizer(s), false, record);
}

// Instances 0..n-1 in slots 0..n-1 with rows that a test fills in.
class Bench {
 public:
  explicit Bench(std::size_t n, std::uint64_t seed = 1) : rows(n), rng_(seed) {
    for (std::size_t i = 0; i < n; ++i) {
      InstanceInfo info;
      info.id = InstanceId(static_cast<std::uint32_t>(i));
      info.name = "i" + std::to_string(i);
      fleet.add(info);
      candidates.push_back(static_cast<Fleet::Slot>(i));
    }
    request.prompt_tokens = 1000;
    for (FeatureRow& row : rows) row.prompt_tokens = 1000;
  }

  Decision decide(Policy& policy) {
    Decision out;
    PolicyActions actions;
    const DecisionContext context{now,   request, RequestId(++requests), candidates, rows,
                                  fleet, rng_};
    policy.decide(context, out, actions);
    return out;
  }
  std::size_t pick(Policy& policy) { return decide(policy).choices.at(0).candidate; }

  // Decides, places, and reports the first token after ttft_ms. Returns what the
  // policy asks for (a training round, perhaps).
  PolicyActions serve(Policy& policy, double ttft_ms) {
    const Decision d = decide(policy);
    Outcome o = placed(policy, d);
    o.ttft_ms = ttft_ms;
    now += from_ms(ttft_ms);
    PolicyActions actions;
    policy.on_first_token(now, o, actions);
    PolicyActions ignored;
    policy.on_settled(now, o, ignored);
    return actions;
  }
  Outcome placed(Policy& policy, const Decision& d) {
    Outcome o;
    o.request = RequestId(requests);
    o.lease = LeaseId(requests);
    o.slot = candidates.at(d.choices.at(0).candidate);
    o.instance = fleet.at(o.slot).info.id;
    o.row = rows.at(d.choices.at(0).candidate);
    o.placed_at = now;
    PolicyActions ignored;
    policy.on_placed(now, request, o, ignored);
    return o;
  }

  Fleet fleet;
  std::vector<Fleet::Slot> candidates;
  std::vector<FeatureRow> rows;
  RequestInfo request;
  TimeNs now = kSecond;
  std::uint64_t requests = 0;

 private:
  Rng rng_;
};

}  // namespace lodestar::paper_testing
