// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/hash.h"
#include "config/node.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

Result<std::string> digest_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kNotFound, "cannot open " + path);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return fmt::format("{:016x}{:016x}", siphash13({1, 2}, bytes), siphash13({3, 4}, bytes));
}

// The cluster file and the tables that its groups name.
Result<std::string> digest_cluster(const std::string& path) {
  auto digest = digest_file(path);
  const auto text = config::read_yaml_text(path);
  if (!digest || !text) return fail(ErrorCode::kNotFound, "cannot open " + path);
  const auto node = config::parse_yaml(*text, path);
  const config::Node* groups = node ? node->find("groups") : nullptr;
  if (groups == nullptr) return digest;  // load_cluster says what is wrong
  for (const config::Node& group : groups->items) {
    const config::Node* profile =
        group.kind == config::Node::Kind::kMap ? group.find("profile") : nullptr;
    if (profile == nullptr) continue;
    const std::filesystem::path start = std::filesystem::path(path).parent_path() / profile->scalar;
    std::vector<std::string> files;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(start.parent_path(), ignored))
      if (entry.path().filename().string().starts_with(start.filename().string()))
        files.push_back(entry.path().string());
    if (files.empty()) return fail(ErrorCode::kNotFound, "cannot find tables " + start.string());
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      const auto table = digest_file(file);
      if (!table) return table;
      *digest += " " + *table;
    }
  }
  return digest;
}

struct CellFiles {
  Cluster cluster;
  WorkloadSpec workload;
  std::string cluster_file, workload_file, trace_path;
  std::string content;
};

Result<CellFiles> read_files(const SuiteSpec& suite, const SuiteCell& cell) {
  CellFiles files;
  files.cluster_file = resolve_path(suite.base_dir, cell.cluster);
  files.workload_file = resolve_path(suite.base_dir, cell.workload);
  auto cluster_digest = digest_cluster(files.cluster_file);
  if (!cluster_digest) return std::unexpected(cluster_digest.error());
  auto workload_digest = digest_file(files.workload_file);
  if (!workload_digest) return std::unexpected(workload_digest.error());
  auto cluster = load_cluster(files.cluster_file);
  if (!cluster) return std::unexpected(cluster.error());
  auto workload = load_workload(files.workload_file);
  if (!workload) return std::unexpected(workload.error());
  files.content = fmt::format("cluster {}\nworkload {}\n", *cluster_digest, *workload_digest);
  if (workload->trace) {
    files.trace_path = resolve_path(workload->base_dir, workload->trace->file);
    auto trace = digest_file(files.trace_path);
    if (!trace) return std::unexpected(trace.error());
    files.content += fmt::format("trace {}\n", *trace);
  }
  files.cluster = std::move(*cluster);
  files.workload = std::move(*workload);
  return files;
}

// The list repeated or cut; names keep counting within what stands before "-".
void set_engines(Cluster& cluster, std::size_t wanted) {
  const std::vector<WorldEngine> given = std::move(cluster.engines);
  cluster.engines.clear();
  std::map<std::string, std::uint32_t> numbers;
  for (std::size_t i = 0; i < wanted; ++i) {
    WorldEngine engine = given[i % given.size()];
    const std::string prefix = engine.info.name.substr(0, engine.info.name.rfind('-'));
    engine.info.name = fmt::format("{}-{}", prefix, numbers[prefix]++);
    engine.info.id = InstanceId(static_cast<std::uint32_t>(i));
    cluster.engines.push_back(std::move(engine));
  }
}

void set_vary(Cluster& cluster, const std::string& key, double value) {
  if (key == "scrape_period_ms") cluster.scrape_period = std::max<DurationNs>(1, from_ms(value));
  if (key == "scrape_delay_ms") cluster.scrape_delay = from_ms(value);
  if (key == "scrape_loss") cluster.scrape_loss = value;
  if (key == "network_delay_ms") cluster.network_delay = from_ms(value);
  if (key == "replicas") cluster.replicas = static_cast<int>(value);
  if (key == "engines") set_engines(cluster, static_cast<std::size_t>(value));
}

