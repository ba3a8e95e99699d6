// SPDX-License-Identifier: Apache-2.0
// `lodestar doctor`: what is misconfigured, and why an instance is not a candidate.
#pragma once
#include <string>
#include <vector>

namespace lodestar::app {

struct DoctorArgs {
  std::string config;                // file, or:
  std::vector<std::string> engines;  // URLs
  double wait_s = 3;                 // for the engines to answer
};

// Exit code: 0 when every engine is a candidate, 1 when one is not, 2 when the
// configuration cannot be used.
int run_doctor(const DoctorArgs& args);

}  // namespace lodestar::app
