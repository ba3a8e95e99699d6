// SPDX-License-Identifier: Apache-2.0
// The suite file's keys, each declared once.
#include "policies/catalog.h"
#include "sim/suite_spec.h"

namespace lodestar::sim {
namespace {

using config::FieldSpec;
using config::Node;
using config::Schema;

constexpr double kMaxRate = 1e6;
constexpr double kMaxRequests = 1e7;

Schema<SeedRange> seeds_schema() {
  return Schema<SeedRange>("seeds")
      .field("first", &SeedRange::first,
             {.min = 0, .max = 1e9, .help = "First seed; default: the suite's, there 1."})
      .field("count", &SeedRange::count,
             {.required = true, .min = 1, .max = 1000, .help = "How many, one after the other."});
}

Result<void> read_seeds(const Node& node, const std::string& path, SeedRange& out) {
  if (node.kind == Node::Kind::kMap) return seeds_schema().parse(node, out, path);
  return config::read_value(node, path, {.min = 1, .max = 1000}, out.count);
}

template <class T>
void add_seeds(Schema<T>& schema, std::function<SeedRange&(T&)> member, std::string help) {
  schema.custom(
      "seeds", "count or {first, count}",
      [member](const Node& node, const std::string& path, T& out) {
        return read_seeds(node, path, member(out));
      },
      {.help = std::move(help)}, std::make_shared<const Schema<SeedRange>>(seeds_schema()));
}

Schema<SuiteLoad> load_schema(const std::string& key, const FieldSpec& spec) {
  Schema<SuiteLoad> schema(key);
  FieldSpec required = spec;
  required.required = true;
  schema.field(key, &SuiteLoad::value, required);
  add_seeds<SuiteLoad>(
      schema, [](SuiteLoad& l) -> SeedRange& { return l.seeds.emplace(); }, "Seeds for this one.");
  return schema;
}

// [0.5, 0.7, {load: 0.85, seeds: 30}]
template <class T>
void add_loads(Schema<T>& schema, const std::string& name, const std::string& key,
               std::vector<SuiteLoad> T::* member, const FieldSpec& spec) {
  auto nested = std::make_shared<const Schema<SuiteLoad>>(load_schema(key, spec));
  schema.custom(
      name, "list of numbers or {" + key + ", seeds}",
      [member, nested, spec](const Node& node, const std::string& path, T& out) -> Result<void> {
        if (auto ok = config::expect_list(node, path); !ok) return ok;
        for (std::size_t i = 0; i < node.items.size(); ++i) {
          const std::string at = config::item_path(path, i);
          SuiteLoad& load = (out.*member).emplace_back();
          const auto ok = node.items[i].kind == Node::Kind::kMap
                              ? nested->parse(node.items[i], load, at)
                              : config::read_value(node.items[i], at, spec, load.value);
          if (!ok) return ok;
        }
        return {};
      },
      spec, nested);
}

FieldSpec share_of_sustainable() {
  return {.min = 0,
          .max = 10,
          .above_min = true,
          .help = "Shares of sustainable_rps; some may have their own number of seeds."};
}

Schema<SuitePolicy> policy_schema() {
  return Schema<SuitePolicy>("policy")
      .field("policy", &SuitePolicy::policy,
             {.required = true, .min = 1, .help = "Catalog name, parameters after a colon."})
      .field("label", &SuitePolicy::label, {.min = 1, .help = "What reports call it."});
}

// Names or {policy, label}. YAML splits "[a:x=1,y=2]" at the comma: put together again.
Result<void> read_policies(const Node& node, const std::string& path,
                           std::vector<SuitePolicy>& out) {
  if (auto ok = config::expect_list(node, path); !ok) return ok;
  std::vector<std::string> plain;
  const auto flush = [&] {
    for (std::string& name : rejoin_policies(plain)) out.push_back({name, name});
    plain.clear();
  };
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const std::string at = config::item_path(path, i);
    if (node.items[i].kind == Node::Kind::kMap) {
      flush();
      SuitePolicy policy;
      if (auto ok = policy_schema().parse(node.items[i], policy, at); !ok) return ok;
      if (policy.label.empty()) policy.label = policy.policy;
      out.push_back(std::move(policy));
    } else if (auto ok = config::read_value(node.items[i], at, {.min = 1}, plain.emplace_back());
               !ok) {
      return ok;
    }
  }
  flush();
  return {};
}

template <class T>
void add_policies(Schema<T>& schema, std::string help, bool required) {
  schema.custom(
      "policies", "list of names or {policy, label}",
      [](const Node& node, const std::string& path, T& out) {
        return read_policies(node, path, out.policies);
      },
      {.required = required, .help = std::move(help)},
      std::make_shared<const Schema<SuitePolicy>>(policy_schema()));
}

template <class T>
void add_limits(Schema<T>& schema) {
  schema
      .field("jitter", &T::jitter,
             {.min = 0, .max = 1, .help = "Replaces jitter.sigma of every engine."})
      .field("max_requests", &T::max_requests,
             {.min = 1, .max = kMaxRequests, .help = "Replaces the workload's."})
      .field("warmup_requests", &T::warmup_requests,
             {.min = 0, .max = kMaxRequests, .help = "Replaces the workload's."});
}

Schema<SuiteVary> vary_schema() {
  const auto ms = [](std::string help, bool above_min = false) {
    return FieldSpec{
        .min = 0, .max = 1e7, .above_min = above_min, .unit = "ms", .help = std::move(help)};
  };
  return Schema<SuiteVary>("vary")
      .field("scrape_period_ms", &SuiteVary::scrape_period_ms,
             ms("Replaces router.scrape_period_ms of the cluster.", true))
      .field("scrape_delay_ms", &SuiteVary::scrape_delay_ms, ms("Likewise."))
      .field("scrape_loss", &SuiteVary::scrape_loss, {.min = 0, .max = 1, .help = "Likewise."})
      .field("network_delay_ms", &SuiteVary::network_delay_ms, ms("Likewise."))
      .field("replicas", &SuiteVary::replicas,
             {.min = 1, .max = 64, .help = "Replaces router.replicas of the cluster."})
      .field("engines", &SuiteVary::engines,
             {.min = 1,
              .max = 100000,
              .help = "The cluster's list of engines repeated (or cut) to so many, faults "
                      "included; a load's rate is scaled with it."});
}

Schema<SuiteCell> cell_schema() {
  Schema<SuiteCell> schema("cell");
  schema.field("name", &SuiteCell::name, {.help = "Default: the names of cluster and workload."})
      .field("cluster", &SuiteCell::cluster,
             {.required = true, .min = 1, .help = "Cluster file, from the suite file's folder."})
      .field("workload", &SuiteCell::workload,
             {.required = true, .min = 1, .help = "Workload file, from the suite file's folder."})
      .field("sustainable_rps", &SuiteCell::sustainable_rps,
             {.min = 0,
              .max = kMaxRate,
              .above_min = true,
              .unit = "1/s",
              .help = "Largest rate that the cluster, as in its file, sustains: load 1."});
  add_loads(schema, "loads", "load", &SuiteCell::loads, share_of_sustainable());
  add_loads(schema, "rates_rps", "rate", &SuiteCell::rates_rps,
            {.min = 0,
             .max = kMaxRate,
             .above_min = true,
             .unit = "1/s",
             .help = "Instead of loads. Without either the workload's own rate is used."});
  add_policies(schema, "Instead of the suite's.", false);
  add_seeds<SuiteCell>(
      schema, [](SuiteCell& c) -> SeedRange& { return c.seeds.emplace(); },
      "Instead of the suite's.");
  add_limits(schema);
  schema
      .field("requests_per_engine", &SuiteCell::requests_per_engine,
             {.min = 1, .max = 1e6, .help = "max_requests, per engine."})
      .section("vary", &SuiteCell::vary, vary_schema(),
               {.help = "Further axes; every combination is run."})
      .field("optional", &SuiteCell::optional,
             {.help = "Skip the cell, loudly, when one of its files does not exist."})
      .check([](const SuiteCell& c) -> std::string {
        if (!c.loads.empty() && !c.rates_rps.empty()) return "give loads or rates_rps, not both";
        if (!c.loads.empty() && !c.sustainable_rps) return "loads need sustainable_rps";
        if (c.max_requests && c.requests_per_engine)
          return "give max_requests or requests_per_engine, not both";
        return "";
      });
  return schema;
}

}  // namespace

