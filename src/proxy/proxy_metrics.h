// SPDX-License-Identifier: Apache-2.0
// The proxy's own metrics. Names and labels are a contract: docs and dashboards use
// them. Labels are bounded: served models are those that the fleet has answered for, at
// most 256 of them, then "other".
#pragma once
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "control/engine_target.h"
#include "proxy/api.h"
#include "routing/router.h"
#include "telemetry/metrics.h"

namespace lodestar::proxy {

// The histograms and counters of one (served model, api); cached by each worker.
struct RouteMetrics {
  telemetry::Histogram* ttft_seconds;
  telemetry::Histogram* tpot_seconds;
  telemetry::Histogram* e2e_seconds;
  telemetry::Counter* output_tokens;
  telemetry::Counter* prompt_tokens;
  telemetry::Counter* cached_tokens;
};

class ProxyMetrics {
 public:
  ProxyMetrics();
  telemetry::Registry registry;
  telemetry::Histogram& decision_seconds;
  telemetry::Gauge& inflight;
  telemetry::Counter& retries;
  telemetry::Counter& aborts;             // clients that went away
  telemetry::Counter& upstream_errors;    // attempts that failed before any byte
  telemetry::Counter& cut_streams;        // failed after bytes had reached the client
  telemetry::Counter& over_inflight;      // refused: max_inflight
  telemetry::Counter& bad_requests;       // refused: the body
  telemetry::Counter& stripped_headers;   // requests that carried internal headers
  telemetry::Counter& usage_missing;      // generated answers without usage

  RouteMetrics route(const std::string& served_model, Api api);
  void count_request(const std::string& served_model, std::string_view api, int status);
  // "other" beyond the bound. `known`: the fleet serves it.
  std::string model_label(const std::string& served_model, bool known);

 private:
  std::mutex mutex_;
  std::set<std::string> models_;
  std::unordered_map<std::string, telemetry::Counter*> requests_;
};

// The router's counters and the state of every instance, appended to a page.
void append_router_metrics(std::string& page, const Router& router);

}  // namespace lodestar::proxy
