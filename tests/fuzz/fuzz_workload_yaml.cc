// SPDX-License-Identifier: Apache-2.0
// Any text as a workload file; what parses and is small is also drawn.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sim/workload_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lodestar::sim;
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto spec = parse_workload(text, "fuzz.yaml", "");
  if (!spec) {
    if (spec.error().message.empty()) std::abort();
    return 0;
  }
  if (!spec->synthetic || !spec->max_requests || *spec->max_requests > 200) return 0;
  const auto small = [](const SyntheticSpec& s) {
    return s.turns.max <= 20 && s.system_prompts <= 100 && s.prefixes_per_length <= 1000 &&
           s.prompt_tokens.size() <= 50;
  };
  if (!small(*spec->synthetic)) return 0;
  for (const SyntheticSpec& part : spec->synthetic->parts)
    if (!small(part)) return 0;
  auto plan = make_plan(*spec, nullptr, spec->seed);
  if (!plan) return 0;
  Workload workload(*plan);
  std::uint64_t taken = 0;
  while (workload.next_arrival() != lodestar::kNever) {
    const SimRequest r = workload.take();
    if (r.prompt_tokens < 1 || total_tokens(r.content) != r.prompt_tokens) std::abort();
    workload.on_complete(r.index, r.arrival);
    ++taken;
  }
  if (taken > workload.max_requests()) std::abort();
  return 0;
}
