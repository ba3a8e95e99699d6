// SPDX-License-Identifier: Apache-2.0
#include "sim/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace lodestar::sim {
namespace {
using Json = nlohmann::ordered_json;

Json number(const std::optional<double>& v) {
  return v && std::isfinite(*v) ? Json(*v) : Json(nullptr);
}

Json latency(const LatencySummary& s) {
  return Json{{"mean", number(s.mean)},
              {"p50", number(s.p50)},
              {"p90", number(s.p90)},
              {"p99", number(s.p99)}};
}

Json cell_json(const CellResult& c) {
  Json instances = Json::array();
  for (const InstanceResult& i : c.instances)
    instances.push_back({{"name", i.name}, {"requests", i.requests}, {"busy", number(i.busy)}});
  Json j{{"policy", c.policy},
         {"seed", c.seed},
         {"requests", c.requests},
         {"failed", c.failed},
         {"unfinished", c.unfinished},
         {"ttft_ms", latency(c.ttft_ms)},
         {"tpot_ms", latency(c.tpot_ms)},
         {"e2e_ms", latency(c.e2e_ms)},
         {"prefix_hit_ratio", number(c.prefix_hit_ratio)},
         {"output_tokens_per_s", number(c.output_tokens_per_s)},
         {"slo_attainment", number(c.slo_attainment)},
         {"decision_us", latency(c.decision_us)},
         {"instances", instances}};
  if (c.decision_hash) j["decision_hash"] = fmt::format("{:016x}", *c.decision_hash);
  if (c.state_hash) j["state_hash"] = fmt::format("{:016x}", *c.state_hash);
  j["cluster"] = c.cluster;
  if (!c.router_view.empty()) j["router_view"] = c.router_view;
  j["workload"] = c.workload;
  j["simulated_s"] = c.simulated_s;
  j["wall_s"] = c.wall_s;
  j["fallback_decisions"] = c.fallback_decisions;
  j["retried"] = c.retried;
  j["preemptions"] = c.preemptions;
  j["first_predictor_s"] = number(c.first_predictor_s);
  return j;
}

std::string cell_text(const std::optional<double>& v, const char* format) {
  return v ? fmt::format(fmt::runtime(format), *v) : std::string("-");
}
}  // namespace

double percentile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(rank);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (rank - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

LatencySummary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  double sum = 0;
  for (double v : values) sum += v;
  std::sort(values.begin(), values.end());
  return {sum / static_cast<double>(values.size()), percentile(values, 0.5),
          percentile(values, 0.9), percentile(values, 0.99)};
}

void summarise_records(const std::vector<RequestRecord>& records, CellResult& cell) {
  std::vector<double> ttft, tpot, e2e;
  double prompt = 0, cached = 0, output = 0;
  std::uint64_t with_slo = 0, met_slo = 0;
  TimeNs begin = kNever, end = 0;
  cell.requests = cell.failed = 0;
  for (InstanceResult& i : cell.instances) i.requests = 0;
  for (const RequestRecord& r : records) {
    if (!r.counted) continue;
    ++cell.requests;
    if (r.instance < cell.instances.size()) ++cell.instances[r.instance].requests;
    const bool has_slo = r.slo_ttft_ms > 0 || r.slo_tpot_ms > 0;
    with_slo += has_slo;
    if (r.failed || r.last_token == kNever) {
      cell.failed += r.failed;
      continue;
    }
    const bool seen = r.first_token != kNever;
    const double first_ms = seen ? to_ms(r.first_token - r.arrival) : 0;
    if (seen) ttft.push_back(first_ms);
    e2e.push_back(to_ms(r.last_token - r.arrival));
    double per_token_ms = 0;
    if (seen && r.output_tokens > 1) {
      per_token_ms = to_ms(r.last_token - r.first_token) / static_cast<double>(r.output_tokens - 1);
      tpot.push_back(per_token_ms);
    }
    if (has_slo)
      met_slo += (r.slo_ttft_ms <= 0 || (seen && first_ms <= r.slo_ttft_ms)) &&
                 (r.slo_tpot_ms <= 0 || per_token_ms <= r.slo_tpot_ms);
    if (r.cached_tokens >= 0) {
      prompt += static_cast<double>(r.prompt_tokens);
      cached += static_cast<double>(r.cached_tokens);
    }
    output += static_cast<double>(r.output_tokens);
    begin = std::min(begin, r.arrival);
    end = std::max(end, r.last_token);
  }
  cell.ttft_ms = summarise(std::move(ttft));
  cell.tpot_ms = summarise(std::move(tpot));
  cell.e2e_ms = summarise(std::move(e2e));
  if (prompt > 0) cell.prefix_hit_ratio = cached / prompt;
  if (end > begin) cell.output_tokens_per_s = output / to_s(end - begin);
  if (with_slo > 0)
    cell.slo_attainment = static_cast<double>(met_slo) / static_cast<double>(with_slo);
}

