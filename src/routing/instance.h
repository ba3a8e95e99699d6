// SPDX-License-Identifier: Apache-2.0
// One routable engine, as the router sees it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace lodestar {

// Facts that hold for one incarnation. 0 means unknown unless said otherwise.
struct InstanceInfo {
  InstanceId id;
  Incarnation incarnation = 0;
  std::string name;                        // for people: host:port, or a simulated name
  std::vector<std::string> served_models;  // empty: serves any
  std::vector<std::string> adapters;
  std::string hardware;                    // label, e.g. "A30"; may be empty
  double told_prefill_tokens_per_s = 0;    // only *-speeds policies may read it
  std::int64_t kv_capacity_tokens = 0;
  std::int64_t max_model_len = 0;
  std::int64_t max_num_seqs = 0;
  bool prefix_caching = true;
};

// One scrape of an engine's gauges.
struct LoadSnapshot {
  double running = 0;
  double waiting = 0;
  double kv_usage = 0;                     // 0..1, cached but unreferenced blocks count as free
  double prefix_queries_tokens = 0;        // counters since engine start; 0 if not exported
  double prefix_hits_tokens = 0;
  double preemptions = 0;
  TimeNs taken_at = 0;                     // when the engine rendered it
};

// The router's own accounting, exact between scrapes. Reserved at the decision.
struct OwnLoad {
  std::int64_t inflight = 0;
  std::int64_t inflight_prefill = 0;       // no first token seen yet
  std::int64_t inflight_decode = 0;
  double pending_prompt_tokens = 0;        // full prompts of those in prefill
  double pending_uncached_tokens = 0;      // the same less their believed prefix hits
  double decode_generated_tokens = 0;      // output tokens so far of those in decode
  double decode_context_tokens = 0;        // prompt + output tokens of those in decode
  std::uint64_t placed_total = 0;
};

enum class Health { kUp, kUnhealthy, kDraining };

struct InstanceState {
  InstanceInfo info;
  bool present = false;                    // the slot is in use
  Health health = Health::kUp;
  std::optional<LoadSnapshot> load;        // last scrape, of this incarnation
  OwnLoad own;
  OwnLoad own_at_scrape;                   // our books when `load` arrived
  std::vector<LeaseId> residents;          // leases not yet settled, oldest first

  bool serves(const std::string& served_model) const {
    return info.served_models.empty() ||
           std::find(info.served_models.begin(), info.served_models.end(), served_model) !=
               info.served_models.end();
  }
};

}  // namespace lodestar
