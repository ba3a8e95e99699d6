// SPDX-License-Identifier: Apache-2.0
// One engine as the operator names it: where it is and what is told of it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "net/url.h"

namespace lodestar::control {

struct EngineTarget {
  InstanceId id;                           // 1..n, stable for as long as the file names it
  std::string name;                        // for people and labels; unique
  net::Url url;
  std::string hardware;                    // label; may be empty
  std::vector<std::string> served_models;  // empty: ask the engine
  std::string api_key;                     // empty: the client's Authorization passes through
  double told_prefill_tokens_per_s = 0;    // 0: unknown
  std::int64_t kv_capacity_tokens = 0;     // 0: ask the engine
};

}  // namespace lodestar::control
