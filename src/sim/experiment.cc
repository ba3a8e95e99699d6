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
  if (names_oracle(name) && world != nullptr) {
    const auto noise = oracle_noise(name);
    if (!noise) return std::unexpected(noise.error());
    return make_oracle(*world, *noise);
  }
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
  if (names_oracle(policy)) {
    const auto noise = oracle_noise(policy);
    if (!noise) return std::unexpected(noise.error());
    return {};
  }
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
  config.view = cluster.view;
  config.replicas = cluster.replicas;
  config.split = cluster.split;
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
  auto world = World::create(
      std::move(config), Workload(spec.plan),
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

}  // namespace lodestar::sim
