// SPDX-License-Identifier: Apache-2.0
#include "app/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

#include "app/suite_progress.h"
#include "policies/catalog.h"
#include "sim/experiment.h"
#include "sim/suite_cache.h"
#include "sim/suite_grid.h"
#include "sim/suite_report.h"
#include "sim/suite_result.h"
#include "sim/suite_summary.h"
#include "sim/workload_plan.h"

namespace lodestar::app {
namespace {

std::atomic<bool> interrupted{false};  // set by Ctrl-C

extern "C" void on_interrupt(int) {
  interrupted = true;
  std::signal(SIGINT, SIG_DFL);  // the second one ends the program at once
}

std::uint64_t wall_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}
double wall_s() { return static_cast<double>(wall_ns()) * 1e-9; }

int fail_with(const Error& error) {
  fmt::print(stderr, "lodestar sim: {}\n", error.message);
  return 2;
}

std::string default_cache() {
  const char* base = std::getenv("XDG_CACHE_HOME");
  if (base != nullptr && *base != '\0') return std::string(base) + "/lodestar/suites";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr && *home != '\0' ? home : ".") + "/.cache/lodestar/suites";
}

// The command line's wishes over the file's.
Result<void> apply_args(const SuiteArgs& args, sim::SuiteSpec& suite) {
  const auto wanted = [&](const sim::SuiteCell& cell) {
    return std::any_of(args.cells.begin(), args.cells.end(), [&](const std::string& part) {
      return cell.name.find(part) != std::string::npos;
    });
  };
  if (!args.cells.empty()) {
    std::string names;
    for (const sim::SuiteCell& cell : suite.cells) names += "\n  " + cell.name;
    std::erase_if(suite.cells, [&](const sim::SuiteCell& cell) { return !wanted(cell); });
    if (suite.cells.empty())
      return fail(ErrorCode::kNotFound,
                  "no cell's name contains what --cell says; there are:" + names);
  }
  const auto set = [&](sim::SeedRange& seeds) {
    if (args.seeds) seeds.count = *args.seeds;
    if (args.first_seed) seeds.first = *args.first_seed;
  };
  for (sim::SuiteCell& cell : suite.cells) {
    set(*cell.seeds);
    for (auto* loads : {&cell.loads, &cell.rates_rps})
      for (sim::SuiteLoad& load : *loads)
        if (load.seeds) set(*load.seeds);
    if (args.jitter) cell.jitter = args.jitter;
    if (!args.max_requests) continue;
    cell.max_requests = args.max_requests;
    cell.requests_per_engine.reset();
  }
  if (args.policies.empty()) return {};
  return sim::replace_policies(suite, rejoin_policies(args.policies));
}

// Runs that share their arrivals: the plan is drawn when the first of them starts
// and dropped when the last one has ended.
struct Group {
  std::mutex mutex;
  std::shared_ptr<const sim::WorkloadPlan> plan;
  std::size_t left = 0;
};

class Runner {
 public:
  Runner(const SuiteArgs& args, const sim::SuiteGrid& grid, std::optional<sim::SuiteCache> cache)
      : args_(args), grid_(grid), cache_(std::move(cache)), runs_(sim::runs_of(grid)) {
    begin_s_ = wall_s();
    groups_.resize(runs_.empty() ? 0 : runs_.back().group + 1);
    status_.runs = runs_.size();
    for (const sim::SuitePoint& point : grid_.points) hardware_.push_back(hardware_of(point));
  }

  // Everything the cache has, without running anything; leaves the rest pending.
  void read_cache();
  std::size_t finished() const {
    std::size_t count = 0;
    for (const auto& [at, runs] : results_.runs) count += runs.size();
    return count;
  }
  void run(double budget_s);
  sim::SuiteStatus status() const;
  const sim::SuiteResults& results() const { return results_; }

