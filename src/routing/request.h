// SPDX-License-Identifier: Apache-2.0
// What the router may know of a request when it decides. Never the true output
// length: in a simulation that travels where only the engine reads it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace lodestar {

// A target of 0 means "none".
struct SloTarget {
  double ttft_ms = 0;
  double tpot_ms = 0;
};

struct RequestInfo {
  std::string served_model;   // the name that the client asked for
  std::string adapter;        // LoRA name, empty if none
  std::string tenant;
  std::string session_key;    // for affinity; empty if the client gave none
  std::string policy;         // override of the configured policy, empty for none

  std::int64_t prompt_bytes = 0;  // canonical prompt; 0 if only tokens are known
  double prompt_tokens = 0;       // 0: unknown, the router estimates it from the bytes
  double prompt_tokens_error = 0; // relative, one sigma; 0 if exact

  // Keyed hashes of the canonical prompt's full blocks, chained: equal hash means
  // equal prefix. A block is `block_tokens` tokens (exact view) or, when that is
  // 0, `block_bytes` bytes of canonical prompt (live view).
  std::vector<std::uint64_t> block_hashes;
  double block_tokens = 0;
  std::int64_t block_bytes = 0;

  std::int64_t max_output_tokens = 0;  // the client's own cap, 0 if none
  SloTarget slo;
  int priority = 0;
  TimeNs deadline = kNever;
  bool stream = true;
};

}  // namespace lodestar
