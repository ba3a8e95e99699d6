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
constexpr const char* kUnnamedServedModel = "emulated";  // given by numbers only

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

struct Place {
  std::size_t first_engine = 0;  // of the group, in the cluster's list
  std::string served_model;      // as the group names it
};

std::string scalar_of(const config::Node& group, std::string_view key) {
  const config::Node* node = group.find(key);
  return node != nullptr && node->kind == config::Node::Kind::kScalar ? node->scalar : "";
}

// How many engines the group has; 1 for what is no number (parse_cluster says so).
std::size_t engines_of(const config::Node& group) {
  const std::string count = scalar_of(group, "count");
  std::size_t engines = 1;
  std::from_chars(count.data(), count.data() + count.size(), engines);
  return engines;
}

// Where in the file's text the chosen group or engine stands.
Result<Place> find_place(const config::Node& root, const EngineChoice& choice) {
  const config::Node* groups = root.find("groups");
  if (groups == nullptr) return Place{0, scalar_of(root, "served_model")};
  const std::int64_t count = static_cast<std::int64_t>(groups->items.size());
  const std::int64_t wanted = choice.group.value_or(0);
  if (wanted < 0 || wanted >= count)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--group {}: the file has {} group{}, counted from 0", wanted, count,
                            count == 1 ? "" : "s"));
  Place place;
  for (std::int64_t i = 0; i < count; ++i) {
    const config::Node& group = groups->items[static_cast<std::size_t>(i)];
    const std::size_t engines = engines_of(group);
    place.served_model = scalar_of(group, "served_model");
    const auto instance = static_cast<std::size_t>(choice.instance.value_or(0));
    const bool here = choice.instance ? instance < place.first_engine + engines : i == wanted;
    if (here) break;
    place.first_engine += engines;
  }
  return place;
}

Result<sim::Cluster> load(const EngineChoice& choice, Place& place) {
  if (choice.config.empty()) {
    if (choice.gpu.empty())
      return fail(ErrorCode::kInvalidArgument,
                  "say which engine: --config FILE, or --gpu NAME (and --served-model NAME)");
    const std::string served =
        choice.served_model.empty() ? kDefaultServedModel : choice.served_model;
    place.served_model = served;
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
  auto found = find_place(*root, choice);
  if (!found) return std::unexpected(found.error());
  place = std::move(*found);
  return sim::parse_cluster(*text, choice.config,
                            std::filesystem::path(choice.config).parent_path().string());
}

}  // namespace

Result<EngineServerOptions> load_engine(const EngineChoice& choice) {
  if (choice.group && choice.instance)
    return fail(ErrorCode::kInvalidArgument, "--group and --instance exclude each other");
  if (!choice.config.empty() && !choice.gpu.empty())
    return fail(ErrorCode::kInvalidArgument, "--gpu is for use without --config");
  if (choice.instance.value_or(0) < 0)
    return fail(ErrorCode::kInvalidArgument, "--instance counts from 0");
  Place place;
  auto cluster = load(choice, place);
  if (!cluster) return std::unexpected(cluster.error());
  const std::size_t at =
      choice.instance ? static_cast<std::size_t>(*choice.instance) : place.first_engine;
  if (at >= cluster->engines.size())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--instance {}: the cluster has {} engines, counted from 0", at,
                            cluster->engines.size()));
  EngineServerOptions options;
  options.engine = cluster->engines[at];
  options.seed = at + 1;  // engines of one cluster do not stall in step
  options.served_model = choice.served_model.empty() ? place.served_model : choice.served_model;
  if (options.served_model.empty()) options.served_model = kUnnamedServedModel;
  return options;
}

}  // namespace lodestar::emulator