 private:
  static std::vector<std::string> hardware_of(const sim::SuitePoint& point) {
    std::vector<std::string> names;
    for (const sim::WorldEngine& engine : point.cluster->engines)
      names.push_back(engine.info.hardware);
    return names;
  }
  const sim::SuitePoint& point_of(const sim::SuiteRun& run) const {
    return grid_.points[run.point];
  }
  const sim::SuitePolicy& policy_of(const sim::SuiteRun& run) const {
    return point_of(run).policies[run.policy];
  }
  sim::RunKey key_of(const sim::SuiteRun& run) const {
    return {point_of(run).content, policy_of(run).policy, run.seed};
  }
  void keep(const sim::SuiteRun& run, sim::RunDigest digest);
  Result<std::shared_ptr<const sim::WorkloadPlan>> plan_of(const sim::SuiteRun& run);
  Result<std::shared_ptr<const sim::Trace>> trace_of(const sim::SuitePoint& point);
  Result<sim::RunDigest> run_one(const sim::SuiteRun& run);
  void work(SuiteProgress& progress, double until_s);

  const SuiteArgs& args_;
  const sim::SuiteGrid& grid_;
  std::optional<sim::SuiteCache> cache_;
  std::vector<sim::SuiteRun> runs_, pending_;
  std::vector<std::vector<std::string>> hardware_;  // by point, instance
  std::deque<Group> groups_;
  std::mutex trace_mutex_;
  std::map<std::string, std::shared_ptr<const sim::Trace>> traces_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;  // of what follows
  sim::SuiteResults results_;
  sim::SuiteStatus status_;
  std::vector<std::string> errors_;
  double begin_s_ = 0;
};

void Runner::keep(const sim::SuiteRun& run, sim::RunDigest digest) {
  digest.result.policy = policy_of(run).policy;
  digest.result.cluster = point_of(run).cluster_file;
  digest.result.workload = point_of(run).workload_file;
  const std::lock_guard lock(mutex_);
  results_.runs[{run.point, run.policy}][run.seed] = std::move(digest);
}

void Runner::read_cache() {
  for (const sim::SuiteRun& run : runs_) {
    const std::string& label = policy_of(run).label;
    sim::SuiteCache::Entry entry;
    if (cache_) {
      const bool reuse =
          std::find(args_.reuse.begin(), args_.reuse.end(), label) != args_.reuse.end();
      entry = cache_->load(key_of(run), reuse);
    }
    if (entry.found == sim::SuiteCache::Found::kYes) {
      ++status_.from_cache;
      status_.other_program += entry.other_program;
      keep(run, std::move(entry.digest));
      continue;
    }
    status_.damaged += entry.found == sim::SuiteCache::Found::kDamaged;
    pending_.push_back(run);
    ++groups_[run.group].left;
  }
}

Result<std::shared_ptr<const sim::Trace>> Runner::trace_of(const sim::SuitePoint& point) {
  if (point.trace_path.empty()) return std::shared_ptr<const sim::Trace>();
  const std::lock_guard lock(trace_mutex_);
  const int format = static_cast<int>(point.workload->trace->format);
  auto& trace = traces_[fmt::format("{} {}", format, point.trace_path)];
  if (trace == nullptr) {
    auto loaded = sim::load_trace_of(*point.workload);
    if (!loaded) return loaded;
    trace = *loaded;
  }
  return trace;
}

Result<std::shared_ptr<const sim::WorkloadPlan>> Runner::plan_of(const sim::SuiteRun& run) {
  const auto trace = trace_of(point_of(run));
  if (!trace) return std::unexpected(trace.error());
  Group& group = groups_[run.group];
  const std::lock_guard lock(group.mutex);
  if (group.plan == nullptr) {
    auto plan = sim::make_point_plan(point_of(run), trace->get(), run.seed);
    if (!plan) return plan;
    group.plan = *plan;
  }
  auto plan = group.plan;
  if (--group.left == 0) group.plan.reset();
  return plan;
}

Result<sim::RunDigest> Runner::run_one(const sim::SuiteRun& run) {
  auto plan = plan_of(run);
  if (!plan) return std::unexpected(plan.error());
  const sim::CellSpec spec{
      point_of(run).cluster, std::move(*plan), policy_of(run).policy, run.seed, wall_ns, {}};
  auto outcome = sim::run_cell(spec);
  if (!outcome) return std::unexpected(outcome.error());
  return sim::digest_of(outcome->result, outcome->records, hardware_[run.point]);
}

