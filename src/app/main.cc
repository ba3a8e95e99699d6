// SPDX-License-Identifier: Apache-2.0
// `lodestar`: the one binary. Each subcommand is registered here, explicitly.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "app/commands.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Lodestar routes LLM inference requests over a fleet of engines and learns while it serves.\n"
      "Try `make demo`, or `lodestar serve --engine http://host:8000 --engine http://host:8001`.",
      "lodestar"};
  app.set_version_flag("--version", LODESTAR_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  int exit_code = 0;
  lodestar::app::add_serve_command(app, exit_code);
  lodestar::app::add_engine_command(app, exit_code);
  lodestar::app::add_sim_command(app, exit_code);
  lodestar::app::add_bench_command(app, exit_code);
  lodestar::app::add_report_command(app, exit_code);
  lodestar::app::add_replay_command(app, exit_code);
  lodestar::app::add_doctor_command(app, exit_code);
  lodestar::app::add_config_docs_command(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lodestar: %s\n", error.what());
    return 70;
  }
  return exit_code;
}
