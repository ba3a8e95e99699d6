// SPDX-License-Identifier: Apache-2.0
// `lodestar sim`: policies x seeds on one cluster and one workload, or a whole suite.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "app/commands.h"
#include "app/suite.h"
#include "policies/catalog.h"
#include "sim/cluster_file.h"
#include "sim/experiment.h"
#include "sim/html_report.h"
#include "sim/workload_plan.h"

namespace lodestar::app {
namespace {
using sim::CellOutcome;

struct SimArgs {
  std::string cluster, workload, json, html;
  std::vector<std::string> policies;
  std::optional<int> seeds_given;
  int seeds = 1;
  int jobs = 0;
  std::optional<std::uint64_t> first_seed;
  std::optional<double> rate_rps, jitter;
  std::optional<std::int64_t> max_requests;
  bool quiet = false, list = false;
  SuiteArgs suite;
};

struct Cell {
  std::string policy;
  std::uint64_t seed;
  CellOutcome outcome;
};

std::uint64_t wall_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::string stem(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  const std::string file = slash == std::string::npos ? path : path.substr(slash + 1);
  return file.substr(0, file.find(".yaml"));
}

int fail_with(const Error& error) {
  fmt::print(stderr, "lodestar sim: {}\n", error.message);
  return 2;
}

// One line on the terminal, rewritten in place; plain lines when it is a file.
class Progress {
 public:
  Progress(std::size_t cells, bool quiet) : cells_(cells), quiet_(quiet), tty_(isatty(2) != 0) {}
  void tick(const std::string& policy, std::uint64_t seed, std::uint64_t done, TimeNs now) {
    if (!quiet_ && tty_)
      fmt::print(stderr, "\r[{}/{}] {} seed {}: {} requests, {:.0f} s simulated   ",
                 finished_.load(), cells_, policy, seed, done, to_s(now));
  }
  void cell_done(const sim::CellResult& r) {
    const std::size_t n = ++finished_;
    if (quiet_) return;
    fmt::print(stderr, "{}[{}/{}] {} seed {}: {:.2f} s wall, {:.0f} requests/s{}\n",
               tty_ ? "\r\x1b[K" : "", n, cells_, r.policy, r.seed, r.wall_s,
               static_cast<double>(r.requests) / r.wall_s,
               r.unfinished ? fmt::format(", {} UNFINISHED", r.unfinished) : "");
  }

