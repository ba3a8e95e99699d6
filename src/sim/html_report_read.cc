// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_read.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace lodestar::sim {
namespace {
using Json = nlohmann::json;

// The first complaint wins; readers go on with defaults after it and the caller
// asks once at the end.
class Reader {
 public:
  void complain(const std::string& where, const std::string& what) {
    if (error_.empty()) error_ = where + ": " + what;
  }
  const std::string& error() const { return error_; }

  // The keys of an object, each at most one of `known`.
  bool object(const Json& json, const std::string& where,
              std::initializer_list<std::string_view> known) {
    if (!json.is_object()) {
      complain(where, "expected an object");
      return false;
    }
    for (const auto& [key, value] : json.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        complain(where, fmt::format("unknown key \"{}\"; expected one of {}", key,
                                    fmt::join(known, ", ")));
    return true;
  }
  void text(const Json& json, const char* key, const std::string& where, std::string& out) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (!found->is_string()) return complain(where + "." + key, "expected a string");
    out = found->get<std::string>();
  }
  void number(const Json& json, const char* key, const std::string& where, double& out) {
    const auto found = json.find(key);
    if (found != json.end()) out = value(*found, where + "." + key);
  }
  double value(const Json& json, const std::string& where) {
    if (json.is_null()) return kNotMeasured;
    if (json.is_boolean()) return json.get<bool>() ? 1 : 0;
    if (json.is_number()) return json.get<double>();
    complain(where, "expected a number or null");
    return kNotMeasured;
  }
  // Each element of an array that may be absent, with its place.
  template <class F>
  void each(const Json& json, const char* key, const std::string& where, F&& visit) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (!found->is_array()) return complain(where + "." + key, "expected an array");
    for (std::size_t i = 0; i < found->size() && error_.empty(); ++i)
      visit((*found)[i], fmt::format("{}.{}[{}]", where, key, i));
  }

 private:
  std::string error_;
};

using Setter = void (*)(ReportSample&, double);

Setter setter_of(std::string_view column) {
  constexpr std::pair<std::string_view, Setter> kColumns[] = {
      {"arrival_s", [](ReportSample& s, double v) { s.arrival_s = v; }},
      {"ttft_ms", [](ReportSample& s, double v) { s.ttft_ms = v; }},
      {"tpot_ms", [](ReportSample& s, double v) { s.tpot_ms = v; }},
      {"e2e_ms", [](ReportSample& s, double v) { s.e2e_ms = v; }},
      {"hit_fraction", [](ReportSample& s, double v) { s.hit_fraction = v; }},
      {"fallback", [](ReportSample& s, double v) { s.fallback = v > 0; }},
      {"failed", [](ReportSample& s, double v) { s.failed = v > 0; }},
      // Unknown (null, -1) becomes an index that no instance has.
      {"instance",
       [](ReportSample& s, double v) {
         s.instance = v >= 0 && v < 1e9 ? static_cast<std::uint32_t>(v) : 0xffffffffu;
       }},
  };
  for (const auto& [name, setter] : kColumns)
    if (name == column) return setter;
  return nullptr;
}

void read_samples(Reader& reader, const Json& json, const std::string& where, ReportRun& run) {
  std::vector<Setter> setters;
  reader.each(json, "columns", where, [&](const Json& column, const std::string& place) {
    const Setter setter = column.is_string() ? setter_of(column.get<std::string>()) : nullptr;
    if (!setter)
      return reader.complain(place,
                             "expected arrival_s, ttft_ms, tpot_ms, e2e_ms, instance, "
                             "hit_fraction, fallback or failed");
    setters.push_back(setter);
  });
  if (setters.empty()) reader.complain(where, "\"columns\" is missing or empty");
  if (!json.contains("samples")) reader.complain(where, "\"samples\" is missing");
  reader.each(json, "samples", where, [&](const Json& row, const std::string& place) {
    if (!row.is_array() || row.size() != setters.size())
      return reader.complain(place, fmt::format("expected {} numbers", setters.size()));
    ReportSample sample;
    for (std::size_t i = 0; i < setters.size(); ++i)
      setters[i](sample, reader.value(row[i], place));
    run.samples.push_back(sample);
  });
}

void read_run(Reader& reader, const Json& json, const std::string& where, ReportRun& run) {
  if (!reader.object(json, where,
                     {"policy", "cluster", "workload", "seed", "instances", "markers", "summary",
                      "columns", "samples"}))
    return;
  reader.text(json, "policy", where, run.policy);
  if (run.policy.empty()) reader.complain(where, "\"policy\" is missing or empty");
  reader.text(json, "cluster", where, run.cluster);
  reader.text(json, "workload", where, run.workload);
  double seed = 1;
  reader.number(json, "seed", where, seed);
  run.seed = seed >= 0 && seed < 9e15 ? static_cast<std::uint64_t>(seed) : 0;
  reader.each(json, "instances", where, [&](const Json& item, const std::string& place) {
    ReportInstance& instance = run.instances.emplace_back();
    if (!reader.object(item, place, {"name", "group"})) return;
    reader.text(item, "name", place, instance.name);
    reader.text(item, "group", place, instance.group);
  });
  reader.each(json, "markers", where, [&](const Json& item, const std::string& place) {
    ReportMarker& marker = run.markers.emplace_back();
    if (!reader.object(item, place, {"at_s", "label"})) return;
    reader.number(item, "at_s", place, marker.at_s);
    reader.text(item, "label", place, marker.label);
  });
  if (const auto found = json.find("summary"); found != json.end()) {
    const std::string place = where + ".summary";
    if (!reader.object(*found, place,
                       {"prefix_hit_ratio", "output_tokens_per_s", "slo_attainment",
                        "decision_us_p50", "decision_us_p99", "decision_hash"}))
      return;
    reader.number(*found, "prefix_hit_ratio", place, run.summary.prefix_hit_ratio);
    reader.number(*found, "output_tokens_per_s", place, run.summary.output_tokens_per_s);
    reader.number(*found, "slo_attainment", place, run.summary.slo_attainment);
    reader.number(*found, "decision_us_p50", place, run.summary.decision_us_p50);
    reader.number(*found, "decision_us_p99", place, run.summary.decision_us_p99);
    reader.text(*found, "decision_hash", place, run.summary.decision_hash);
  }
  read_samples(reader, json, where, run);
}

}  // namespace

Result<ReportData> parse_report(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return fail(ErrorCode::kInvalidArgument, "report: not a JSON document");
  Reader reader;
  ReportData data;
  if (reader.object(json, "report", {"title", "subtitle", "command", "conditions", "runs"})) {
    reader.text(json, "title", "report", data.title);
    reader.text(json, "subtitle", "report", data.subtitle);
    reader.text(json, "command", "report", data.command);
    reader.each(json, "conditions", "report", [&](const Json& item, const std::string& place) {
      ReportCondition& condition = data.conditions.emplace_back();
      if (!reader.object(item, place, {"name", "value"})) return;
      reader.text(item, "name", place, condition.name);
      reader.text(item, "value", place, condition.value);
    });
    reader.each(json, "runs", "report", [&](const Json& item, const std::string& place) {
      read_run(reader, item, place, data.runs.emplace_back());
    });
  }
  if (!reader.error().empty()) return fail(ErrorCode::kInvalidArgument, reader.error());
  return data;
}

Result<ReportData> read_report(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kNotFound, fmt::format("cannot read {}: does it exist?", path));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto data = parse_report(text);
  if (!data) data.error().message = path + ": " + data.error().message;
  return data;
}

}  // namespace lodestar::sim