ReportRun report_run_of(const std::vector<RequestRecord>& records, const CellResult& cell) {
  ReportRun run;
  run.policy = cell.policy;
  run.seed = cell.seed;
  for (const InstanceResult& i : cell.instances) run.instances.push_back({i.name, ""});
  for (const RequestRecord& r : records) {
    if (!r.counted) continue;
    ReportSample s;
    s.arrival_s = to_s(r.arrival);
    s.instance = r.instance;
    s.fallback = r.fallback;
    s.failed = r.failed || r.last_token == kNever;
    if (r.first_token != kNever) s.ttft_ms = to_ms(r.first_token - r.arrival);
    if (r.last_token != kNever) s.e2e_ms = to_ms(r.last_token - r.arrival);
    if (r.last_token != kNever && r.first_token != kNever && r.output_tokens > 1)
      s.tpot_ms = to_ms(r.last_token - r.first_token) / static_cast<double>(r.output_tokens - 1);
    if (r.cached_tokens >= 0 && r.prompt_tokens > 0)
      s.hit_fraction = static_cast<double>(r.cached_tokens) / static_cast<double>(r.prompt_tokens);
    run.samples.push_back(s);
  }
  if (cell.first_predictor_s) run.markers.push_back({*cell.first_predictor_s, "first predictor"});
  run.summary.prefix_hit_ratio = cell.prefix_hit_ratio.value_or(kNotMeasured);
  run.summary.output_tokens_per_s = cell.output_tokens_per_s.value_or(kNotMeasured);
  run.summary.slo_attainment = cell.slo_attainment.value_or(kNotMeasured);
  run.summary.decision_us_p50 = cell.decision_us.p50.value_or(kNotMeasured);
  run.summary.decision_us_p99 = cell.decision_us.p99.value_or(kNotMeasured);
  return run;
}

std::string to_json(const std::vector<CellResult>& cells) {
  Json list = Json::array();
  for (const CellResult& c : cells) list.push_back(cell_json(c));
  return Json{{"cells", list}}.dump(2) + "\n";
}

Result<void> write_text_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file)
    return fail(ErrorCode::kInvalidArgument,
                "cannot write " + path + ": does its folder exist and is it writable?");
  return {};
}

std::string to_table(const std::vector<CellResult>& cells) {
  std::string text = fmt::format(
      "{:<24} {:>4} {:>7} {:>6} | {:>9} {:>9} {:>9} {:>9} | {:>8} {:>8} | {:>9} | {:>5} | {:>9}\n",
      "policy", "seed", "count", "failed", "TTFT mean", "P50", "P90", "P99", "TPOT", "P99",
      "E2E mean", "hit", "decide us");
  for (const CellResult& c : cells)
    text += fmt::format(
        "{:<24} {:>4} {:>7} {:>6} | {:>9} {:>9} {:>9} {:>9} | {:>8} {:>8} | {:>9} | {:>5} | "
        "{:>9}\n",
        c.policy, c.seed, c.requests, c.failed, cell_text(c.ttft_ms.mean, "{:.1f}"),
        cell_text(c.ttft_ms.p50, "{:.1f}"), cell_text(c.ttft_ms.p90, "{:.1f}"),
        cell_text(c.ttft_ms.p99, "{:.1f}"), cell_text(c.tpot_ms.mean, "{:.2f}"),
        cell_text(c.tpot_ms.p99, "{:.2f}"), cell_text(c.e2e_ms.mean, "{:.1f}"),
        cell_text(c.prefix_hit_ratio, "{:.3f}"), cell_text(c.decision_us.mean, "{:.2f}"));
  return text;
}

}  // namespace lodestar::sim
