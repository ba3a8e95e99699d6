// SPDX-License-Identifier: Apache-2.0
// `lodestar sim --suite FILE`: runs a grid of cells on all cores, resumable.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lodestar::app {

struct SuiteArgs {
  std::string file, json, html;
  std::string cache;                  // folder; empty: the default one
  bool use_cache = true, quiet = false, dry_run = false;
  int jobs = 0;                       // 0: all cores
  std::string budget;                 // "10m"; empty: none
  std::vector<std::string> policies;  // instead of the file's; empty: the file's
  std::vector<std::string> cells;     // parts of names; empty: all
  std::vector<std::string> reuse;     // labels whose cached runs may be another program's
  std::optional<int> seeds;
  std::optional<std::uint64_t> first_seed;
  std::optional<double> jitter;
  std::optional<std::int64_t> max_requests;
};

// Exit code: 0 all runs are there, 1 some are missing, 2 bad input.
int run_suite(const SuiteArgs& args);

// "90", "90s", "10m", "1.5h" in seconds; nothing if it is none of these.
std::optional<double> parse_span_s(const std::string& text);

}  // namespace lodestar::app
