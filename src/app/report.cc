// SPDX-License-Identifier: Apache-2.0
#include "app/report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "app/commands.h"
#include "base/result.h"
#include "sim/html_report.h"
#include "sim/report_data.h"
#include "sim/result.h"

namespace lodestar::app {
namespace {
using Json = nlohmann::json;

struct Run {
  std::string label;
  std::vector<std::string> instances;
  std::vector<sim::RequestRecord> records;
};

std::pair<std::string, std::string> split_pair(const std::string& text) {
  const std::size_t at = text.find('=');
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

double number_or(const Json& j, const char* key, double otherwise) {
  const auto it = j.find(key);
  return it != j.end() && it->is_number() ? it->get<double>() : otherwise;
}

// One line of bench's samples: times in workload seconds and milliseconds.
sim::RequestRecord record_of(const Json& j, Run& run) {
  sim::RequestRecord r;
  r.index = static_cast<std::uint32_t>(number_or(j, "index", 0));
  r.arrival = from_s(number_or(j, "arrival_s", 0));
  r.prompt_tokens = static_cast<std::int64_t>(number_or(j, "prompt_tokens", 0));
  r.output_tokens = static_cast<std::int64_t>(number_or(j, "output_tokens", 0));
  r.cached_tokens = static_cast<std::int64_t>(number_or(j, "cached_tokens", -1));
  r.counted = j.value("counted", true);
  r.failed = !j.value("ok", true);
  const double ttft_ms = number_or(j, "ttft_ms", -1), e2e_ms = number_or(j, "e2e_ms", -1);
  if (ttft_ms >= 0) r.first_token = r.arrival + from_ms(ttft_ms);
  if (e2e_ms >= 0) r.last_token = r.arrival + from_ms(e2e_ms);
  if (j.contains("instance") && j["instance"].is_string() &&
      !j["instance"].get_ref<const std::string&>().empty()) {
    const std::string name = j["instance"];
    auto it = std::find(run.instances.begin(), run.instances.end(), name);
    if (it == run.instances.end()) it = run.instances.insert(run.instances.end(), name);
    r.instance = static_cast<std::uint32_t>(it - run.instances.begin());
  }
  return r;
}

Result<Run> load_run(const std::string& argument) {
  const auto [label, path] = split_pair(argument);
  if (path.empty())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--run {}: expected LABEL=FILE", argument));
  std::ifstream file(path);
  if (!file)
    return fail(ErrorCode::kNotFound, fmt::format("--run {}: cannot open {}", label, path));
  Run run;
  run.label = label;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    const Json j = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!j.is_object())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}:{}: not a JSON object; write it with `lodestar bench --samples`",
                              path, number));
    run.records.push_back(record_of(j, run));
  }
  if (run.records.empty()) return fail(ErrorCode::kInvalidArgument, path + ": no samples");
  return run;
}

sim::CellResult cell_of(const Run& run, const std::string& label, TimeNs from, TimeNs to) {
  std::vector<sim::RequestRecord> part;
  for (const sim::RequestRecord& r : run.records)
    if (r.arrival >= from && r.arrival < to) part.push_back(r);
  sim::CellResult cell;
  cell.policy = label;
  for (const std::string& name : run.instances) cell.instances.push_back({name, 0, std::nullopt});
  sim::summarise_records(part, cell);
  return cell;
}

// The same instances, by name, in the same order in every run.
void unify_instances(std::vector<Run>& runs) {
  std::vector<std::string> names;
  for (const Run& run : runs) names.insert(names.end(), run.instances.begin(), run.instances.end());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (Run& run : runs) {
    for (sim::RequestRecord& r : run.records) {
      if (r.instance >= run.instances.size()) continue;
      const auto at = std::lower_bound(names.begin(), names.end(), run.instances[r.instance]);
      r.instance = static_cast<std::uint32_t>(at - names.begin());
    }
    run.instances = names;
  }
}

// "A30-2" is an A30 to people; other names are their own group.
std::string group_of(const std::string& name) {
  const std::size_t dash = name.find_last_of('-');
  const bool numbered = dash != std::string::npos && dash + 1 < name.size() &&
                        name.find_first_not_of("0123456789", dash + 1) == std::string::npos;
  return numbered ? name.substr(0, dash) : std::string();
}

void print_instances(const std::vector<Run>& runs, const std::vector<sim::CellResult>& cells) {
  if (runs.front().instances.empty()) return;
  fmt::print("\nrequests per instance\n");
  for (std::size_t i = 0; i < runs.front().instances.size(); ++i) {
    fmt::print("  {:<28}", runs.front().instances[i]);
    for (std::size_t r = 0; r < runs.size(); ++r)
      fmt::print(" {:>26}", fmt::format("{}: {}", runs[r].label, cells[r].instances[i].requests));
    fmt::print("\n");
  }
}

sim::ReportData page_of(const std::vector<Run>& runs, const ReportArgs& args) {
  sim::ReportData data;
  data.title = args.title;
  for (const std::string& c : args.conditions) {
    const auto [name, value] = split_pair(c);
    data.conditions.push_back({name, value});
  }
  for (const Run& run : runs) {
    sim::ReportRun r = sim::report_run_of(run.records, cell_of(run, run.label, 0, kNever));
    for (sim::ReportInstance& i : r.instances) i.group = group_of(i.name);
    if (args.split_s) r.markers.push_back({*args.split_s, args.split_label});
    data.runs.push_back(std::move(r));
  }
  return data;
}

int fail_with(const Error& error) {
  fmt::print(stderr, "lodestar report: {}\n", error.message);
  return 2;
}
}  // namespace

int run_report(const ReportArgs& args) {
  std::vector<Run> runs;
  for (const std::string& argument : args.runs) {
    auto run = load_run(argument);
    if (!run) return fail_with(run.error());
    runs.push_back(std::move(*run));
  }
  unify_instances(runs);
  std::vector<sim::CellResult> cells;
  for (const Run& run : runs) cells.push_back(cell_of(run, run.label, 0, kNever));
  if (args.split_s) {
    const TimeNs at = from_s(*args.split_s);
    for (const Run& run : runs) cells.push_back(cell_of(run, run.label + " before", 0, at));
    for (const Run& run : runs) cells.push_back(cell_of(run, run.label + " after", at, kNever));
  }
  fmt::print("{}", sim::to_table(cells));
  print_instances(runs, cells);
  if (!args.json.empty()) {
    if (auto ok = sim::write_text_file(args.json, sim::to_json(cells)); !ok)
      return fail_with(ok.error());
  }
  if (!args.html.empty()) {
    if (auto ok = sim::write_html_report(page_of(runs, args), args.html); !ok)
      return fail_with(ok.error());
  }
  return 0;
}

void add_report_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<ReportArgs>();
  CLI::App* cmd =
      app.add_subcommand("report", "Compare runs of `lodestar bench` in a table and an HTML page");
  cmd->add_option("--run", args->runs,
                  "LABEL=FILE, a file of `lodestar bench --samples` (JSON lines); repeatable")
      ->required();
  cmd->add_option("--split", args->split_s,
                  "Also compare before and after this workload time (seconds)");
  cmd->add_option("--split-label", args->split_label, "What happened then")->capture_default_str();
  cmd->add_option("--condition", args->conditions, "NAME=VALUE line for the page; repeatable");
  cmd->add_option("--title", args->title, "Title of the page")->capture_default_str();
  cmd->add_option("--html", args->html, "Write the page here");
  cmd->add_option("--json", args->json, "Write the result JSON here");
  cmd->callback([args, &exit_code] { exit_code = run_report(*args); });
}

}  // namespace lodestar::app
