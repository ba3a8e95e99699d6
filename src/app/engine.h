// SPDX-License-Identifier: Apache-2.0
// `lodestar engine`: one emulated vLLM engine as a process.
#pragma once
#include <cstdint>
#include <string>

#include "emulator/engine_setup.h"

namespace lodestar::app {

struct EngineArgs {
  emulator::EngineChoice choice;
  std::string host = "127.0.0.1";
  std::uint16_t port = 9000;  // 0: any free one, see the ready line
  double time_scale = 1;
  std::int64_t stream_interval = 1;
  bool no_prompt_tokens_details = false;
  bool request_id_headers = false;
  std::int64_t fail_after = 0;
  std::int64_t seed = 0;  // 0: from the engine's place in the cluster
};

// Serves until SIGINT or SIGTERM. Exit code: 0, or 2 when it could not start.
int run_engine(const EngineArgs& args);

}  // namespace lodestar::app
