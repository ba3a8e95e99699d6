// SPDX-License-Identifier: Apache-2.0
// What an engine says of itself: GET /v1/models.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lodestar::control {

struct ModelCard {
  std::string id;                   // a served model, or an adapter by its own name
  std::string parent;               // of an adapter: its base; else empty
  std::int64_t max_model_len = 0;   // 0: not told
  std::string json;                 // the card as the engine wrote it
};

// Errors (kProtocol) say what is missing. Cards without an id are skipped.
Result<std::vector<ModelCard>> parse_model_list(std::string_view body);

// {"object":"list","data":[...]} over all cards; the first card of an id counts.
std::string merged_model_list(const std::vector<ModelCard>& cards);

}  // namespace lodestar::control
