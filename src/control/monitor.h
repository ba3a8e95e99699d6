// SPDX-License-Identifier: Apache-2.0
// Watches the engines: scrapes their load, asks for their health and their served
// models, notices restarts, and turns all of it into router events.
//
// Lives on one worker (the brain's). One scrape per engine at a time: a slow one
// delays the next instead of piling up.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/discovery.h"
#include "control/engine_target.h"
#include "engines/adapter.h"
#include "net/runtime.h"
#include "net/task.h"
#include "routing/event.h"

namespace lodestar::control {

struct MonitorOptions {
  DurationNs scrape_period = 100 * kMillisecond;
  DurationNs scrape_timeout = kSecond;         // also of /health and /v1/models
  DurationNs health_period = kSecond;          // GET /health
  DurationNs discovery_period = 10 * kSecond;  // GET /v1/models
  int unhealthy_after = 2;  // timeouts or resets in a row; a refused connection counts at once
};

// What is known of one engine, for people.
struct EngineStatus {
  InstanceId id;
  std::string name, url;
  bool probed = false;              // asked at least once, with whatever success
  bool up = false;                  // a candidate as far as the monitor knows
  std::string why;                  // why it is not up, or what it lacks; may be empty
  engines::EngineKind kind = engines::EngineKind::kUnknown;
  bool metrics = false;             // its load is known; else our own accounting stands in
  std::vector<ModelCard> cards;
  InstanceInfo info;
  std::uint64_t scrapes = 0, scrape_failures = 0, restarts = 0;
};
using FleetStatus = std::vector<EngineStatus>;

class Monitor {
 public:
  // `emit` is called on the executor's worker.
  using Emit = std::function<void(Event)>;
  Monitor(net::Executor executor, std::vector<EngineTarget> targets, MonitorOptions options,
          Emit emit);
  ~Monitor();  // the watching ends; nothing is emitted any more
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  void start();  // once
  // A snapshot, never null, one entry per target in their order. Thread-safe.
  std::shared_ptr<const FleetStatus> status() const;
  // True when each engine has been asked once. Thread-safe.
  bool all_probed() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lodestar::control