using Setting = std::vector<std::pair<std::string, double>>;

// Every combination of the axes, the last one fastest.
std::vector<Setting> combinations(const SuiteVary& vary) {
  const std::vector<double> engines(vary.engines.begin(), vary.engines.end());
  const std::vector<double> replicas(vary.replicas.begin(), vary.replicas.end());
  const std::pair<const char*, std::vector<double>> axes[] = {
      {"engines", engines},
      {"replicas", replicas},
      {"scrape_period_ms", vary.scrape_period_ms},
      {"scrape_delay_ms", vary.scrape_delay_ms},
      {"scrape_loss", vary.scrape_loss},
      {"network_delay_ms", vary.network_delay_ms}};
  std::vector<Setting> all{{}};
  for (const auto& [key, values] : axes) {
    if (values.empty()) continue;
    std::vector<Setting> next;
    for (const Setting& before : all)
      for (double value : values) {
        next.push_back(before);
        next.back().emplace_back(key, value);
      }
    all = std::move(next);
  }
  return all;
}

// A given rate takes the place of arrivals.rate_rps, and phases keep their ratio to it.
void set_rate(WorkloadSpec& workload, double rate_rps) {
  const double before = workload.arrivals.rate_rps;
  workload.arrivals.rate_rps = rate_rps;
  if (workload.arrivals_given) workload.arrivals_given->rate_rps = rate_rps;
  if (before <= 0) return;
  for (PhaseSpec& phase : workload.phases)
    if (phase.rate_rps) phase.rate_rps = *phase.rate_rps * rate_rps / before;
}

std::string check_rate(const WorkloadSpec& workload) {
  if (workload.arrivals.kind == ArrivalKind::kClosed)
    return "its arrivals are closed: a load or rate means nothing";
  if (workload.trace && workload.trace->format == TraceFormat::kKvCacheTester &&
      workload.arrivals.kind == ArrivalKind::kTrace)
    return "a closed-loop trace with its own session starts has no rate to set";
  const bool phases_alone = workload.arrivals.rate_rps <= 0 &&
                            std::any_of(workload.phases.begin(), workload.phases.end(),
                                        [](const PhaseSpec& p) { return p.rate_rps.has_value(); });
  return phases_alone ? "its phases set rates; give arrivals.rate_rps, to which they are relative"
                      : "";
}

Result<SuitePoint> make_point(const SuiteCell& cell, const CellFiles& files, const SuiteLoad* load,
                              const Setting& setting) {
  SuitePoint point;
  point.cell = cell.name;
  point.vary = setting;
  point.policies = cell.policies;
  point.seeds = load != nullptr && load->seeds ? *load->seeds : *cell.seeds;
  point.cluster_file = files.cluster_file;
  point.workload_file = files.workload_file;
  point.trace_path = files.trace_path;
  Cluster cluster = files.cluster;
  const std::size_t engines_before = cluster.engines.size();
  for (const auto& [key, value] : setting) set_vary(cluster, key, value);
  const double grown =
      static_cast<double>(cluster.engines.size()) / static_cast<double>(engines_before);
  WorkloadSpec workload = files.workload;
  if (load != nullptr) {
    if (const std::string wrong = check_rate(workload); !wrong.empty())
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", files.workload_file, wrong));
    const bool share = cell.rates_rps.empty();
    point.load_share = share ? load->value : 0;
    point.rate_rps = (share ? load->value * *cell.sustainable_rps : load->value) * grown;
    point.load = share ? fmt::format("{:g} % load", 100 * load->value)
                       : fmt::format("{:g} requests/s", load->value);
    set_rate(workload, point.rate_rps);
  }
  if (cell.max_requests) workload.max_requests = *cell.max_requests;
  if (cell.requests_per_engine)
    workload.max_requests =
        *cell.requests_per_engine * static_cast<std::int64_t>(cluster.engines.size());
  if (cell.warmup_requests) workload.warmup_requests = *cell.warmup_requests;
  if (workload.max_requests && workload.warmup_requests >= *workload.max_requests)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: warmup_requests {} leaves nothing of max_requests {} to count",
                            point.name(), workload.warmup_requests, *workload.max_requests));
  if (cell.jitter)
    for (WorldEngine& e : cluster.engines) e.config.jitter.sigma = *cell.jitter;
  point.content =
      fmt::format("{}rate {}\nmax {}\nwarmup {}\njitter {}\nvary {}\n", files.content,
                  point.rate_rps, workload.max_requests.value_or(-1), workload.warmup_requests,
                  cell.jitter.value_or(-1), point.vary_text());
  point.cluster = std::make_shared<const Cluster>(std::move(cluster));
  point.workload = std::make_shared<const WorkloadSpec>(std::move(workload));
  return point;
}

