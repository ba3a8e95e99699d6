// SPDX-License-Identifier: Apache-2.0
// `lodestar config-docs`: docs/config.md, from the declarations that also parse the
// files. A test compares the committed page with what this prints.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/commands.h"
#include "config/docs.h"
#include "proxy/serve_config.h"
#include "sim/cluster_file.h"
#include "sim/cluster_file_spec.h"
#include "sim/suite_spec.h"
#include "sim/workload_spec.h"

namespace lodestar::app {

void add_config_docs_command(CLI::App& app, int& exit_code) {
  CLI::App* cmd = app.add_subcommand("config-docs",
                                     "Print the reference of all configuration files (Markdown)");
  cmd->callback([&exit_code] {
    fmt::print(
        "# Configuration files\n\nWritten by `lodestar config-docs`; do not edit. Unknown keys are "
        "errors.\n\n"
        "{}\n{}\n{}\n{}",
        config::to_markdown(proxy::serve_schema()), config::to_markdown(sim::cluster_schema()),
        config::to_markdown(sim::workload_schema()), config::to_markdown(sim::suite_schema()));
    exit_code = 0;
  });
}

}  // namespace lodestar::app
