// SPDX-License-Identifier: Apache-2.0
#include "app/serve.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "app/belief_metrics.h"
#include "app/commands.h"
#include "app/learn_metrics.h"
#include "app/learned_state.h"
#include "base/log.h"
#include "control/monitor.h"
#include "policies/catalog.h"
#include "proxy/proxy.h"
#include "proxy/serve_config.h"
#include "telemetry/journal.h"

namespace lodestar::app {
namespace {

constexpr DurationNs kPoll = 20 * kMillisecond;
constexpr DurationNs kFirstLook = 3 * kSecond;  // for the engines to answer once

int fail_with(const std::string& message) {
  fmt::print(stderr, "lodestar serve: {}\n", message);
  return 2;
}

Result<proxy::ServeConfig> load(const ServeArgs& args) {
  proxy::ServeConfig config;
  if (!args.config.empty()) {
    auto read = proxy::read_serve_config(args.config);
    if (!read) return read;
    config = std::move(*read);
  }
  for (const std::string& url : args.engines) config.engines.emplace_back().url = url;
  if (args.listen) config.listen = *args.listen;
  if (args.policy) config.policy = *args.policy;
  if (args.journal) config.journal.path = *args.journal;
  if (args.workers) config.workers = *args.workers;
  const auto listen = proxy::parse_listen(config.listen);
  if (!listen) return std::unexpected(listen.error());
  // Nobody but this machine can reach it: showing where requests go helps and harms
  // nobody.
  if (args.config.empty() && listen->loopback()) config.expose_routing = true;
  return config;
}

Result<std::string> from_environment(const std::string& variable, const char* what) {
  if (variable.empty()) return std::string();
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0')
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the environment variable {} is not set", what, variable));
  return std::string(value);
}

HashKey random_key() {
  HashKey key;
  if (getrandom(&key, sizeof key, 0) != sizeof key) std::abort();  // no entropy, no secrets
  return key;
}

// A header may name a policy but not configure one: each spelling would be a new
// object in the router.
std::string check_policy_name(std::string_view name) {
  for (const CatalogRow& row : catalog())
    if (row.name == name) return {};
  return unknown_policy_message(name);
}

RouterConfig router_config(const proxy::ServeConfig& config, EventSink* sink) {
  RouterConfig out;
  out.seed = config.seed;
  out.policy = config.policy;
  out.policy_by_model = config.policies;
  out.max_attempts = static_cast<std::uint32_t>(config.max_attempts);
  // Sizes the index per instance: about four bytes of text make a token.
  out.prefix_block_tokens = static_cast<double>(config.hash_block_bytes) / 4;
  out.prefix.max_bytes = config.limits.prefix_index_bytes;
  out.sink = sink;
  return out;
}

// The parts of a running router, in the order of their making.
struct Service {
  explicit Service(int workers) : runtime(workers) {}
  // Requests that are cut off still tell the brain when the runtime goes, and the
  // brain the journal.
  std::unique_ptr<telemetry::Journal> journal;
  std::shared_ptr<proxy::ProxyMetrics> metrics = std::make_shared<proxy::ProxyMetrics>();
  PredictionErrors prediction_errors{metrics->registry};
  BeliefLog belief_log;
  std::unique_ptr<StateFile> state_file;
  const TimeNs started = net::now_ns();
  net::Runtime runtime;
  std::shared_ptr<proxy::Brain> brain;
  std::shared_ptr<control::Monitor> monitor;
  std::shared_ptr<proxy::Proxy> proxy;
  std::unique_ptr<net::Server> server;
  bool stopping = false;
  bool cut = false;
};

void print_fleet(const Service& service, const proxy::ServeConfig& config) {
  const auto fleet = service.monitor->status();
  for (const control::EngineStatus& engine : *fleet) {
    std::string models;
    for (const std::string& m : engine.info.served_models)
      models += (models.empty() ? "" : ", ") + m;
    fmt::print("  {:<24} {}  {}\n", engine.name, engine.up ? "up  " : "down",
               engine.up ? fmt::format("{}: {}{}", engines::kind_name(engine.kind), models,
                                       engine.metrics ? "" : " (no metrics: own accounting)")
                         : engine.why);
  }
  fmt::print("  policy {}", config.policy);
  for (const auto& [served_model, policy] : config.policies)
    fmt::print(", {}: {}", served_model, policy);
  fmt::print("\n");
  std::fflush(stdout);
}

net::Task<void> announce(Service& service, const proxy::ServeConfig& config, std::string where) {
  const TimeNs until = net::now_ns() + kFirstLook;
  while (!service.monitor->all_probed() && net::now_ns() < until) co_await net::sleep_for(kPoll);
  co_await net::sleep_for(kPoll);
  fmt::print("lodestar serve: ready at {}/v1  ({} engines)\n", where, config.engines.size());
  print_fleet(service, config);
}

// New requests get 503 while those that run finish; then the sockets close.
net::Task<void> drain(Service& service, DurationNs patience) {
  service.proxy->start_draining();
  const TimeNs until = net::now_ns() + patience;
  while (service.proxy->inflight() > 0 && net::now_ns() < until) co_await net::sleep_for(kPoll);
  service.cut = service.proxy->inflight() > 0;
  service.server->drain(kSecond);
  co_await service.server->drained();
  service.runtime.stop();
}

void on_signal(Service& service, DurationNs patience) {
  if (std::exchange(service.stopping, true)) {
    log_warn("serve", "stopping at once");
    service.cut = service.proxy->inflight() > 0;
    return service.runtime.stop();
  }
  log_info("serve", fmt::format("draining inflight={}", service.proxy->inflight()));
  net::spawn(service.runtime.executor(0), drain(service, patience), "drain");
}

void append_own_metrics(std::string& page, const Service& service) {
  telemetry::TextWriter w(page);
  w.counter("lodestar_trainings_total", "Training runs that ended.",
            service.brain->finished_trainings());
  w.counter("lodestar_trainings_failed_total", "Training runs that gave no predictor.",
            service.brain->failed_trainings());
  const auto fleet = service.monitor->status();
  w.family("lodestar_scrapes_total", "Scrapes of an engine's load.", telemetry::Kind::kCounter);
  for (const auto& e : *fleet) w.sample(e.scrapes, {{"instance", e.name}});
  w.family("lodestar_scrape_failures_total", "Scrapes that told no load.",
           telemetry::Kind::kCounter);
  for (const auto& e : *fleet) w.sample(e.scrape_failures, {{"instance", e.name}});
  if (!service.journal) return;
  w.counter("lodestar_journal_dropped_total", "Records that the decision log had no room for.",
            service.journal->dropped());
  w.counter("lodestar_journal_write_errors_total", "Writes of the decision log that failed.",
            service.journal->write_errors());
}

// Before the runtime runs: the first request already finds what was learned.
void load_learned(Service& service, const proxy::ServeConfig& config) {
  if (config.learning.state_file.empty()) return;
  service.state_file = std::make_unique<StateFile>(config.learning.state_file);
  for (StateLoaded& state : service.state_file->load())
    service.brain->router().handle(net::now_ns(), Event(std::move(state)));
}

// On the brain's thread; the disk is the trainer's.
net::Task<void> keep_saving(Service& service, DurationNs period) {
  while (!service.stopping) {
    co_await net::sleep_for(period);
    service.brain->in_background(
        [&file = *service.state_file, bytes = encode_learned(service.brain->router())] {
          file.save(bytes);
        });
  }
}

Result<void> assemble(Service& service, const proxy::ServeConfig& config) {
  auto targets = proxy::engine_targets(config);
  if (!targets) return std::unexpected(targets.error());
  for (std::size_t i = 0; i < targets->size(); ++i) {
    auto key = from_environment(config.engines[i].api_key_env, (*targets)[i].name.c_str());
    if (!key) return std::unexpected(key.error());
    (*targets)[i].api_key = *key;
  }
  auto token = from_environment(config.admin.token_env, "admin.token_env");
  if (!token) return std::unexpected(token.error());
  RouterConfig wanted = router_config(config, nullptr);
  if (!config.journal.path.empty()) {
    auto journal = telemetry::Journal::open(
        {config.journal.path, config.journal.max_bytes, config.journal.files}, wanted);
    if (!journal) return std::unexpected(journal.error());
    service.journal = std::move(*journal);
    wanted.sink = service.journal.get();
  }
  auto router =
      Router::create(std::move(wanted), [](std::string_view name) { return make_policy(name); });
  if (!router) return std::unexpected(router.error());
  service.brain = std::make_shared<proxy::Brain>(service.runtime, std::move(*router),
                                                 &service.metrics->decision_seconds);
  service.brain->on_outcome(
      [&errors = service.prediction_errors, &repairs = service.belief_log](const Router& live) {
        errors.update(live);
        repairs.update(live);
      });
  load_learned(service, config);
  service.monitor = std::make_shared<control::Monitor>(
      service.runtime.executor(0), *targets, proxy::monitor_options(config),
      [weak = std::weak_ptr<proxy::Brain>(service.brain)](Event event) {
        if (const auto brain = weak.lock()) brain->report(std::move(event));
      });
  proxy::ProxyOptions options =
      proxy::proxy_options(config, proxy::hash_key_of(config, random_key()));
  options.admin_token = *token;
  service.proxy = std::make_shared<proxy::Proxy>(
      service.runtime, std::move(options), std::move(*targets), service.brain, service.monitor,
      service.metrics, check_policy_name);
  service.proxy->on_render([&service](std::string& page, const Router& live) {
    append_own_metrics(page, service);
    append_learn_metrics(page, live, net::now_ns(), service.started);
    if (service.state_file) service.state_file->append_metrics(page, net::now_ns());
    append_belief_metrics(page, live);
  });
  const auto listen = proxy::parse_listen(config.listen);
  auto server = net::Server::listen(service.runtime, proxy::server_options(config, *listen),
                                    service.proxy->handler());
  if (!server) return std::unexpected(server.error());
  service.server = std::move(*server);
  return {};
}

std::string url_of(const proxy::ServeConfig& config, std::uint16_t port) {
  const std::string address = proxy::parse_listen(config.listen)->address;
  if (address == "0.0.0.0" || address == "::") return fmt::format("http://127.0.0.1:{}", port);
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

}  // namespace

int run_serve(const ServeArgs& args) {
  auto config = load(args);
  if (!config) return fail_with(config.error().message);
  if (config->engines.empty())
    return fail_with("name the engines: --engine URL (more than once), or --config FILE");
  for (const auto& [served_model, policy] : config->policies)
    if (auto made = make_policy(policy); !made)
      return fail_with(fmt::format("policies.{}: {}", served_model, made.error().message));
  if (args.check_config) {
    auto made = make_policy(config->policy);
    if (!made) return fail_with("policy: " + made.error().message);
    fmt::print("lodestar serve: the configuration is valid ({} engines)\n", config->engines.size());
    return 0;
  }
  Service service(config->workers);
  if (auto ok = assemble(service, *config); !ok) return fail_with(ok.error().message);
  const DurationNs patience = from_ms(config->timeouts.drain_ms);
  service.runtime.on_shutdown_signal([&](int) { on_signal(service, patience); });
  const net::Executor main = service.runtime.executor(0);
  net::post(main, [&] { service.monitor->start(); });
  net::spawn(main, announce(service, *config, url_of(*config, service.server->port())), "announce");
  if (service.state_file)
    net::spawn(main, keep_saving(service, from_s(config->learning.save_every_s)), "save state");
  service.runtime.run();
  if (service.state_file)
    service.state_file->save(encode_learned(service.brain->router()), /*last=*/true);
  return service.cut ? 1 : 0;
}

void add_serve_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<ServeArgs>();
  CLI::App* cmd =
      app.add_subcommand("serve", "The router: an OpenAI-compatible proxy over engines");
  cmd->add_option("--config", args->config, "Configuration file (YAML)")->check(CLI::ExistingFile);
  cmd->add_option("--engine", args->engines, "URL of an engine; may be given many times");
  cmd->add_option("--listen", args->listen, "host:port (default 127.0.0.1:8080)");
  cmd->add_option("--policy", args->policy, "Policy for every served model without its own");
  cmd->add_option("--workers", args->workers, "I/O threads")->check(CLI::Range(1, 256));
  cmd->add_option("--journal", args->journal, "Write the decision log to this file");
  cmd->add_flag("--check-config", args->check_config, "Check the configuration and end");
  cmd->callback([args, &exit_code] { exit_code = run_serve(*args); });
}

}  // namespace lodestar::app
