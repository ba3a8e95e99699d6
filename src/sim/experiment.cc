// SPDX-License-Identifier: Apache-2.0
#include "sim/experiment.h"

#include <array>
#include <utility>

#include "policies/catalog.h"
#include "sim/oracle.h"
#include "sim/world.h"

namespace lodestar::sim {
namespace {
constexpr std::array<std::string_view, 1> kSimulatorOnly = {"oracle"};

Result<std::unique_ptr<Policy>> make_any_policy(std::string_view name, const World* world) {
  if (name == "oracle" && world != nullptr) return make_oracle(*world);
  auto made = make_policy(name);
  if (!made && made.error().code == ErrorCode::kNotFound)
    return fail(ErrorCode::kNotFound, unknown_policy_message(name, kSimulatorOnly));
  return made;
}
}  // namespace

std::vector<std::string_view> policy_names() {
  std::vector<std::string_view> names;
  for (const CatalogRow& row : catalog()) names.push_back(row.name);
  names.insert(names.end(), kSimulatorOnly.begin(), kSimulatorOnly.end());
  return names;
}

Result<void> check_policy(std::string_view policy) {
  if (policy == "oracle") return {};
  auto made = make_any_policy(policy, nullptr);
  if (!made) return std::unexpected(made.error());
  return {};
}

WorldConfig world_config(const Cluster& cluster) {
  WorldConfig config;
  config.engines = cluster.engines;
  config.scrape_period = cluster.scrape_period;
  config.scrape_delay = cluster.scrape_delay;
  config.scrape_loss = cluster.scrape_loss;
  config.network_delay = cluster.network_delay;
  if (!cluster.served_model.empty()) config.served_model = cluster.served_model;
  return config;
}

Result<CellOutcome> run_cell(const CellSpec& spec) {
  WorldConfig config = world_config(*spec.cluster);
  config.seed = spec.seed;
  config.router.policy = spec.policy;
  config.wall_ns = spec.wall_ns;
  config.progress = spec.progress;
  const std::uint64_t begin = spec.wall_ns ? spec.wall_ns() : 0;
  // The oracle reads the world that it routes for; the world makes its router,
  // and so its policies, while it is being created: hence the detour.
  auto self = std::make_shared<const World*>(nullptr);
  auto world = World::create(std::move(config), Workload(spec.plan),
                             [self](std::string_view name) -> Result<std::unique_ptr<Policy>> {
                               return make_any_policy(name, *self);
                             },
                             [self](const World* w) { *self = w; });
  if (!world) return std::unexpected(world.error());
  (*world)->run();
  CellOutcome outcome{(*world)->result(), (*world)->records()};
  outcome.result.policy = spec.policy;
  if (spec.wall_ns) outcome.result.wall_s = static_cast<double>(spec.wall_ns() - begin) * 1e-9;
  return outcome;
}

ReportRun to_report_run(const CellOutcome& outcome) {
  const CellResult& cell = outcome.result;
  ReportRun run;
  run.policy = cell.policy;
  run.seed = cell.seed;
  for (const InstanceResult& i : cell.instances) run.instances.push_back({i.name, ""});
  for (const RequestRecord& r : outcome.records) {
    if (!r.counted) continue;
    ReportSample s;
    s.arrival_s = to_s(r.arrival);
    s.instance = r.instance;
    s.fallback = r.fallback;
    s.failed = r.failed || r.last_token == kNever;
    if (r.first_token != kNever) s.ttft_ms = to_ms(r.first_token - r.arrival);
    if (r.last_token != kNever) s.e2e_ms = to_ms(r.last_token - r.arrival);
    if (r.last_token != kNever && r.first_token != kNever && r.output_tokens > 1)
      s.tpot_ms = to_ms(r.last_token - r.first_token) / static_cast<double>(r.output_tokens - 1);
    if (r.cached_tokens >= 0 && r.prompt_tokens > 0)
      s.hit_fraction = static_cast<double>(r.cached_tokens) / static_cast<double>(r.prompt_tokens);
    run.samples.push_back(s);
  }
  if (cell.first_predictor_s) run.markers.push_back({*cell.first_predictor_s, "first predictor"});
  run.summary.prefix_hit_ratio = cell.prefix_hit_ratio.value_or(kNotMeasured);
  run.summary.output_tokens_per_s = cell.output_tokens_per_s.value_or(kNotMeasured);
  run.summary.slo_attainment = cell.slo_attainment.value_or(kNotMeasured);
  run.summary.decision_us_p50 = cell.decision_us.p50.value_or(kNotMeasured);
  run.summary.decision_us_p99 = cell.decision_us.p99.value_or(kNotMeasured);
  return run;
}

}  // namespace lodestar::sim