void Runner::work(SuiteProgress& progress, double until_s) {
  while (!interrupted && wall_s() < until_s) {
    const std::size_t i = next_++;
    if (i >= pending_.size()) return;
    const sim::SuiteRun& run = pending_[i];
    auto digest = run_one(run);
    Result<void> stored;
    if (digest && cache_) stored = cache_->store(key_of(run), *digest);
    const double took_s = digest ? digest->result.wall_s : 0;
    if (digest) keep(run, std::move(*digest));
    if (!digest || !stored) {
      const std::lock_guard lock(mutex_);
      errors_.push_back(fmt::format("{}, {} seed {}: {}", point_of(run).name(),
                                    policy_of(run).label, run.seed,
                                    digest ? stored.error().message : digest.error().message));
    }
    progress.done({run.point, run.policy}, policy_of(run).label, took_s);
  }
}

void Runner::run(double budget_s) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int jobs = std::clamp(args_.jobs > 0 ? args_.jobs : cores, 1,
                              std::max(1, static_cast<int>(pending_.size())));
  std::vector<std::pair<RunKind, std::string>> kinds;
  for (const sim::SuiteRun& run : pending_)
    kinds.emplace_back(RunKind{run.point, run.policy}, policy_of(run).label);
  SuiteProgress progress(std::move(kinds), jobs, args_.quiet);
  for (const auto& [at, runs] : results_.runs)
    for (const auto& [seed, run] : runs)
      progress.learn(at, grid_.points[at.first].policies[at.second].label, run.result.wall_s);
  std::signal(SIGINT, on_interrupt);
  const double until_s = begin_s_ + budget_s;
  std::vector<std::thread> threads;
  for (int j = 1; j < jobs; ++j) threads.emplace_back([&] { work(progress, until_s); });
  work(progress, until_s);
  for (std::thread& t : threads) t.join();
  std::signal(SIGINT, SIG_DFL);
  progress.finish();
  if (interrupted)
    status_.stopped = "interrupted";
  else if (wall_s() >= until_s && next_ < pending_.size())
    status_.stopped = "the budget of " + args_.budget + " is spent";
  else if (!errors_.empty())
    status_.stopped = "errors";
}

// "1-3, 5": ascending seeds.
std::string seeds_text(const std::vector<std::uint64_t>& seeds) {
  std::string text;
  for (std::size_t i = 0; i < seeds.size();) {
    std::size_t j = i;
    while (j + 1 < seeds.size() && seeds[j + 1] == seeds[j] + 1) ++j;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", seeds[i]);
    if (j > i) text += fmt::format("-{}", seeds[j]);
    i = j + 1;
  }
  return text;
}

sim::SuiteStatus Runner::status() const {
  sim::SuiteStatus status = status_;
  status.wall_s = wall_s() - begin_s_;
  for (std::size_t p = 0; p < grid_.points.size(); ++p) {
    const sim::SuitePoint& point = grid_.points[p];
    for (std::size_t i = 0; i < point.policies.size(); ++i) {
      const auto found = results_.runs.find({p, i});
      std::vector<std::uint64_t> missing;
      for (std::int64_t s = 0; s < point.seeds.count; ++s) {
        const std::uint64_t seed = *point.seeds.first + static_cast<std::uint64_t>(s);
        if (found == results_.runs.end() || !found->second.contains(seed)) missing.push_back(seed);
      }
      if (!missing.empty())
        status.missing.push_back(fmt::format("{}: {}, seed{} {}", point.name(),
                                             point.policies[i].label, missing.size() > 1 ? "s" : "",
                                             seeds_text(missing)));
    }
  }
  status.missing.insert(status.missing.end(), errors_.begin(), errors_.end());
  return status;
}

