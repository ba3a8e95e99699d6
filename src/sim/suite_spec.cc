// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "policies/catalog.h"
#include "sim/experiment.h"

namespace lodestar::sim {
namespace {

bool has_label(const std::vector<SuitePolicy>& policies, const std::string& label) {
  return std::any_of(policies.begin(), policies.end(),
                     [&](const SuitePolicy& p) { return p.label == label; });
}

// A label of `known`, or else a policy in its own right.
SuitePolicy by_label(const std::vector<SuitePolicy>& known, const std::string& label) {
  for (const SuitePolicy& policy : known)
    if (policy.label == label) return policy;
  return {label, label};
}

// "" or what is wrong.
std::string complete_policies(const SuiteSpec& suite, std::vector<SuitePolicy>& policies) {
  if (!has_label(policies, suite.baseline))
    policies.insert(policies.begin(), by_label(suite.policies, suite.baseline));
  if (suite.reference && !has_label(policies, *suite.reference))
    policies.push_back(by_label(suite.policies, *suite.reference));
  for (std::size_t i = 0; i < policies.size(); ++i) {
    if (auto ok = check_policy(policies[i].policy); !ok) return ok.error().message;
    for (std::size_t j = 0; j < i; ++j)
      if (policies[j].label == policies[i].label)
        return fmt::format("policy \"{}\" is listed twice; give one of them another label",
                           policies[i].label);
  }
  return "";
}

std::string complete_cell(const SuiteSpec& suite, SuiteCell& cell) {
  const auto stem = [](const std::string& file) {
    return std::filesystem::path(file).stem().string();
  };
  if (cell.name.empty()) cell.name = stem(cell.cluster) + " " + stem(cell.workload);
  if (cell.loads.empty() && cell.rates_rps.empty() && cell.sustainable_rps)
    cell.loads = suite.loads;
  if (cell.sustainable_rps && cell.loads.empty())
    return fmt::format("{}: sustainable_rps needs loads, here or for the whole suite", cell.name);
  if (cell.policies.empty()) cell.policies = suite.policies;
  if (!cell.jitter) cell.jitter = suite.jitter;
  if (!cell.max_requests && !cell.requests_per_engine) cell.max_requests = suite.max_requests;
  if (!cell.warmup_requests) cell.warmup_requests = suite.warmup_requests;
  if (!cell.seeds) cell.seeds = suite.seeds;
  if (!cell.seeds->first) cell.seeds->first = suite.seeds.first;
  for (auto* loads : {&cell.loads, &cell.rates_rps})
    for (SuiteLoad& load : *loads)
      if (load.seeds && !load.seeds->first) load.seeds->first = cell.seeds->first;
  const std::string wrong = complete_policies(suite, cell.policies);
  return wrong.empty() ? "" : fmt::format("{}: {}", cell.name, wrong);
}

}  // namespace

Result<SuiteSpec> parse_suite(const std::string& text, const std::string& name,
                              const std::string& base_dir) {
  auto node = config::parse_yaml(text, name);
  if (!node) return std::unexpected(node.error());
  SuiteSpec suite;
  if (auto ok = suite_schema().parse(*node, suite); !ok) return std::unexpected(ok.error());
  suite.base_dir = base_dir;
  if (!suite.seeds.first) suite.seeds.first = 1;
  if (suite.name.empty()) suite.name = std::filesystem::path(name).stem().string();
  if (suite.policies.empty()) return config::fail_at(*node, "policies", "is empty");
  if (suite.cells.empty()) return config::fail_at(*node, "cells", "is empty");
  for (const std::string& label : suite.best_of)
    if (!has_label(suite.policies, label))
      return config::fail_at(*node, "best_of",
                             fmt::format("\"{}\" is not one of the suite's policies", label));
  const config::Node& cells = *node->find("cells");
  for (std::size_t i = 0; i < suite.cells.size(); ++i) {
    std::string wrong = complete_cell(suite, suite.cells[i]);
    for (std::size_t j = 0; wrong.empty() && j < i; ++j)
      if (suite.cells[j].name == suite.cells[i].name)
        wrong = fmt::format("a second cell is called \"{}\"; give it a name", suite.cells[i].name);
    if (!wrong.empty())
      return config::fail_at(cells.items[i], config::item_path("cells", i), wrong);
  }
  return suite;
}

Result<SuiteSpec> load_suite(const std::string& path) {
  auto text = config::read_yaml_text(path);
  if (!text) return std::unexpected(text.error());
  return parse_suite(*text, path, std::filesystem::path(path).parent_path().string());
}

Result<void> replace_policies(SuiteSpec& suite, const std::vector<std::string>& policies) {
  std::vector<SuitePolicy> wanted;
  for (const std::string& text : policies) {
    SuitePolicy policy{text, text};
    // A label of the file stands for what it means there.
    for (const SuiteCell& cell : suite.cells)
      if (has_label(cell.policies, text)) policy = by_label(cell.policies, text);
    wanted.push_back(std::move(policy));
  }
  for (SuiteCell& cell : suite.cells) {
    std::vector<SuitePolicy> mine = wanted;
    if (const std::string wrong = complete_policies(suite, mine); !wrong.empty())
      return fail(ErrorCode::kInvalidArgument, wrong);
    cell.policies = std::move(mine);
  }
  std::erase_if(suite.best_of, [&](const std::string& label) { return !has_label(wanted, label); });
  return {};
}

}  // namespace lodestar::sim
