// SPDX-License-Identifier: Apache-2.0
// `lodestar bench`: open-loop load on an OpenAI endpoint.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lodestar::app {

struct BenchArgs {
  std::vector<std::string> targets;  // URLs; several are taken in turn
  std::string workload;
  std::string endpoint = "completions";  // or chat
  std::string served_model;   // empty: the first of /v1/models
  std::string api_key;
  std::string json, samples;  // files; json "-" is standard output
  std::string label = "bench";  // the result's "policy"
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> max_requests;
  std::optional<double> rate_rps;
  double time_scale = 1;
  double timeout_s = 600;
  std::uint64_t connections = 16'384;
  bool natural_length = false, quiet = false;
};

// Exit code: 0; 1 when requests failed or the run was stopped; 2 for bad input.
int run_bench(const BenchArgs& args);

}  // namespace lodestar::app
