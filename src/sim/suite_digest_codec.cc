// SPDX-License-Identifier: Apache-2.0
// RunDigest <-> bytes. CBOR, because it is compact and self-describing; counts
// that are mostly 0 go as (index, value) pairs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sim/suite_digest.h"

namespace lodestar::sim {
namespace {

using Json = nlohmann::json;

Json optional_json(const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); }
std::optional<double> optional_of(const Json& j) {
  if (j.is_null()) return std::nullopt;
  return j.get<double>();
}

Json latency_json(const LatencySummary& s) {
  return Json::array(
      {optional_json(s.mean), optional_json(s.p50), optional_json(s.p90), optional_json(s.p99)});
}
LatencySummary latency_of(const Json& j) {
  return {optional_of(j.at(0)), optional_of(j.at(1)), optional_of(j.at(2)), optional_of(j.at(3))};
}

Json sparse_json(const std::vector<std::uint32_t>& counts) {
  Json out = Json::array();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    out.push_back(i);
    out.push_back(counts[i]);
  }
  return out;
}
void sparse_of(const Json& j, std::vector<std::uint32_t>& out) {
  for (std::size_t i = 0; i + 1 < j.size(); i += 2)
    out.at(j.at(i).get<std::size_t>()) = j.at(i + 1).get<std::uint32_t>();
}

// NaN is not a JSON number; null stands for it.
Json number_json(double v) { return v == v ? Json(v) : Json(nullptr); }
double number_of(const Json& j) { return j.is_null() ? kNotMeasured : j.get<double>(); }

// Every field of CellResult but policy, cluster and workload, which the reader sets.
// tests/integration/suite_test.py compares fresh with stored results.
Json result_json(const CellResult& r) {
  Json instances = Json::array();
  for (const InstanceResult& i : r.instances)
    instances.push_back({i.name, i.requests, optional_json(i.busy)});
  return Json{{"seed", r.seed},
              {"requests", r.requests},
              {"failed", r.failed},
              {"unfinished", r.unfinished},
              {"ttft", latency_json(r.ttft_ms)},
              {"tpot", latency_json(r.tpot_ms)},
              {"e2e", latency_json(r.e2e_ms)},
              {"hit", optional_json(r.prefix_hit_ratio)},
              {"rate", optional_json(r.output_tokens_per_s)},
              {"slo", optional_json(r.slo_attainment)},
              {"decide", latency_json(r.decision_us)},
              {"instances", instances},
              {"decisions", r.decision_hash ? Json(*r.decision_hash) : Json(nullptr)},
              {"state", r.state_hash ? Json(*r.state_hash) : Json(nullptr)},
              {"view", r.router_view},
              {"simulated_s", r.simulated_s},
              {"wall_s", r.wall_s},
              {"fallback", r.fallback_decisions},
              {"retried", r.retried},
              {"preemptions", r.preemptions},
              {"rounds", r.rounds},
              {"first_predictor", optional_json(r.first_predictor_s)}};
}

CellResult result_of(const Json& j) {
  CellResult r;
  r.seed = j.at("seed");
  r.requests = j.at("requests");
  r.failed = j.at("failed");
  r.unfinished = j.at("unfinished");
  r.ttft_ms = latency_of(j.at("ttft"));
  r.tpot_ms = latency_of(j.at("tpot"));
  r.e2e_ms = latency_of(j.at("e2e"));
  r.prefix_hit_ratio = optional_of(j.at("hit"));
  r.output_tokens_per_s = optional_of(j.at("rate"));
  r.slo_attainment = optional_of(j.at("slo"));
  r.decision_us = latency_of(j.at("decide"));
  for (const Json& i : j.at("instances"))
    r.instances.push_back({i.at(0), i.at(1), optional_of(i.at(2))});
  if (!j.at("decisions").is_null()) r.decision_hash = j.at("decisions").get<std::uint64_t>();
  if (!j.at("state").is_null()) r.state_hash = j.at("state").get<std::uint64_t>();
  r.router_view = j.at("view");
  r.simulated_s = j.at("simulated_s");
  r.wall_s = j.at("wall_s");
  r.fallback_decisions = j.at("fallback");
  r.retried = j.at("retried");
  r.preemptions = j.at("preemptions");
  r.rounds = j.at("rounds");
  r.first_predictor_s = optional_of(j.at("first_predictor"));
  return r;
}

