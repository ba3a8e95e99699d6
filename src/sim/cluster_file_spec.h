// SPDX-License-Identifier: Apache-2.0
// The cluster file's keys as they are written. Absent optional values get their
// meaning in cluster_file.cc.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/schema.h"
#include "sim/engine.h"
#include "sim/gpu_presets.h"
#include "sim/world.h"

namespace lodestar::sim {

struct GpuSpec {
  std::optional<std::string> preset;  // start from this row, then override
  std::optional<double> peak_tflops, bandwidth_gb_s, eta_c, eta_m, eta_kv, eta_kvm, eta_a, p,
      memory_gb;
};

struct ServedModelSpec {
  std::string name = "custom";
  std::int32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, vocab = 0;
  std::optional<std::int32_t> head_dim;
  double params_b = 0, weight_bytes = 2, kv_bytes = 2;
};

struct FaultSpec {
  EngineFault::Kind kind = EngineFault::Kind::kSlow;
  double at_s = 0;
  std::optional<double> until_s;
  std::optional<double> factor, ramp_s, speed_factor;
  std::optional<std::string> served_model;
  std::optional<std::int64_t> engine;
};

enum class StepModelKind { kFormula, kTable };
enum class ViewKind { kExact, kCoarse };

struct GroupSpec {
  std::optional<std::string> name;
  std::int64_t count = 1;
  std::string hardware;  // preset name, or made of the numbers
  GpuParams gpu;
  std::string served_model_name;
  ServedModelParams served_model;
  std::optional<std::int64_t> kv_capacity_tokens, max_model_len;
  double gpu_memory_utilization = 0.9;
  StepModelKind step_model = StepModelKind::kFormula;
  std::optional<std::string> profile;
  std::vector<FaultSpec> faults;
  std::int64_t max_num_batched_tokens = 2048, max_num_seqs = 256, block_tokens = 16;
  bool prefix_caching = true, chunked_prefill = true, async_scheduling = false,
       reserve_full_prompt = true;
  double overhead_ms = 0.3, overhead_per_seq_us = 10, speed_factor = 1;
  double frontend_ms = 0, frontend_us_per_token = 0;
  JitterConfig jitter;
};

struct RouterLinkSpec {
  double scrape_period_ms = 100, scrape_delay_ms = 0, scrape_loss = 0, network_delay_ms = 0;
  ViewKind view = ViewKind::kExact;
  std::optional<std::int64_t> block_tokens, block_bytes;
  std::optional<double> token_error;
  std::int64_t replicas = 1;
  ReplicaSplit split = ReplicaSplit::kRandom;
};

struct ClusterSpec {
  std::vector<GroupSpec> groups;
  RouterLinkSpec router;
};

}  // namespace lodestar::sim
