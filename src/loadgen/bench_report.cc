// SPDX-License-Identifier: Apache-2.0
#include "loadgen/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace lodestar::loadgen {
namespace {

using Json = nlohmann::ordered_json;

struct Sample {
  std::optional<double> ttft_ms, tpot_ms, e2e_ms;
};

Sample sample_of(const sim::RequestRecord& r) {
  Sample s;
  if (r.failed || r.last_token == kNever || r.first_token == kNever) return s;
  s.ttft_ms = to_ms(r.first_token - r.arrival);
  s.e2e_ms = to_ms(r.last_token - r.arrival);
  if (r.output_tokens > 1)
    s.tpot_ms = to_ms(r.last_token - r.first_token) / static_cast<double>(r.output_tokens - 1);
  return s;
}

sim::LatencySummary scaled(sim::LatencySummary summary, double factor) {
  for (auto* value : {&summary.mean, &summary.p50, &summary.p90, &summary.p99})
    if (*value) **value *= factor;
  return summary;
}

Json number(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json latency(const sim::LatencySummary& s) {
  return Json{{"mean", number(s.mean)},
              {"p50", number(s.p50)},
              {"p90", number(s.p90)},
              {"p99", number(s.p99)}};
}

sim::LatencySummary lateness_ms(const LoadOutcome& outcome) {
  std::vector<double> values;
  for (DurationNs late : outcome.lateness) values.push_back(to_ms(late));
  return sim::summarise(std::move(values));
}

double worst_late_ms(const LoadOutcome& outcome) {
  DurationNs worst = 0;
  for (DurationNs late : outcome.lateness) worst = std::max(worst, late);
  return to_ms(worst);
}

std::string text_of(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : std::string();
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string csv_line(const LoadOutcome& o, std::size_t i) {
  const sim::RequestRecord& r = o.records[i];
  const Sample s = sample_of(r);
  const std::string instance = r.instance < o.instances.size() ? o.instances[r.instance] : "";
  return fmt::format("{},{:.6f},{},{},{},{},{},{},{},{:.3f},{},{},{}\n", r.index, to_s(r.arrival),
                     text_of(s.ttft_ms, "{:.3f}"), text_of(s.tpot_ms, "{:.4f}"),
                     text_of(s.e2e_ms, "{:.3f}"), csv_field(instance), r.prompt_tokens,
                     r.cached_tokens < 0 ? std::string() : std::to_string(r.cached_tokens),
                     r.output_tokens, to_ms(o.lateness[i]), r.counted ? 1 : 0, s.e2e_ms ? 1 : 0,
                     csv_field(o.failures[i]));
}

std::string json_line(const LoadOutcome& o, std::size_t i) {
  const sim::RequestRecord& r = o.records[i];
  const Sample s = sample_of(r);
  Json line{{"index", r.index},
            {"arrival_s", to_s(r.arrival)},
            {"ttft_ms", number(s.ttft_ms)},
            {"tpot_ms", number(s.tpot_ms)},
            {"e2e_ms", number(s.e2e_ms)},
            {"instance", r.instance < o.instances.size() ? Json(o.instances[r.instance]) : Json()},
            {"prompt_tokens", r.prompt_tokens},
            {"cached_tokens", r.cached_tokens < 0 ? Json() : Json(r.cached_tokens)},
            {"output_tokens", r.output_tokens},
            {"late_ms", to_ms(o.lateness[i])},
            {"counted", r.counted},
            {"ok", s.e2e_ms.has_value()},
            {"error", o.failures[i].empty() ? Json() : Json(o.failures[i])}};
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void fill_cached_tokens(LoadOutcome& outcome) {
  const auto says = [](const sim::RequestRecord& r) { return r.cached_tokens >= 0; };
  if (!std::any_of(outcome.records.begin(), outcome.records.end(), says)) return;
  for (std::size_t i = 0; i < outcome.records.size(); ++i)
    if (outcome.usage_prompt_tokens[i] >= 0 && outcome.records[i].cached_tokens < 0)
      outcome.records[i].cached_tokens = 0;
}

sim::CellResult bench_cell(const LoadOutcome& outcome, const BenchContext& context) {
  sim::CellResult cell;
  cell.policy = context.policy;
  cell.seed = context.seed;
  cell.cluster = context.target;
  cell.workload = context.workload;
  for (const std::string& name : outcome.instances) cell.instances.push_back({name, 0, {}});
  sim::summarise_records(outcome.records, cell);
  for (const sim::RequestRecord& r : outcome.records)
    cell.unfinished += r.counted && !r.failed && r.last_token == kNever;
  cell.wall_s = to_s(outcome.wall);
  cell.simulated_s = cell.wall_s * context.time_scale;
  return cell;
}

std::string bench_json(const LoadOutcome& outcome, const BenchContext& context) {
  const sim::CellResult cell = bench_cell(outcome, context);
  Json root = Json::parse(sim::to_json({cell}));
  const double to_wall = 1 / context.time_scale;
  Json failures = Json::object();
  for (const auto& [reason, count] : outcome.failure_counts) failures[reason] = count;
  Json lateness = latency(lateness_ms(outcome));
  lateness["max"] = worst_late_ms(outcome);
  std::optional<double> rate = cell.output_tokens_per_s;
  if (rate) *rate *= context.time_scale;
  root["bench"] = Json{{"target", context.target},
                       {"served_model", outcome.served_model},
                       {"time_scale", context.time_scale},
                       {"interrupted", outcome.interrupted},
                       {"sent", outcome.records.size()},
                       {"unsent", outcome.unsent},
                       {"failures", failures},
                       {"prompts_as_planned", outcome.prompts_as_planned},
                       {"lateness_ms", lateness},
                       {"wall", Json{{"ttft_ms", latency(scaled(cell.ttft_ms, to_wall))},
                                     {"tpot_ms", latency(scaled(cell.tpot_ms, to_wall))},
                                     {"e2e_ms", latency(scaled(cell.e2e_ms, to_wall))},
                                     {"output_tokens_per_s", number(rate)},
                                     {"seconds", cell.wall_s}}}};
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string bench_table(const LoadOutcome& outcome, const BenchContext& context) {
  const sim::CellResult cell = bench_cell(outcome, context);
  std::string text = sim::to_table({cell});
  text += fmt::format("{} sent in {:.1f} s wall", outcome.records.size(), cell.wall_s);
  if (context.time_scale != 1)
    text += fmt::format(" (time x{}: latencies above are workload time, wall x {})",
                        context.time_scale, context.time_scale);
  text += fmt::format("; senders were late by {:.1f} ms on average, {:.1f} ms at worst (wall)\n",
                      lateness_ms(outcome).mean.value_or(0), worst_late_ms(outcome));
  for (const sim::InstanceResult& i : cell.instances)
    text += fmt::format("  {:<40} {:>8} requests\n", i.name, i.requests);
  for (const auto& [reason, count] : outcome.failure_counts)
    text += fmt::format("  failed {:>8} x {}\n", count, reason);
  if (outcome.interrupted)
    text += fmt::format("  stopped early: {} not finished, {} not sent\n", cell.unfinished,
                        outcome.unsent);
  return text;
}

std::string bench_samples(const LoadOutcome& outcome, bool csv) {
  std::string text;
  if (csv)
    text =
        "index,arrival_s,ttft_ms,tpot_ms,e2e_ms,instance,prompt_tokens,cached_tokens,"
        "output_tokens,late_ms,counted,ok,error\n";
  for (std::size_t i = 0; i < outcome.records.size(); ++i)
    text += csv ? csv_line(outcome, i) : json_line(outcome, i);
  return text;
}

std::string progress_line(const LoadProgress& p) {
  return fmt::format(
      "{:>6.0f} s  sent {:>6}/{}  done {:>6}  failed {:>4}  in flight {:>5}  "
      "TTFT {:>8.1f} ms  late {:.1f} ms",
      to_s(p.wall), p.sent, p.planned, p.done, p.failed, p.in_flight, p.recent_ttft_ms,
      p.recent_late_ms);
}

}  // namespace lodestar::loadgen
