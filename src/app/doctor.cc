// SPDX-License-Identifier: Apache-2.0
#include "app/doctor.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "app/commands.h"
#include "control/monitor.h"
#include "policies/catalog.h"
#include "proxy/serve_config.h"
#include "routing/filters.h"
#include "routing/router.h"

namespace lodestar::app {
namespace {

int fail_with(const std::string& message) {
  fmt::print(stderr, "lodestar doctor: {}\n", message);
  return 2;
}

net::Task<void> look(net::Runtime& runtime, const control::Monitor& monitor, DurationNs patience) {
  const TimeNs until = net::now_ns() + patience;
  bool settled = false;
  while (!settled && net::now_ns() < until) {
    co_await net::sleep_for(50 * kMillisecond);
    const auto fleet = monitor.status();
    settled = true;
    for (const auto& engine : *fleet) settled = settled && engine.up && engine.metrics;
  }
  runtime.stop();
}

// Problems that do not need an engine to see.
int check_policies(const proxy::ServeConfig& config) {
  int problems = 0;
  std::map<std::string, std::string> wanted = config.policies;
  wanted.emplace("(default)", config.policy);
  for (const auto& [served_model, policy] : wanted) {
    if (auto made = make_policy(policy); !made) {
      fmt::print("problem  policy of {}: {}\n", served_model, made.error().message);
      ++problems;
    }
  }
  for (const proxy::EngineEntry& e : config.engines) {
    if (e.api_key_env.empty() || std::getenv(e.api_key_env.c_str()) != nullptr) continue;
    fmt::print("problem  {}: the environment variable {} is not set\n", e.url, e.api_key_env);
    ++problems;
  }
  return problems;
}

int print_engine(const control::EngineStatus& e, const Router& router) {
  const Fleet::Slot slot = router.fleet().find(e.id);
  std::string why = "unknown to the router";
  bool candidate = false;
  if (slot != Fleet::kNoSlot) {
    RequestInfo request;
    const InstanceState& state = router.fleet().at(slot);
    if (!state.info.served_models.empty()) request.served_model = state.info.served_models.front();
    const Exclusion exclusion_of = exclusion(request, state);
    candidate = exclusion_of == Exclusion::kNone;
    why = exclusion_text(exclusion_of);
  }
  fmt::print("{}  {} at {}\n", candidate ? "ok      " : "problem ", e.name, e.url);
  if (!candidate)
    fmt::print("           not a candidate: {}{}{}\n", why, e.why.empty() ? "" : ": ", e.why);
  if (!e.up) return 1;
  for (const std::string& m : e.info.served_models) fmt::print("           serves {}\n", m);
  fmt::print("           engine {}, context {}, KV cache {}, prefix caching {}\n",
             engines::kind_name(e.kind),
             e.info.max_model_len > 0 ? fmt::format("{} tokens", e.info.max_model_len) : "unknown",
             e.info.kv_capacity_tokens > 0 ? fmt::format("{} tokens", e.info.kv_capacity_tokens)
                                           : "unknown",
             e.info.prefix_caching ? "on" : "off");
  if (!e.metrics)
    fmt::print("           note: its load is unknown ({}); the router's own accounting stands in\n",
               e.why.empty() ? "no metrics" : e.why);
  return candidate ? 0 : 1;
}

int report(const control::Monitor& monitor, const Router& router,
           const proxy::ServeConfig& config) {
  int problems = 0;
  std::set<std::string> served;
  const auto fleet = monitor.status();
  for (const control::EngineStatus& engine : *fleet) {
    problems += print_engine(engine, router);
    if (engine.up)
      served.insert(engine.info.served_models.begin(), engine.info.served_models.end());
  }
  for (const auto& [served_model, policy] : config.policies) {
    if (served.contains(served_model)) continue;
    fmt::print("problem  policies: no engine serves {}\n", served_model);
    ++problems;
  }
  return problems;
}

}  // namespace

int run_doctor(const DoctorArgs& args) {
  proxy::ServeConfig config;
  if (!args.config.empty()) {
    auto read = proxy::read_serve_config(args.config);
    if (!read) return fail_with(read.error().message);
    config = std::move(*read);
  }
  for (const std::string& url : args.engines) config.engines.emplace_back().url = url;
  auto targets = proxy::engine_targets(config);
  if (!targets) return fail_with(targets.error().message);
  for (std::size_t i = 0; i < targets->size(); ++i)
    if (const char* key = std::getenv(config.engines[i].api_key_env.c_str()))
      (*targets)[i].api_key = key;
  int problems = check_policies(config);
  // The same router and the same filters as in service: its answer, not a guess.
  RouterConfig router_config;
  router_config.policy = "least-request";
  auto router =
      Router::create(router_config, [](std::string_view name) { return make_policy(name); });
  if (!router) return fail_with(router.error().message);
  net::Runtime runtime(1);
  control::Monitor monitor(runtime.executor(0), std::move(*targets), proxy::monitor_options(config),
                           [&](Event event) { (void)(*router)->handle(net::now_ns(), event); });
  net::post(runtime.executor(0), [&] { monitor.start(); });
  net::spawn(runtime.executor(0), look(runtime, monitor, from_s(args.wait_s)), "doctor");
  runtime.run();
  problems += report(monitor, **router, config);
  fmt::print("{}\n",
             problems == 0 ? "no problems found" : fmt::format("{} problem(s) found", problems));
  return problems == 0 ? 0 : 1;
}

void add_doctor_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<DoctorArgs>();
  CLI::App* cmd =
      app.add_subcommand("doctor", "Says what is misconfigured and why an engine is no candidate");
  cmd->add_option("--config", args->config, "Configuration file of serve")
      ->check(CLI::ExistingFile);
  cmd->add_option("--engine", args->engines, "URL of an engine; may be given many times");
  cmd->add_option("--wait", args->wait_s, "Seconds to wait for the engines")
      ->check(CLI::PositiveNumber);
  cmd->callback([args, &exit_code] { exit_code = run_doctor(*args); });
}

}  // namespace lodestar::app
