// SPDX-License-Identifier: Apache-2.0
// Runs every policy of the catalog through the scenarios of its folder and
// writes every number that came out as JSON. tools/determinism builds it with
// several compilers and x86-64 levels and compares the outputs.
//   determinism_run FOLDER SEEDS SCENARIO...  > results.json
#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/math.h"
#include "base/rng.h"
#include "sim/cluster_file.h"
#include "sim/experiment.h"
#include "sim/result.h"
#include "sim/workload_plan.h"
#include "sim/workload_spec.h"

namespace lodestar {
namespace {
using Json = nlohmann::ordered_json;

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

// The functions that everything else stands on, over a wide range of arguments.
Json base_cell() {
  Rng rng(20240601);
  std::uint64_t maths = 0, draws = 0;
  for (int i = 0; i < 200'000; ++i) {
    const double x = (rng.uniform() - 0.5) * 1400;
    const double y = det_exp(rng.uniform() * 80 - 40);
    maths = hash_combine(maths, bits(det_exp(x)));
    maths = hash_combine(maths, bits(det_log(y)));
    maths = hash_combine(maths, bits(det_pow(y, rng.uniform() * 6 - 3)));
    draws = hash_combine(draws, bits(rng.normal()));
    draws = hash_combine(draws, bits(rng.gamma(0.3 + rng.uniform() * 4, 2)));
    draws = hash_combine(draws, bits(rng.exponential(3)));
    draws = hash_combine(draws, rng.below(1 + static_cast<std::uint64_t>(i)));
  }
  return Json{{"policy", "base"},
              {"seed", 1},
              {"maths", fmt::format("{:016x}", maths)},
              {"draws", fmt::format("{:016x}", draws)},
              {"state_hash", fmt::format("{:016x}", rng.state_hash())}};
}

// Every record of a run, so that two runs cannot differ and look the same.
std::string records_hash(const std::vector<sim::RequestRecord>& records) {
  std::uint64_t h = records.size();
  for (const sim::RequestRecord& r : records) {
    for (std::uint64_t v :
         {static_cast<std::uint64_t>(r.arrival), static_cast<std::uint64_t>(r.first_token),
          static_cast<std::uint64_t>(r.last_token), static_cast<std::uint64_t>(r.cached_tokens),
          static_cast<std::uint64_t>(r.instance), static_cast<std::uint64_t>(r.attempts),
          static_cast<std::uint64_t>(r.failed)})
      h = hash_combine(h, v);
  }
  return fmt::format("{:016x}", h);
}

template <class T>
T take(Result<T> result, const std::string& what) {
  if (!result) {
    fmt::print(stderr, "determinism_run: {}: {}\n", what, result.error().message);
    std::exit(2);
  }
  return std::move(*result);
}

void run_scenario(const std::string& folder, const std::string& name, std::uint64_t seeds,
                  Json& cells) {
  const std::string path = folder + "/" + name;
  const auto cluster =
      std::make_shared<const sim::Cluster>(take(sim::load_cluster(path + ".cluster.yaml"), name));
  const sim::WorkloadSpec spec = take(sim::load_workload(path + ".workload.yaml"), name);
  const auto trace = take(sim::load_trace_of(spec), name);
  for (std::uint64_t seed = spec.seed; seed < spec.seed + seeds; ++seed) {
    const auto plan = take(sim::make_plan(spec, trace.get(), seed), name);
    for (const std::string_view policy : sim::policy_names()) {
      const auto outcome = take(sim::run_cell({.cluster = cluster,
                                               .plan = plan,
                                               .policy = std::string(policy),
                                               .seed = seed,
                                               .wall_ns = {},
                                               .progress = {}}),
                                fmt::format("{} with {}", name, policy));
      Json cell = Json::parse(sim::to_json({outcome.result}))["cells"][0];
      cell.erase("decision_us");  // wall-clock time
      cell.erase("wall_s");
      cell["scenario"] = name;
      cell["records_hash"] = records_hash(outcome.records);
      cells.push_back(std::move(cell));
    }
  }
}
}  // namespace
}  // namespace lodestar

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: determinism_run FOLDER SEEDS SCENARIO...\n");
    return 2;
  }
  lodestar::Json cells = lodestar::Json::array();
  cells.push_back(lodestar::base_cell());
  for (int i = 3; i < argc; ++i)
    lodestar::run_scenario(argv[1], argv[i], std::strtoull(argv[2], nullptr, 10), cells);
  fmt::print("{}\n", lodestar::Json{{"cells", cells}}.dump(1));
  return 0;
}
