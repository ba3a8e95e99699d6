// SPDX-License-Identifier: Apache-2.0
// Small worlds for tests: A30 engines and regular arrivals.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "sim/gpu_presets.h"
#include "sim/world.h"

namespace lodestar::sim::testing {

inline WorldEngine a30(const std::string& name) {
  WorldEngine e;
  const auto gpu = find_gpu("a30").value().params;
  const auto llm = find_served_model("llama-3.1-8b").value().params;
  e.step_time = FormulaStepTime::create(gpu, llm, {}).value();
  e.info.name = name;
  e.info.kv_capacity_tokens = e.config.kv_capacity_tokens = 41'888;
  return e;
}

// n requests of `prompt` tokens, every `gap_ms`; each pair of neighbours shares
// its first half.
inline std::shared_ptr<const WorkloadPlan> plan_of(int n, std::int64_t prompt, double gap_ms,
                                                   std::int64_t output = 20) {
  auto plan = std::make_shared<WorkloadPlan>();
  for (int i = 0; i < n; ++i) {
    PlannedRequest r;
    r.arrival = from_ms(gap_ms * i);
    r.prompt_tokens = prompt;
    r.output_tokens = output;
    r.spans_begin = plan->spans.size();
    append_span(plan->spans, r.spans_begin,
                {hash_combine(1, static_cast<std::uint64_t>(i / 2)), 0, prompt / 2});
    append_span(plan->spans, r.spans_begin,
                {hash_combine(2, static_cast<std::uint64_t>(i)), 0, prompt - prompt / 2});
    r.spans_end = plan->spans.size();
    r.output = {hash_combine(3, static_cast<std::uint64_t>(i)), 0, output};
    plan->heads.push_back(static_cast<std::uint32_t>(i));
    plan->requests.push_back(r);
  }
  plan->max_requests = static_cast<std::uint64_t>(n);
  return plan;
}

inline WorldConfig config_of(int engines, std::string policy = "least-request") {
  WorldConfig c;
  for (int e = 0; e < engines; ++e) c.engines.push_back(a30("a30-" + std::to_string(e)));
  c.router.policy = std::move(policy);
  return c;
}

}  // namespace lodestar::sim::testing
