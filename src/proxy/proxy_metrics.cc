// SPDX-License-Identifier: Apache-2.0
#include "proxy/proxy_metrics.h"

#include <fmt/format.h>

namespace lodestar::proxy {
namespace {

constexpr std::size_t kMaxModels = 256;

using telemetry::Kind;
using telemetry::Labels;

}  // namespace

ProxyMetrics::ProxyMetrics()
    : decision_seconds(registry.histogram("lodestar_decision_seconds",
                                          "Time the router took to decide on an arrived request.",
                                          telemetry::decision_bounds())),
      inflight(registry.gauge("lodestar_inflight_requests", "Routed requests being served.")),
      retries(registry.counter("lodestar_retries_total",
                               "Attempts after the first, for requests that had sent no byte.")),
      aborts(registry.counter("lodestar_client_aborts_total", "Requests whose client went away.")),
      upstream_errors(registry.counter("lodestar_upstream_errors_total",
                                       "Attempts that failed before any byte reached the client.")),
      cut_streams(
          registry.counter("lodestar_cut_streams_total",
                           "Answers whose engine failed after bytes had reached the client.")),
      over_inflight(registry.counter("lodestar_limit_inflight_total",
                                     "Requests refused because max_inflight was reached.")),
      bad_requests(registry.counter("lodestar_bad_requests_total",
                                    "Requests refused because their body could not be used.")),
      stripped_headers(
          registry.counter("lodestar_stripped_headers_total",
                           "Requests that carried internal routing headers, which were removed.")),
      usage_missing(
          registry.counter("lodestar_usage_missing_total",
                           "Generated answers without usage; output events were counted.")) {}

std::string ProxyMetrics::model_label(const std::string& served_model, bool known) {
  if (!known) return "unknown";
  const std::lock_guard lock(mutex_);
  if (models_.contains(served_model)) return served_model;
  if (models_.size() >= kMaxModels) return "other";
  models_.insert(served_model);
  return served_model;
}

RouteMetrics ProxyMetrics::route(const std::string& served_model, Api api) {
  const Labels labels = {{"served_model", served_model}, {"api", std::string(api_name(api))}};
  return {
      &registry.histogram("lodestar_ttft_seconds",
                          "From the request's first byte to the first content, reasoning or tool "
                          "delta of its streamed answer.",
                          telemetry::latency_bounds(), labels),
      &registry.histogram("lodestar_tpot_seconds", "Mean time per output token after the first.",
                          telemetry::per_token_bounds(), labels),
      &registry.histogram("lodestar_e2e_seconds",
                          "From the request's first byte to the last byte of its answer.",
                          telemetry::latency_bounds(), labels),
      &registry.counter("lodestar_output_tokens_total",
                        "Output tokens, from usage or else by counting output events.", labels),
      &registry.counter("lodestar_prompt_tokens_total", "Prompt tokens as engines reported them.",
                        labels),
      &registry.counter("lodestar_cached_tokens_total",
                        "Prompt tokens that engines reported as cached.", labels),
  };
}

void ProxyMetrics::count_request(const std::string& served_model, std::string_view api,
                                 int status) {
  const std::string key = fmt::format("{}\n{}\n{}", status, api, served_model);
  telemetry::Counter* counter = nullptr;
  {
    const std::lock_guard lock(mutex_);
    auto [it, fresh] = requests_.try_emplace(key, nullptr);
    if (fresh)
      it->second = &registry.counter("lodestar_requests_total", "Requests answered, by status.",
                                     {{"served_model", served_model},
                                      {"api", std::string(api)},
                                      {"code", std::to_string(status)}});
    counter = it->second;
  }
  counter->add();
}

namespace {

void append_counters(telemetry::TextWriter& w, const RouterCounters& c) {
  w.counter("lodestar_router_arrived_total", "Requests handed to the router.", c.arrived);
  w.counter("lodestar_router_dispatched_total", "Placements made.", c.dispatched);
  w.counter("lodestar_router_held_total", "Times a policy held a request.", c.held);
  w.counter("lodestar_router_rejected_total", "Requests the router refused.", c.rejected);
  w.counter("lodestar_router_retried_total", "Requests placed again after a failure.", c.retried);
  w.counter("lodestar_router_ended_total", "Leases that ended well.", c.ended);
  w.counter("lodestar_router_failed_total", "Leases that failed.", c.failed);
  w.counter("lodestar_router_aborted_total", "Requests given up by their driver.", c.aborted);
  w.counter("lodestar_router_fallback_decisions_total",
            "Decisions by a fallback rule instead of the policy.", c.fallback_decisions);
  w.counter("lodestar_router_ignored_reports_total", "Reports about things that are gone.",
            c.ignored_reports);
  w.counter("lodestar_router_invalid_decisions_total",
            "Decisions that chose nothing valid; the least-loaded candidate stood in.",
            c.invalid_decisions);
}

template <class Value>
void per_instance(telemetry::TextWriter& w, const Fleet& fleet, std::string_view name,
                  std::string_view help, Kind kind, Value value) {
  w.family(name, help, kind);
  for (Fleet::Slot slot : fleet.present()) {
    const InstanceState& state = fleet.at(slot);
    if (const auto v = value(state)) w.sample(*v, {{"instance", state.info.name}});
  }
}

}  // namespace

void append_router_metrics(std::string& page, const Router& router) {
  telemetry::TextWriter w(page);
  append_counters(w, router.counters());
  w.gauge("lodestar_router_active_requests", "Requests that the router holds or has placed.",
          static_cast<double>(router.active_requests()));
  w.gauge("lodestar_router_open_leases", "Placements that are not settled.",
          static_cast<double>(router.open_leases()));
  w.gauge("lodestar_prefix_index_bytes", "Memory of the prefix index.",
          static_cast<double>(router.prefix().bytes()));
  w.gauge("lodestar_prefix_index_blocks", "Distinct prompt blocks in the prefix index.",
          static_cast<double>(router.prefix().blocks()));
  w.counter("lodestar_prefix_index_evictions_total", "Entries evicted by capacity or memory.",
            router.prefix().evictions());
  const Fleet& fleet = router.fleet();
  using Number = std::optional<double>;
  per_instance(w, fleet, "lodestar_instance_up",
               "1: a candidate for requests; 0: unhealthy or draining.", Kind::kGauge,
               [](const InstanceState& s) { return Number(s.health == Health::kUp); });
  per_instance(w, fleet, "lodestar_instance_inflight",
               "Leases on the instance, by our own account.", Kind::kGauge,
               [](const InstanceState& s) { return Number(s.own.inflight); });
  per_instance(w, fleet, "lodestar_instance_placed_total", "Placements on the instance.",
               Kind::kCounter,
               [](const InstanceState& s) { return std::optional(s.own.placed_total); });
  per_instance(w, fleet, "lodestar_instance_incarnation", "Lives of the engine that were seen.",
               Kind::kGauge, [](const InstanceState& s) { return Number(s.info.incarnation); });
  const auto gauge = [](double LoadSnapshot::* field) {
    return [field](const InstanceState& s) { return s.load ? Number((*s.load).*field) : Number(); };
  };
  per_instance(w, fleet, "lodestar_instance_running",
               "Running requests as last scraped; absent if unknown.", Kind::kGauge,
               gauge(&LoadSnapshot::running));
  per_instance(w, fleet, "lodestar_instance_waiting",
               "Waiting requests as last scraped; absent if unknown.", Kind::kGauge,
               gauge(&LoadSnapshot::waiting));
  per_instance(w, fleet, "lodestar_instance_kv_usage_ratio",
               "KV cache in use as last scraped; absent if unknown.", Kind::kGauge,
               gauge(&LoadSnapshot::kv_usage));
}

}  // namespace lodestar::proxy