Json predictions_json(const PredictionDigest& p) {
  Json pairs = Json::array();
  for (const auto& pair : p.pairs) {
    pairs.push_back(pair.predicted_ms);
    pairs.push_back(pair.actual_ms);
  }
  return Json{{"pairs", pairs},
              {"count", p.count},
              {"error", p.sum_relative_error},
              {"with_interval", p.with_interval},
              {"below", {p.below_lo, p.below_point, p.below_hi}},
              {"window_total", p.window_total},
              {"window_inside", p.window_inside},
              {"row_total", p.row_total},
              {"row_inside", p.row_inside}};
}

PredictionDigest predictions_of(const Json& j) {
  PredictionDigest p;
  const Json& pairs = j.at("pairs");
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
    p.pairs.push_back({pairs.at(i).get<float>(), pairs.at(i + 1).get<float>()});
  p.count = j.at("count");
  p.sum_relative_error = j.at("error");
  p.with_interval = j.at("with_interval");
  p.below_lo = j.at("below").at(0);
  p.below_point = j.at("below").at(1);
  p.below_hi = j.at("below").at(2);
  j.at("window_total").get_to(p.window_total);
  j.at("window_inside").get_to(p.window_inside);
  j.at("row_total").get_to(p.row_total);
  j.at("row_inside").get_to(p.row_inside);
  return p;
}

RunDigest digest_from(const Json& j) {
  RunDigest d;
  d.result = result_of(j.at("result"));
  const Json& aged = j.at("aged");
  d.ttft_mean_ms = number_of(aged.at(0));
  d.ttft_p99_ms = number_of(aged.at(1));
  d.tpot_mean_ms = number_of(aged.at(2));
  d.e2e_mean_ms = number_of(aged.at(3));
  sparse_of(j.at("ttft"), d.ttft.counts);
  d.window = j.at("window");
  for (const Json& v : j.at("windows")) d.window_ttft_ms.push_back(number_of(v));
  d.bin_s = j.at("bin_s");
  j.at("rows").get_to(d.rows);
  j.at("row_instances").get_to(d.row_instances);
  d.placed.resize(j.at("placed_size").get<std::size_t>());
  sparse_of(j.at("placed"), d.placed);
  d.predictions = predictions_of(j.at("predictions"));
  return d;
}

}  // namespace

std::string encode_digest(const RunDigest& d) {
  Json windows = Json::array();
  for (double v : d.window_ttft_ms) windows.push_back(number_json(v));
  const Json j{{"result", result_json(d.result)},
               {"aged",
                {number_json(d.ttft_mean_ms), number_json(d.ttft_p99_ms),
                 number_json(d.tpot_mean_ms), number_json(d.e2e_mean_ms)}},
               {"ttft", sparse_json(d.ttft.counts)},
               {"window", d.window},
               {"windows", windows},
               {"bin_s", d.bin_s},
               {"rows", d.rows},
               {"row_instances", d.row_instances},
               {"placed_size", d.placed.size()},
               {"placed", sparse_json(d.placed)},
               {"predictions", predictions_json(d.predictions)}};
  std::string bytes;
  Json::to_cbor(j, bytes);
  return bytes;
}

Result<RunDigest> decode_digest(const std::string& bytes) {
  try {  // the library's own accessors throw; nothing of it leaves this function
    return digest_from(Json::from_cbor(bytes));
  } catch (const std::exception& error) {
    return fail(ErrorCode::kProtocol, fmt::format("not a stored run: {}", error.what()));
  }
}

}  // namespace lodestar::sim
