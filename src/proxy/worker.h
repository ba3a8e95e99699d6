// SPDX-License-Identifier: Apache-2.0
// What one I/O worker keeps for itself: connection pools, parsers, the batch of
// token progress. Touched on that worker only.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "control/engine_target.h"
#include "net/client.h"
#include "net/task.h"
#include "proxy/brain.h"
#include "proxy/event_reader.h"
#include "proxy/options.h"
#include "proxy/parse.h"
#include "proxy/proxy_metrics.h"

namespace lodestar::proxy {

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  Worker(net::Executor executor, const ProxyOptions& options, std::weak_ptr<Brain> brain,
         ProxyMetrics& metrics, std::uint64_t seed);

  net::Executor executor() const { return executor_; }
  BodyParser& parser() { return parser_; }
  EventReader& reader() { return reader_; }
  // The pool of an engine, made at first use.
  net::ClientPool& pool(const control::EngineTarget& target);
  const RouteMetrics& route_metrics(const std::string& served_model, Api api);
  // Random, 32 hexadecimal digits.
  std::string new_request_id();

  // Token progress goes to the brain in batches, at most every 20 ms.
  void add_progress(LeaseId lease, std::int64_t tokens);
  void drop_progress(LeaseId lease);  // the lease is settled: nobody wants the rest

 private:
  static net::Task<void> flush_later(std::shared_ptr<Worker> self);
  void flush();

  net::Executor executor_;
  const ProxyOptions& options_;
  std::weak_ptr<Brain> brain_;
  ProxyMetrics& metrics_;
  BodyParser parser_;
  EventReader reader_;
  Rng ids_;
  std::unordered_map<InstanceId, std::unique_ptr<net::ClientPool>> pools_;
  std::unordered_map<std::string, RouteMetrics> routes_;
  std::unordered_map<LeaseId, std::int64_t> progress_;
  bool flush_pending_ = false;
};

}  // namespace lodestar::proxy
