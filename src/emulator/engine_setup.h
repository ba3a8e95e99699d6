// SPDX-License-Identifier: Apache-2.0
// From a cluster file, or a few names, to the options of one emulated engine.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "emulator/engine_server.h"

namespace lodestar::emulator {

struct EngineChoice {
  std::string config;    // a cluster file, or a file with one group's keys at top level
  std::optional<std::int64_t> group;     // which group of the file (default 0)
  std::optional<std::int64_t> instance;  // or which engine of the whole cluster
  std::string gpu;           // without a file
  std::string served_model;  // without a file: a preset; with one: the name shown to clients
};

// Fills engine and served_model. Errors name the file and line, or what is missing.
Result<EngineServerOptions> load_engine(const EngineChoice& choice);

}  // namespace lodestar::emulator
