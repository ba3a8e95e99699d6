// SPDX-License-Identifier: Apache-2.0
#include "routing/filters.h"

#include <algorithm>

namespace lodestar {

Exclusion exclusion(const RequestInfo& request, const InstanceState& instance) {
  if (!instance.serves(request.served_model)) return Exclusion::kWrongModel;
  if (!request.adapter.empty()) {
    const auto& have = instance.info.adapters;
    if (std::find(have.begin(), have.end(), request.adapter) == have.end())
      return Exclusion::kNoAdapter;
  }
  if (instance.health == Health::kUnhealthy) return Exclusion::kUnhealthy;
  if (instance.health == Health::kDraining) return Exclusion::kDraining;
  // Only an exact count may exclude; an estimate is the engine's to refuse.
  if (request.prompt_tokens_error == 0 && request.block_tokens > 0 &&
      instance.info.max_model_len > 0 &&
      request.prompt_tokens > static_cast<double>(instance.info.max_model_len))
    return Exclusion::kTooLong;
  return Exclusion::kNone;
}

std::string_view exclusion_text(Exclusion why) {
  switch (why) {
    case Exclusion::kNone:
      return "candidate";
    case Exclusion::kWrongModel:
      return "does not serve the model";
    case Exclusion::kNoAdapter:
      return "adapter not loaded";
    case Exclusion::kUnhealthy:
      return "unhealthy";
    case Exclusion::kDraining:
      return "draining";
    case Exclusion::kTooLong:
      return "prompt longer than max_model_len";
    case Exclusion::kTried:
      return "already failed this request";
  }
  return "?";
}

}  // namespace lodestar
