// SPDX-License-Identifier: Apache-2.0
#include "emulator/engine_setup.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/node.h"
#include "sim/cluster_file.h"

namespace lodestar::emulator {
namespace {

constexpr const char* kDefaultServedModel = "llama-3.1-8b";

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return fail(ErrorCode::kNotFound, fmt::format("cannot read {}", path));
  return text.str();
}

// A group's keys at top level become the one group of a cluster. The added line
// takes the place of a leading comment or blank line, so that the lines in error
// messages stay right.
std::string as_cluster(const std::string& text) {
  std::istringstream lines(text);
  std::string line, out = "groups:\n";
  bool first = true, dash = true;
  while (std::getline(lines, line)) {
    const bool empty = line.find_first_not_of(" \t\r") == std::string::npos || line[0] == '#' ||
                       line.starts_with("---");
    if (first && empty) {
      first = false;
      continue;
    }
    first = false;
    out += empty ? "" : dash ? "- " + line : "  " + line;
    if (!empty) dash = false;
    out += '\n';
  }
  return out;
}

// The place of the group's first engine in the cluster's list.
Result<std::size_t> first_of_group(const config::Node& root, std::int64_t group) {
  const config::Node* groups = root.find("groups");
  const std::size_t count = groups == nullptr ? 1 : groups->items.size();
  if (group < 0 || static_cast<std::size_t>(group) >= count)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--group {}: the file has {} group{}, counted from 0", group, count,
                            count == 1 ? "" : "s"));
  std::size_t at = 0;
  for (std::size_t i = 0; groups != nullptr && i < static_cast<std::size_t>(group); ++i) {
    const config::Node* size = groups->items[i].find("count");
    std::size_t engines = 1;
    if (size != nullptr)
      std::from_chars(size->scalar.data(), size->scalar.data() + size->scalar.size(), engines);
    at += engines;
  }
  return at;
}

Result<sim::Cluster> load(const EngineChoice& choice, std::size_t& at) {
  if (choice.config.empty()) {
    if (choice.gpu.empty())
      return fail(ErrorCode::kInvalidArgument,
                  "say which engine: --config FILE, or --gpu NAME (and --served-model NAME)");
    const std::string served =
        choice.served_model.empty() ? kDefaultServedModel : choice.served_model;
    return sim::parse_cluster(
        fmt::format("groups:\n- {{count: 1, gpu: \"{}\", served_model: \"{}\"}}\n", choice.gpu,
                    served),
        "command line", ".");
  }
  auto text = read_file(choice.config);
  if (!text) return std::unexpected(text.error());
  auto root = config::parse_yaml(*text, choice.config);
  if (!root) return std::unexpected(root.error());
  if (root->kind == config::Node::Kind::kMap && root->find("groups") == nullptr &&
      root->find("router") == nullptr)
    *text = as_cluster(*text);
  auto first = first_of_group(*root, choice.group.value_or(0));
  if (!first) return std::unexpected(first.error());
  at = *first;
  return sim::parse_cluster(*text, choice.config,
                            std::filesystem::path(choice.config).parent_path().string());
}

}  // namespace

Result<EngineServerOptions> load_engine(const EngineChoice& choice) {
  if (choice.group && choice.instance)
    return fail(ErrorCode::kInvalidArgument, "--group and --instance exclude each other");
  if (!choice.config.empty() && !choice.gpu.empty())
    return fail(ErrorCode::kInvalidArgument, "--gpu is for use without --config");
  std::size_t at = 0;
  auto cluster = load(choice, at);
  if (!cluster) return std::unexpected(cluster.error());
  if (choice.instance) at = static_cast<std::size_t>(std::max<std::int64_t>(*choice.instance, 0));
  if (at >= cluster->engines.size() || (choice.instance && *choice.instance < 0))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--instance {}: the cluster has {} engines, counted from 0", at,
                            cluster->engines.size()));
  EngineServerOptions options;
  options.engine = cluster->engines[at];
  options.seed = at + 1;  // engines of one cluster do not stall in step
  options.served_model = choice.served_model;
  if (options.served_model.empty()) options.served_model = options.engine.info.served_model;
  if (options.served_model.empty()) options.served_model = kDefaultServedModel;
  return options;
}

}  // namespace lodestar::emulator
