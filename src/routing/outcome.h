// SPDX-License-Identifier: Apache-2.0
// What came of a placement. Built by the router from driver events.
#pragma once
#include <cstdint>
#include <optional>

#include "base/ids.h"
#include "base/time.h"
#include "routing/features.h"

namespace lodestar {

// From the engine's `usage`. An absent value is unknown, not 0.
struct Usage {
  std::optional<std::int64_t> prompt_tokens;
  std::optional<std::int64_t> cached_tokens;
  std::optional<std::int64_t> completion_tokens;
};

// learn: a clean sample. punish: the instance failed it. ignore: says nothing of
// the instance (client abort, router shutdown).
enum class Disposition { kLearn, kPunish, kIgnore };

struct Outcome {
  RequestId request;
  LeaseId lease;
  InstanceId instance;
  Incarnation incarnation = 0;
  std::uint32_t slot = 0;
  FeatureRow row;                       // as it was at the decision
  double propensity = 1;                // probability with which this instance was picked
  TimeNs placed_at = 0;
  std::optional<double> ttft_ms;        // unknown for an answer that was not streamed
  std::optional<double> tpot_ms;        // mean time per output token after the first
  std::optional<double> e2e_ms;         // set when settled by an end
  std::int64_t output_tokens = 0;
  Usage usage;
  Disposition disposition = Disposition::kLearn;
};

}  // namespace lodestar
