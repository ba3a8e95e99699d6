// SPDX-License-Identifier: Apache-2.0
// One adapter per engine kind: which metric means what. Values of data-parallel
// ranks on one page are added up (usage: averaged).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "routing/instance.h"

namespace lodestar::engines {

enum class EngineKind { kUnknown, kVllm, kSglang, kLlamaCpp };  // the emulated engine is a vLLM
std::string_view kind_name(EngineKind kind);

// What one page of metrics tells.
struct EngineSample {
  EngineKind kind = EngineKind::kUnknown;
  LoadSnapshot load;
  std::optional<double> process_start_s;  // process_start_time_seconds
  std::int64_t kv_capacity_tokens = 0;    // 0: not told
  std::int64_t block_tokens = 0;
  std::optional<bool> prefix_caching;
  // A counter that only grows within one life of the engine.
  double lifetime_counter = 0;
};

// Which engine writes such a page, by its metric names.
EngineKind detect_kind(std::string_view page);

// Errors (kProtocol): no metrics page, an unknown kind, or the load gauges are
// missing or not numbers. Then the load is unknown: never zero.
Result<EngineSample> read_metrics(std::string_view page, TimeNs taken_at);

}  // namespace lodestar::engines
