// SPDX-License-Identifier: Apache-2.0
// Each adds its subcommand to the command line; when chosen, it runs and stores
// the process's exit code (0 done, 1 done with failures, 2 bad input).
#pragma once

namespace CLI {
class App;
}

namespace lodestar::app {

void add_serve_command(CLI::App& app, int& exit_code);
void add_engine_command(CLI::App& app, int& exit_code);
void add_sim_command(CLI::App& app, int& exit_code);
void add_bench_command(CLI::App& app, int& exit_code);
void add_report_command(CLI::App& app, int& exit_code);
void add_replay_command(CLI::App& app, int& exit_code);
void add_doctor_command(CLI::App& app, int& exit_code);
void add_config_docs_command(CLI::App& app, int& exit_code);

}  // namespace lodestar::app
