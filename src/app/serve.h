// SPDX-License-Identifier: Apache-2.0
// `lodestar serve`: the live router as a process.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace lodestar::app {

struct ServeArgs {
  std::string config;                // file; or:
  std::vector<std::string> engines;  // URLs, for a start without configuration
  std::optional<std::string> listen, policy, journal;
  std::optional<int> workers;
  bool check_config = false;         // read, check, say so, end
};

// Serves until SIGTERM or SIGINT. Exit code: 0; 1 when requests were cut off at the
// end of the drain time; 2 when it could not start.
int run_serve(const ServeArgs& args);

}  // namespace lodestar::app