// The workload file whose trace is missing exists; so the error's code decides.
bool is_missing(const Error& error) { return error.code == ErrorCode::kNotFound; }

Result<void> add_cell(const SuiteCell& cell, const CellFiles& files, SuiteGrid& grid) {
  std::vector<const SuiteLoad*> loads;
  for (const SuiteLoad& load : cell.loads) loads.push_back(&load);
  for (const SuiteLoad& load : cell.rates_rps) loads.push_back(&load);
  if (loads.empty()) loads.push_back(nullptr);
  for (const SuiteLoad* load : loads)
    for (const Setting& setting : combinations(cell.vary)) {
      auto point = make_point(cell, files, load, setting);
      if (!point) return std::unexpected(point.error());
      grid.points.push_back(std::move(*point));
    }
  return {};
}

}  // namespace

std::string SuitePoint::vary_text() const {
  std::string text;
  for (const auto& [key, value] : vary)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value);
  return text;
}

std::string SuitePoint::name() const {
  std::string text = cell;
  if (!load.empty()) text += ", " + load;
  if (!vary.empty()) text += ", " + vary_text();
  return text;
}

Result<SuiteGrid> make_grid(const SuiteSpec& suite) {
  SuiteGrid grid;
  for (const SuiteCell& cell : suite.cells) {
    auto files = read_files(suite, cell);
    if (!files && cell.optional && is_missing(files.error())) {
      grid.skipped.push_back({cell.name, files.error().message});
      continue;
    }
    if (!files) {
      Error error = files.error();
      error.message = fmt::format("cell \"{}\": {}", cell.name, error.message);
      return std::unexpected(std::move(error));
    }
    if (auto ok = add_cell(cell, *files, grid); !ok) return std::unexpected(ok.error());
  }
  return grid;
}

Result<std::shared_ptr<const WorkloadPlan>> make_point_plan(const SuitePoint& point,
                                                            const Trace* trace,
                                                            std::uint64_t seed) {
  if (point.rate_rps <= 0 || trace == nullptr ||
      point.workload->arrivals.kind != ArrivalKind::kTrace)
    return make_plan(*point.workload, trace, seed);
  const double span_s = to_s(trace->rows.back().timestamp - trace->rows.front().timestamp);
  if (span_s <= 0)
    return fail(ErrorCode::kInvalidArgument,
                point.trace_path + ": all rows have the same time; it has no rate to scale");
  WorkloadSpec scaled = *point.workload;
  scaled.trace->time_scale = static_cast<double>(trace->rows.size()) / span_s / point.rate_rps;
  return make_plan(scaled, trace, seed);
}

std::vector<SuiteRun> runs_of(const SuiteGrid& grid) {
  std::int64_t most = 0;
  for (const SuitePoint& point : grid.points) most = std::max(most, point.seeds.count);
  std::vector<SuiteRun> runs;
  std::size_t group = 0;
  for (std::int64_t s = 0; s < most; ++s)
    for (std::size_t p = 0; p < grid.points.size(); ++p) {
      const SuitePoint& point = grid.points[p];
      if (s >= point.seeds.count) continue;
      for (std::size_t i = 0; i < point.policies.size(); ++i)
        runs.push_back({p, i, *point.seeds.first + static_cast<std::uint64_t>(s), group});
      ++group;
    }
  return runs;
}

}  // namespace lodestar::sim
