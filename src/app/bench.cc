// SPDX-License-Identifier: Apache-2.0
#include "app/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "app/commands.h"
#include "app/file_limit.h"
#include "loadgen/bench_report.h"
#include "loadgen/load_run.h"
#include "net/runtime.h"
#include "sim/workload_plan.h"
#include "sim/workload_spec.h"

namespace lodestar::app {
namespace {

int fail_with(const Error& error) {
  fmt::print(stderr, "lodestar bench: {}\n", error.message);
  return 2;
}

struct Plan {
  std::shared_ptr<const sim::WorkloadPlan> plan;
  std::uint64_t seed = 1;
};

Result<Plan> load_plan(const BenchArgs& args) {
  auto spec = sim::load_workload(args.workload);
  if (!spec) return std::unexpected(spec.error());
  if (args.seed) spec->seed = *args.seed;
  if (args.max_requests) spec->max_requests = *args.max_requests;
  if (args.rate_rps) spec->arrivals.rate_rps = *args.rate_rps;
  auto plan = sim::make_plan(*spec);
  if (!plan) return std::unexpected(plan.error());
  return Plan{*plan, spec->seed};
}

Result<loadgen::LoadOptions> load_options(const BenchArgs& args) {
  loadgen::LoadOptions options;
  for (const std::string& target : args.targets) {
    auto url = net::parse_url(target);
    if (!url) return std::unexpected(url.error());
    options.targets.push_back(*url);
  }
  options.body.endpoint =
      args.endpoint == "chat" ? loadgen::Endpoint::kChat : loadgen::Endpoint::kCompletions;
  options.body.served_model = args.served_model;
  options.body.force_length = !args.natural_length;
  options.time_scale = args.time_scale;
  options.timeout = from_s(args.timeout_s);
  options.max_connections = args.connections;
  options.api_key = args.api_key;
  return options;
}

// One line each second, rewritten in place on a terminal.
net::Task<void> show_progress(loadgen::LoadRun& run, const bool& finished) {
  const bool tty = isatty(2) != 0;
  for (TimeNs next = net::now_ns() + kSecond; !finished; next += kSecond) {
    co_await net::sleep_until(next);
    if (finished) break;
    fmt::print(stderr, "{}{}{}", tty ? "\r\x1b[K" : "", loadgen::progress_line(run.progress()),
               tty ? "" : "\n");
    std::fflush(stderr);
  }
}

struct Driving {
  bool finished = false;
  std::optional<Error> error;
};

net::Task<void> drive(loadgen::LoadRun& run, net::Runtime& runtime, Driving& state) {
  auto ok = co_await run.run();
  if (!ok) state.error = ok.error();
  state.finished = true;
  runtime.stop();
}

int write_results(const BenchArgs& args, loadgen::LoadOutcome& outcome, std::uint64_t seed) {
  loadgen::fill_cached_tokens(outcome);
  const loadgen::BenchContext context{args.label, args.workload,
                                      fmt::format("{}", fmt::join(args.targets, ",")), seed,
                                      args.time_scale};
  if (!args.quiet) {
    if (isatty(2) != 0) fmt::print(stderr, "\r\x1b[K");
    fmt::print("{}", loadgen::bench_table(outcome, context));
  }
  const std::string json = loadgen::bench_json(outcome, context);
  if (args.json == "-") {
    fmt::print("{}", json);
  } else if (!args.json.empty()) {
    if (auto ok = sim::write_text_file(args.json, json); !ok) return fail_with(ok.error());
  }
  if (!args.samples.empty()) {
    const std::string text = loadgen::bench_samples(outcome, args.samples.ends_with(".csv"));
    if (auto ok = sim::write_text_file(args.samples, text); !ok) return fail_with(ok.error());
  }
  return outcome.failure_counts.empty() && !outcome.interrupted ? 0 : 1;
}

}  // namespace

int run_bench(const BenchArgs& args) {
  auto options = load_options(args);
  if (!options) return fail_with(options.error());
  auto plan = load_plan(args);
  if (!plan) return fail_with(plan.error());
  raise_file_limit();
  net::Runtime runtime(1);
  loadgen::LoadRun run(runtime.executor(0), plan->plan, std::move(*options));
  Driving state;
  bool stopped = false;
  runtime.on_shutdown_signal([&](int) {
    if (std::exchange(stopped, true)) return runtime.stop();  // asked twice: now
    run.stop();
  });
  net::spawn(runtime.executor(0), drive(run, runtime, state), "bench");
  if (!args.quiet)
    net::spawn(runtime.executor(0), show_progress(run, state.finished), "bench progress");
  runtime.run();
  if (state.error) return fail_with(*state.error);
  loadgen::LoadOutcome outcome = run.take_outcome();
  return write_results(args, outcome, plan->seed);
}

void add_bench_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<BenchArgs>();
  CLI::App* cmd = app.add_subcommand("bench", "Open-loop load on an OpenAI endpoint");
  cmd->add_option("--target", args->targets, "URL of the endpoint; several are taken in turn")
      ->required()
      ->delimiter(',');
  cmd->add_option("--workload", args->workload, "Workload file (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  cmd->add_option("--endpoint", args->endpoint, "completions or chat")
      ->check(CLI::IsMember({"completions", "chat"}))
      ->capture_default_str();
  cmd->add_option("--served-model", args->served_model, "Default: the first of /v1/models");
  cmd->add_option("--api-key", args->api_key, "Sent as a bearer token");
  cmd->add_option("--json", args->json, "Write the result JSON here (- for standard output)");
  cmd->add_option("--samples", args->samples,
                  "Write one line per request here (JSON lines; CSV if it ends with .csv)");
  cmd->add_option("--label", args->label, "Name of the run in the result (its \"policy\")")
      ->capture_default_str();
  cmd->add_option("--seed", args->seed, "Default: the workload file's");
  cmd->add_option("--max-requests", args->max_requests, "Override max_requests")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--rate", args->rate_rps, "Override arrivals.rate_rps")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--time-scale", args->time_scale,
                  "Send so much faster; results are scaled back to workload time")
      ->check(CLI::Range(0.001, 10000.0))
      ->capture_default_str();
  cmd->add_option("--timeout", args->timeout_s, "Per request, wall seconds")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  cmd->add_option("--connections", args->connections, "Most connections per target")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  cmd->add_flag("--natural-length", args->natural_length,
                "Only cap the answers: for endpoints without ignore_eos and min_tokens");
  cmd->add_flag("--quiet", args->quiet, "No progress, no table");
  cmd->callback([args, &exit_code] { exit_code = run_bench(*args); });
}

}  // namespace lodestar::app
