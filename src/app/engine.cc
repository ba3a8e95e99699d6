// SPDX-License-Identifier: Apache-2.0
#include "app/engine.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/commands.h"
#include "app/file_limit.h"

namespace lodestar::app {
namespace {

constexpr DurationNs kDrainPatience = 5 * kSecond;

net::Task<void> stop_when_drained(emulator::EngineServer& server, net::Runtime& runtime) {
  co_await server.drained();
  runtime.stop();
}

int fail_with(const Error& error) {
  fmt::print(stderr, "lodestar engine: {}\n", error.message);
  return 2;
}

}  // namespace

int run_engine(const EngineArgs& args) {
  auto options = emulator::load_engine(args.choice);
  if (!options) return fail_with(options.error());
  options->address = args.host;
  options->port = args.port;
  options->time_scale = args.time_scale;
  options->stream_interval = args.stream_interval;
  options->prompt_tokens_details = !args.no_prompt_tokens_details;
  options->request_id_headers = args.request_id_headers;
  options->fail_after = args.fail_after;
  if (args.seed > 0) options->seed = static_cast<std::uint64_t>(args.seed);

  raise_file_limit();
  net::Runtime runtime(1);
  auto server = emulator::EngineServer::start(runtime, *options);
  if (!server) return fail_with(server.error());
  bool draining = false;
  runtime.on_shutdown_signal([&](int) {
    if (std::exchange(draining, true)) return runtime.stop();  // asked twice: now
    (*server)->drain(kDrainPatience);
    net::spawn(runtime.executor(0), stop_when_drained(**server, runtime), "engine shutdown");
  });
  const bool v6 = args.host.find(':') != std::string::npos;
  fmt::print("lodestar engine: {} on {} ready at http://{}{}{}:{} (kv {} tokens, context {}{})\n",
             options->served_model, options->engine.info.hardware, v6 ? "[" : "", args.host,
             v6 ? "]" : "", (*server)->port(), options->engine.config.kv_capacity_tokens,
             (*server)->max_model_len(),
             args.time_scale == 1 ? "" : fmt::format(", time x{}", args.time_scale));
  std::fflush(stdout);
  runtime.run();
  return 0;
}

void add_engine_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<EngineArgs>();
  CLI::App* cmd = app.add_subcommand("engine", "An emulated vLLM engine in real time");
  auto& choice = args->choice;
  cmd->add_option("--config", choice.config, "Cluster file, or a file with one group's keys")
      ->check(CLI::ExistingFile);
  cmd->add_option("--group", choice.group, "Which group of the cluster file, from 0 (default 0)");
  cmd->add_option("--instance", choice.instance, "Or which engine of the whole cluster, from 0");
  cmd->add_option("--gpu", choice.gpu, "Without a file: a GPU preset, such as a30");
  cmd->add_option("--served-model", choice.served_model,
                  "Without a file: a served-model preset; with one: the name that clients use");
  cmd->add_option("--host", args->host, "Address to listen on")->capture_default_str();
  cmd->add_option("--port", args->port, "Port to listen on; 0 takes a free one")
      ->capture_default_str();
  cmd->add_option("--time-scale", args->time_scale, "Engine seconds per wall second")
      ->check(CLI::Range(0.001, 10000.0))
      ->capture_default_str();
  cmd->add_option("--stream-interval", args->stream_interval, "Tokens per streamed chunk")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  cmd->add_flag("--no-prompt-tokens-details", args->no_prompt_tokens_details,
                "Leave cached_tokens out of usage");
  cmd->add_flag("--enable-request-id-headers", args->request_id_headers,
                "Answer with X-Request-Id");
  cmd->add_option("--fail-after", args->fail_after, "Die at the request after so many (tests)")
      ->check(CLI::NonNegativeNumber);
  cmd->add_option("--seed", args->seed, "Seed of step jitter")->check(CLI::PositiveNumber);
  cmd->callback([args, &exit_code] { exit_code = run_engine(*args); });
}

}  // namespace lodestar::app
