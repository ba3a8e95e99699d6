// SPDX-License-Identifier: Apache-2.0
// The OpenAI-compatible reverse proxy: a handler for net::Server.
//
//   /v1/chat/completions and its family (proxy/api.h)   routed by the body's `model`
//   GET /v1/models, /v1/models/{id}                     merged over the fleet
//   GET /healthz, /readyz, /metrics                     the proxy's own
//
// Shared: the server's connections keep it, so that it outlives the last of them.
// Create the runtime first; everything else may be released in any order once the
// runtime has stopped.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/engine_target.h"
#include "control/monitor.h"
#include "net/server.h"
#include "proxy/brain.h"
#include "proxy/options.h"
#include "proxy/proxy_metrics.h"
#include "proxy/worker.h"

namespace lodestar::proxy {

class Proxy : public std::enable_shared_from_this<Proxy> {
 public:
  // Is it a policy that a request header may ask for? Empty text: yes; otherwise the
  // message for the client. Called on any worker.
  using PolicyCheck = std::function<std::string(std::string_view name)>;

  // `monitor` may be null: then /v1/models is empty.
  Proxy(net::Runtime& runtime, ProxyOptions options, std::vector<control::EngineTarget> targets,
        std::shared_ptr<Brain> brain, std::shared_ptr<control::Monitor> monitor,
        std::shared_ptr<ProxyMetrics> metrics, PolicyCheck check_policy);

  net::Task<void> handle(net::ServerRequest& request, net::ServerResponse& response);
  // For net::Server.
  net::Handler handler();

  // From now on new requests get 503 and /readyz fails; those in flight go on.
  // Thread-safe.
  void start_draining() { draining_.store(true, std::memory_order_relaxed); }
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  std::size_t inflight() const { return inflight_.load(std::memory_order_relaxed); }

  // ---- for proxy/exchange ----
  const ProxyOptions& options() const { return options_; }
  ProxyMetrics& metrics() { return *metrics_; }
  std::shared_ptr<Brain> brain() { return brain_; }
  const control::EngineTarget* target(InstanceId id) const;
  std::string check_policy(std::string_view name) const;
  bool enter();  // false: max_inflight reached
  void leave();
  // Adds lines to /metrics; runs on the brain's thread.
  void on_render(std::function<void(std::string& page, const Router&)> extra) {
    extra_ = std::move(extra);
  }

 private:
  net::Task<void> serve_local(net::ServerRequest& request, net::ServerResponse& response);
  net::Task<void> serve_metrics(net::ServerResponse& response, net::Executor home);
  net::Task<void> serve_models(net::ServerRequest& request, net::ServerResponse& response);

  ProxyOptions options_;
  std::vector<control::EngineTarget> targets_;
  std::shared_ptr<ProxyMetrics> metrics_;  // before the brain, which writes into it
  std::shared_ptr<Brain> brain_;
  std::shared_ptr<control::Monitor> monitor_;
  PolicyCheck check_policy_;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::vector<net::Executor> executors_;
  std::function<void(std::string&, const Router&)> extra_;
  std::atomic<bool> draining_{false};
  std::atomic<std::size_t> inflight_{0};
};

// An answer in the form of OpenAI errors.
net::Task<void> send_error(net::ServerResponse& response, int status, std::string message,
                           std::string type = {}, std::string code = {}, net::Headers headers = {});

}  // namespace lodestar::proxy