 private:
  std::size_t cells_;
  bool quiet_, tty_;
  std::atomic<std::size_t> finished_{0};
};

sim::ReportData report_data(const std::vector<Cell>& cells, const sim::Cluster& cluster,
                            const SimArgs& args) {
  sim::ReportData data;
  data.title = "Lodestar simulation";
  data.subtitle = fmt::format("{} on {}", stem(args.workload), stem(args.cluster));
  data.conditions = {{"Cluster", args.cluster},
                     {"Workload", args.workload},
                     {"Scrape period", fmt::format("{} ms", to_ms(cluster.scrape_period))},
                     {"Seeds", fmt::format("{}", args.seeds)}};
  data.command =
      fmt::format("lodestar sim --cluster {} --workload {} --policy {} --seeds {}", args.cluster,
                  args.workload, fmt::join(args.policies, ","), args.seeds);
  for (const Cell& cell : cells) {
    sim::ReportRun run = sim::report_run_of(cell.outcome.records, cell.outcome.result);
    for (std::size_t i = 0; i < run.instances.size() && i < cluster.engines.size(); ++i)
      run.instances[i].group = cluster.engines[i].info.hardware;
    run.cluster = stem(args.cluster);
    run.workload = stem(args.workload);
    data.runs.push_back(std::move(run));
  }
  return data;
}

// Everything that the cells need, read and checked before the first one runs.
struct Inputs {
  std::shared_ptr<const sim::Cluster> cluster;
  std::map<std::uint64_t, std::shared_ptr<const sim::WorkloadPlan>> plans;  // by seed
};

Result<Inputs> load_inputs(const SimArgs& args) {
  for (const std::string& policy : args.policies)
    if (auto ok = sim::check_policy(policy); !ok) return std::unexpected(ok.error());
  auto cluster = sim::load_cluster(args.cluster);
  if (!cluster) return std::unexpected(cluster.error());
  if (args.jitter)
    for (sim::WorldEngine& e : cluster->engines) e.config.jitter.sigma = *args.jitter;
  auto spec = sim::load_workload(args.workload);
  if (!spec) return std::unexpected(spec.error());
  if (args.rate_rps) spec->arrivals.rate_rps = *args.rate_rps;
  if (args.max_requests) spec->max_requests = *args.max_requests;
  auto trace = sim::load_trace_of(*spec);
  if (!trace) return std::unexpected(trace.error());
  Inputs inputs{std::make_shared<const sim::Cluster>(std::move(*cluster)), {}};
  for (int s = 0; s < args.seeds; ++s) {
    const std::uint64_t seed = args.first_seed.value_or(spec->seed) + static_cast<std::uint64_t>(s);
    auto plan = sim::make_plan(*spec, trace->get(), seed);
    if (!plan) return std::unexpected(plan.error());
    inputs.plans[seed] = *plan;
  }
  return inputs;
}

// Runs all cells, several at once; each is independent of the others.
Result<std::vector<Cell>> run_cells(const SimArgs& args, const Inputs& inputs) {
  std::vector<Cell> cells;
  for (const auto& [seed, plan] : inputs.plans)
    for (const std::string& policy : args.policies) cells.push_back({policy, seed, {}});
  Progress progress(cells.size(), args.quiet);
  std::atomic<std::size_t> next{0};
  std::mutex error_mutex;
  std::optional<Error> error;
  const auto work = [&] {
    for (std::size_t i = next++; i < cells.size(); i = next++) {
      Cell& cell = cells[i];
      sim::CellSpec spec{
          inputs.cluster, inputs.plans.at(cell.seed), cell.policy, cell.seed, wall_ns, {}};
      spec.progress = [&](std::uint64_t done, TimeNs now) {
        progress.tick(cell.policy, cell.seed, done, now);
      };
      auto outcome = sim::run_cell(spec);
      if (!outcome) {
        const std::lock_guard lock(error_mutex);
        error = outcome.error();
        return;
      }
      cell.outcome = std::move(*outcome);
      cell.outcome.result.cluster = args.cluster;
      cell.outcome.result.workload = args.workload;
      progress.cell_done(cell.outcome.result);
    }
  };
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int jobs = std::min(args.jobs > 0 ? args.jobs : cores, static_cast<int>(cells.size()));
  std::vector<std::thread> threads;
  for (int j = 1; j < jobs; ++j) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  if (error) return std::unexpected(*error);
  return cells;
}

Result<void> write_outputs(const SimArgs& args, const Inputs& inputs,
                           const std::vector<Cell>& cells) {
  std::vector<sim::CellResult> results;
  for (const Cell& cell : cells) results.push_back(cell.outcome.result);
  if (!args.quiet) fmt::print("{}", sim::to_table(results));
  if (args.json == "-") {
    fmt::print("{}", sim::to_json(results));
  } else if (!args.json.empty()) {
    if (auto ok = sim::write_text_file(args.json, sim::to_json(results)); !ok) return ok;
  }
  if (args.html.empty()) return {};
  return sim::write_html_report(report_data(cells, *inputs.cluster, args), args.html);
}

int run_sim_suite(const SimArgs& args) {
  if (!args.cluster.empty() || !args.workload.empty() || args.rate_rps)
    return fail_with({.code = ErrorCode::kInvalidArgument,
                      .message = "--suite names its clusters, workloads and rates itself: leave "
                                 "--cluster, --workload and --rate out"});
  SuiteArgs suite = args.suite;
  suite.json = args.json;
  suite.html = args.html;
  suite.policies = args.policies;
  suite.jobs = args.jobs;
  suite.quiet = args.quiet;
  suite.seeds = args.seeds_given;
  suite.first_seed = args.first_seed;
  suite.jitter = args.jitter;
  suite.max_requests = args.max_requests;
  return run_suite(suite);
}

int run_sim(SimArgs args) {
  if (args.list) {
    for (std::string_view name : sim::policy_names()) fmt::print("{}\n", name);
    return 0;
  }
  if (!args.suite.file.empty()) return run_sim_suite(args);
  args.seeds = args.seeds_given.value_or(1);
  args.policies = rejoin_policies(args.policies);  // "name:a=1,b=2" holds commas too
  if (args.policies == std::vector<std::string>{"all"}) {
    const auto names = sim::policy_names();
    args.policies.assign(names.begin(), names.end());
  }
  if (args.cluster.empty() || args.workload.empty() || args.policies.empty())
    return fail_with(
        {.code = ErrorCode::kInvalidArgument,
         .message = "--suite, or --cluster, --workload and --policy are required (see --help)"});
  const auto inputs = load_inputs(args);
  if (!inputs) return fail_with(inputs.error());
  const auto cells = run_cells(args, *inputs);
  if (!cells) return fail_with(cells.error());
  if (auto ok = write_outputs(args, *inputs, *cells); !ok) return fail_with(ok.error());
  std::uint64_t unfinished = 0;
  for (const Cell& cell : *cells) {
    const sim::CellResult& r = cell.outcome.result;
    unfinished += r.unfinished;
    if (r.failed > 0)
      fmt::print(stderr,
                 "lodestar sim: {} seed {}: {} of {} requests failed (prompt too long for the "
                 "engine, or lost in a crash)\n",
                 r.policy, r.seed, r.failed, r.requests);
  }
  if (unfinished == 0) return 0;
  fmt::print(
      stderr,
      "lodestar sim: {} requests never finished: held by the policy, or no engine was left\n",
      unfinished);
  return 1;
}
void add_suite_options(CLI::App& cmd, SuiteArgs& args) {
  const auto group = "Suite";
  cmd.add_option("--suite", args.file,
                 "Suite file (YAML): a grid of clusters, workloads, loads, policies and seeds; "
                 "--policy, --seeds, --seed, --max-requests and --jitter override it")
      ->group(group);
  cmd.add_option("--cell", args.cells, "Only cells whose name contains this; repeatable")
      ->group(group);
  cmd.add_option("--budget", args.budget, "Start no run after this time (90s, 10m, 1.5h)")
      ->group(group);
  cmd.add_option("--cache", args.cache,
                 "Folder of finished runs (default: $XDG_CACHE_HOME or ~/.cache, lodestar/suites)")
      ->group(group);
  cmd.add_flag("!--no-cache", args.use_cache, "Neither read nor write finished runs")->group(group);
  cmd.add_option("--reuse", args.reuse,
                 "Policies (labels) whose finished runs may come from another build")
      ->delimiter(',')
      ->group(group);
  cmd.add_flag("--dry-run", args.dry_run, "Print the grid and what the cache has of it")
      ->group(group);
}
}  // namespace

void add_sim_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<SimArgs>();
  CLI::App* cmd = app.add_subcommand("sim", "Simulate policies on a cluster and a workload");
  cmd->add_option("--cluster", args->cluster, "Cluster file (YAML)");
  cmd->add_option("--workload", args->workload, "Workload file (YAML)");
  cmd->add_option("--policy", args->policies, "Policy name, several separated by commas, or all")
      ->delimiter(',');
  cmd->add_option("--seeds", args->seeds_given,
                  "Number of seeds to run per policy (default: 1, or the suite's)")
      ->check(CLI::Range(1, 1000));
  cmd->add_option("--seed", args->first_seed, "First seed (default: the workload file's)");
  cmd->add_option("--rate", args->rate_rps, "Override arrivals.rate_rps")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--max-requests", args->max_requests, "Override max_requests")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--jitter", args->jitter, "Override jitter.sigma of every engine")
      ->check(CLI::Range(0.0, 1.0));
  cmd->add_option("--jobs", args->jobs, "Cells run at once (default: all cores)");
  cmd->add_option("--json", args->json, "Write the result JSON here (- for standard output)");
  cmd->add_option("--html", args->html, "Write a report with plots here");
  add_suite_options(*cmd, args->suite);
  cmd->add_flag("--quiet", args->quiet, "No progress, no table");
  cmd->add_flag("--list-policies", args->list, "Print every policy name and exit");
  cmd->callback([args, &exit_code] { exit_code = run_sim(*args); });
}

}  // namespace lodestar::app