// Problems and gaps, always on standard error, --quiet or not.
void print_status(const sim::SuiteGrid& grid, const sim::SuiteStatus& status) {
  for (const sim::SkippedCell& cell : grid.skipped)
    fmt::print(stderr, "lodestar sim: SKIPPED cell \"{}\": {}\n", cell.cell, cell.why);
  if (status.damaged)
    fmt::print(stderr, "lodestar sim: {} damaged cache entries were run again\n", status.damaged);
  if (status.missing.empty()) return;
  constexpr std::size_t kShown = 20;
  fmt::print(stderr, "lodestar sim: INCOMPLETE, {}; missing:\n", status.stopped);
  for (std::size_t i = 0; i < std::min(kShown, status.missing.size()); ++i)
    fmt::print(stderr, "  {}\n", status.missing[i]);
  if (status.missing.size() > kShown)
    fmt::print(stderr, "  and {} more (all in --json and --html)\n",
               status.missing.size() - kShown);
}

Result<void> write_outputs(const SuiteArgs& args, const sim::SuiteSpec& suite,
                           const sim::SuiteGrid& grid, const Runner& runner,
                           const sim::SuiteStatus& status) {
  const auto summary = sim::summarise_suite(suite, grid, runner.results());
  if (!args.quiet && args.json != "-") fmt::print("{}", sim::to_suite_table(suite, summary));
  if (!args.json.empty()) {
    const std::string json = sim::to_suite_json(suite, grid, runner.results(), summary, status);
    if (args.json == "-")
      fmt::print("{}", json);
    else if (auto ok = sim::write_text_file(args.json, json); !ok)
      return ok;
  }
  if (args.html.empty()) return {};
  return sim::write_text_file(
      args.html,
      sim::render_suite_report(suite, grid, summary, status, "lodestar sim --suite " + args.file));
}

Result<std::optional<sim::SuiteCache>> open_cache(const SuiteArgs& args) {
  if (!args.use_cache) return std::optional<sim::SuiteCache>();
  const auto program = sim::hash_file("/proc/self/exe");
  if (!program) return std::unexpected(program.error());
  auto cache = sim::SuiteCache::open(args.cache.empty() ? default_cache() : args.cache, *program);
  if (!cache) return std::unexpected(cache.error());
  return std::optional<sim::SuiteCache>(std::move(*cache));
}

}  // namespace

std::optional<double> parse_span_s(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  if (end == text.c_str() || !(value > 0)) return std::nullopt;
  if (unit.empty() || unit == "s") return value;
  if (unit == "m" || unit == "min") return value * 60;
  if (unit == "h") return value * 3600;
  return std::nullopt;
}

int run_suite(const SuiteArgs& args) {
  const auto budget_s =
      args.budget.empty() ? std::optional<double>(1e12) : parse_span_s(args.budget);
  if (!budget_s)
    return fail_with({.code = ErrorCode::kInvalidArgument,
                      .message = "--budget " + args.budget + ": expected e.g. 90s, 10m or 1.5h"});
  auto suite = sim::load_suite(args.file);
  if (!suite) return fail_with(suite.error());
  if (auto ok = apply_args(args, *suite); !ok) return fail_with(ok.error());
  const auto grid = sim::make_grid(*suite);
  if (!grid) return fail_with(grid.error());
  auto cache = open_cache(args);
  if (!cache) return fail_with(cache.error());
  Runner runner(args, *grid, std::move(*cache));
  runner.read_cache();
  if (args.dry_run) {
    for (const sim::SuitePoint& point : grid->points)
      fmt::print("{}: {} policies, {} seeds from {}\n", point.name(), point.policies.size(),
                 point.seeds.count, *point.seeds.first);
    const sim::SuiteStatus status = runner.status();
    fmt::print("{} runs, {} of them in the cache\n", status.runs, status.from_cache);
    for (const sim::SkippedCell& cell : grid->skipped)
      fmt::print("skipped cell \"{}\": {}\n", cell.cell, cell.why);
    return 0;
  }
  runner.run(*budget_s);
  const sim::SuiteStatus status = runner.status();
  print_status(*grid, status);
  if (auto ok = write_outputs(args, *suite, *grid, runner, status); !ok)
    return fail_with(ok.error());
  if (!args.quiet)
    fmt::print(
        stderr, "{} runs ({} from the cache{}) in {:.1f} s\n", runner.finished(), status.from_cache,
        status.other_program ? fmt::format(", {} of another program", status.other_program) : "",
        status.wall_s);
  return status.missing.empty() ? 0 : 1;
}

}  // namespace lodestar::app
