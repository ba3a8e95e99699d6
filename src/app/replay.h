// SPDX-License-Identifier: Apache-2.0
// `lodestar replay`: the decisions of a decision log, made again.
#pragma once
#include <optional>
#include <string>

namespace lodestar::app {

struct ReplayArgs {
  std::string log;                    // a file that begins with record 0
  std::optional<std::string> policy;  // another policy: counts what it decides otherwise
};

// Exit code: 0 when every decision came out the same (or another policy was asked
// for), 1 when one did not (the first is printed), 2 for a log that cannot be used.
int run_replay(const ReplayArgs& args);

}  // namespace lodestar::app