config::Schema<SuiteSpec> suite_schema() {
  Schema<SuiteSpec> schema("the suite file");
  schema.field("name", &SuiteSpec::name, {.help = "Default: the file's name."})
      .field("description", &SuiteSpec::description, {.help = "A sentence for the report."});
  add_policies(schema, "What is compared, in the order of the reports.", true);
  schema
      .field("baseline", &SuiteSpec::baseline,
             {.min = 1, .help = "Ratios are baseline / policy. Runs even if not listed."})
      .field("reference", &SuiteSpec::reference,
             {.min = 1,
              .help = "Yardstick for the share-of-reference and regret columns, usually oracle."})
      .field("best_of", &SuiteSpec::best_of,
             {.min = 1,
              .help = "Labels of rules. Adds a comparison with the best of them, per seed the one "
                      "that is best on the cell's other seeds."});
  add_loads(schema, "loads", "load", &SuiteSpec::loads, share_of_sustainable());
  add_seeds<SuiteSpec>(schema, [](SuiteSpec& s) -> SeedRange& { return s.seeds; }, "Default: 1.");
  add_limits(schema);
  schema.list("cells", &SuiteSpec::cells, cell_schema(),
              {.required = true, .help = "Clusters with workloads."});
  return schema;
}

}  // namespace lodestar::sim
