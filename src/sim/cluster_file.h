// SPDX-License-Identifier: Apache-2.0
// The cluster file as values: groups of equal engines and the link between them
// and the router. Every key, default and bound is declared once in
// cluster_file.cc; unknown keys are errors. Any hardware can be described by
// numbers alone; named presets are in gpu_presets.h.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/schema.h"
#include "sim/world.h"

namespace lodestar::sim {

struct Cluster {
  std::string name;  // the file's name without folder and extension
  // In the order of the groups, checked: Engine::create() takes each of them.
  // info.hardware is the gpu's name or, for raw numbers, made of them ("165TF-933GBs"),
  // info.name the group's name (default: the hardware) and a number, info.id the place
  // in this list. An engine whose fault is `join` is in the list too.
  std::vector<WorldEngine> engines;
  // The name that requests ask for: the groups' served model; empty (any) when they differ.
  std::string served_model;
  DurationNs scrape_period = 100 * kMillisecond;
  DurationNs scrape_delay = 0;
  double scrape_loss = 0;
  DurationNs network_delay = 0;
  RouterView view;
  int replicas = 1;
  ReplicaSplit split = ReplicaSplit::kRandom;
};

// What the file says; see make_cluster() for what follows from it.
struct ClusterSpec;
config::Schema<ClusterSpec> cluster_schema();

// `name` stands for the file in errors; relative profile folders are looked up
// in base_dir.
Result<Cluster> parse_cluster(const std::string& text, const std::string& name,
                              const std::string& base_dir);
Result<Cluster> load_cluster(const std::string& path);

// Tokens per second of one undisturbed prefill step over min(budget, 2048) tokens:
// what a person would tell a router about this hardware.
double prefill_tokens_per_s(const StepTime& step_time, std::int64_t max_num_batched_tokens);

}  // namespace lodestar::sim
