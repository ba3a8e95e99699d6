// SPDX-License-Identifier: Apache-2.0
#include "sim/cluster_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "sim/cluster_file_spec.h"
#include "sim/step_time_table.h"

namespace lodestar::sim {
namespace {

Result<std::shared_ptr<const StepTime>> make_step_time(const GroupSpec& g,
                                                       const std::string& base_dir) {
  const StepOverhead overhead{.fixed_ms = g.overhead_ms, .per_seq_us = g.overhead_per_seq_us};
  if (g.step_model == StepModelKind::kFormula)
    return FormulaStepTime::create(g.gpu, g.served_model, overhead);
  const std::filesystem::path profile = std::filesystem::path(base_dir) / *g.profile;
  auto files = find_table_files(profile.parent_path().string(), profile.filename().string());
  if (!files) return std::unexpected(files.error());
  return load_table_step_time(*files, g.gpu, g.served_model, overhead);
}

Result<EngineConfig> make_engine_config(const GroupSpec& g) {
  EngineConfig config;
  if (g.kv_capacity_tokens) {
    config.kv_capacity_tokens = *g.kv_capacity_tokens;
  } else if (g.gpu.memory_gb == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the KV capacity is not known: give kv_capacity_tokens, or memory_gb in gpu");
  } else {
    auto derived =
        kv_capacity_tokens(g.gpu, g.served_model, g.gpu_memory_utilization, g.block_tokens);
    if (!derived) return std::unexpected(derived.error());
    config.kv_capacity_tokens = *derived;
  }
  constexpr std::int64_t kMaxBlocks = 2'000'000;  // an H200 has 55,000
  if (config.kv_capacity_tokens / g.block_tokens > kMaxBlocks)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} tokens of KV cache in blocks of {} are more than {} blocks; lower "
                            "kv_capacity_tokens or raise block_tokens",
                            config.kv_capacity_tokens, g.block_tokens, kMaxBlocks));
  if (!g.chunked_prefill && !g.max_model_len &&
      g.max_num_batched_tokens == GroupSpec{}.max_num_batched_tokens)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("chunked_prefill: false with the default budget of {} tokens would "
                            "refuse every longer prompt; give max_num_batched_tokens (the longest "
                            "prompt), or max_model_len",
                            g.max_num_batched_tokens));
  config.max_model_len = g.max_model_len.value_or(0);
  config.max_num_batched_tokens = g.max_num_batched_tokens;
  config.max_num_seqs = g.max_num_seqs;
  config.block_tokens = g.block_tokens;
  config.prefix_caching = g.prefix_caching;
  config.chunked_prefill = g.chunked_prefill;
  config.async_scheduling = g.async_scheduling;
  config.reserve_full_prompt = g.reserve_full_prompt;
  config.jitter = g.jitter;
  config.speed_factor = g.speed_factor;
  config.frontend_ms_per_request = g.frontend_ms;
  config.frontend_us_per_token = g.frontend_us_per_token;
  return config;
}

// The group's engine with another served model behind the same name, or at another speed.
Result<std::shared_ptr<const EngineSwap>> make_swap(const GroupSpec& group, const FaultSpec& f,
                                                    const std::string& base_dir) {
  GroupSpec g = group;
  g.speed_factor = f.speed_factor.value_or(g.speed_factor);
  if (f.served_model) {
    auto preset = find_served_model(*f.served_model);
    if (!preset) return std::unexpected(preset.error());
    g.served_model = preset->params;
  }
  auto config = make_engine_config(g);
  if (!config) return std::unexpected(config.error());
  auto step_time = make_step_time(g, base_dir);
  if (!step_time) return std::unexpected(step_time.error());
  auto probe = Engine::create(*config, *step_time, Rng(0));
  if (!probe) return std::unexpected(probe.error());
  const double rate = prefill_tokens_per_s(**step_time, g.max_num_batched_tokens) * g.speed_factor;
  return std::make_shared<const EngineSwap>(
      EngineSwap{*config, *step_time, rate, probe->max_len()});
}

Result<EngineFault> make_fault(const GroupSpec& g, const FaultSpec& f,
                               const std::string& base_dir) {
  EngineFault out;
  out.kind = f.kind;
  out.at = from_s(f.at_s);
  out.until = f.until_s ? from_s(*f.until_s) : 0;
  out.factor = f.factor.value_or(1);
  out.ramp = from_s(f.ramp_s.value_or(0));
  if (f.kind == EngineFault::Kind::kSwap) {
    auto swap = make_swap(g, f, base_dir);
    if (!swap) return fail(swap.error().code, "a fault of kind swap: " + swap.error().message);
    out.swap = *swap;
  }
  return out;
}

void take_router(const RouterLinkSpec& spec, Cluster& out) {
  out.scrape_period = std::max<DurationNs>(1, from_ms(spec.scrape_period_ms));
  out.scrape_delay = from_ms(spec.scrape_delay_ms);
  out.scrape_loss = spec.scrape_loss;
  out.network_delay = from_ms(spec.network_delay_ms);
  out.view.coarse = spec.view == ViewKind::kCoarse;
  if (spec.block_tokens) out.view.block_tokens = static_cast<int>(*spec.block_tokens);
  if (spec.block_bytes) out.view.block_bytes = static_cast<int>(*spec.block_bytes);
  if (out.view.coarse) out.view.token_error = spec.token_error.value_or(0.15);
  out.replicas = static_cast<int>(spec.replicas);
  out.split = spec.split;
}

// Engines of the group; `numbers` counts engines per name over all groups.
Result<void> add_group(const GroupSpec& g, const std::string& base_dir,
                       std::vector<std::pair<std::string, std::uint32_t>>& numbers, Cluster& out) {
  constexpr std::size_t kMaxEngines = 100'000;
  if (out.engines.size() + static_cast<std::size_t>(g.count) > kMaxEngines)
    return fail(ErrorCode::kInvalidArgument, fmt::format("more than {} engines", kMaxEngines));
  auto config = make_engine_config(g);
  if (!config) return std::unexpected(config.error());
  auto step_time = make_step_time(g, base_dir);
  if (!step_time) return std::unexpected(step_time.error());
  auto probe = Engine::create(*config, *step_time, Rng(0));
  if (!probe) return std::unexpected(probe.error());

  const std::string prefix = g.name.value_or(g.hardware);
  auto number = std::find_if(numbers.begin(), numbers.end(),
                             [&](const auto& n) { return n.first == prefix; });
  if (number == numbers.end()) number = numbers.insert(numbers.end(), {prefix, 0});
  std::vector<EngineFault> faults;
  for (const FaultSpec& fault : g.faults) {
    auto made = make_fault(g, fault, base_dir);
    if (!made) return std::unexpected(made.error());
    faults.push_back(std::move(*made));
  }
  for (std::int64_t i = 0; i < g.count; ++i) {
    WorldEngine engine;
    engine.config = *config;
    engine.step_time = *step_time;
    for (std::size_t f = 0; f < faults.size(); ++f)
      if (!g.faults[f].engine || *g.faults[f].engine == i) engine.faults.push_back(faults[f]);
    engine.info.id = InstanceId(static_cast<std::uint32_t>(out.engines.size()));
    engine.info.name = fmt::format("{}-{}", prefix, number->second++);
    engine.info.served_models = {g.served_model_name};
    engine.info.hardware = g.hardware;
    engine.info.told_prefill_tokens_per_s =
        prefill_tokens_per_s(**step_time, g.max_num_batched_tokens) * g.speed_factor;
    engine.info.kv_capacity_tokens = config->kv_capacity_tokens;
    engine.info.max_model_len = probe->max_len();
    engine.info.max_num_seqs = g.max_num_seqs;
    engine.info.prefix_caching = g.prefix_caching;
    out.engines.push_back(std::move(engine));
  }
  return {};
}

}  // namespace

double prefill_tokens_per_s(const StepTime& step_time, std::int64_t max_num_batched_tokens) {
  StepShape shape;
  shape.tokens = std::min<std::int64_t>(max_num_batched_tokens, 2048);
  shape.sampling_seqs = 1;
  shape.prefill_attention =
      0.5 * static_cast<double>(shape.tokens) * static_cast<double>(shape.tokens);
  return static_cast<double>(shape.tokens) / step_time.step_ms(shape) * 1000.0;
}

Result<Cluster> parse_cluster(const std::string& text, const std::string& name,
                              const std::string& base_dir) {
  auto node = config::parse_yaml(text, name);
  if (!node) return std::unexpected(node.error());
  ClusterSpec spec;
  if (auto ok = cluster_schema().parse(*node, spec); !ok) return std::unexpected(ok.error());
  Cluster out;
  out.name = std::filesystem::path(name).stem().string();
  take_router(spec.router, out);
  const config::Node& groups = *node->find("groups");
  std::vector<std::pair<std::string, std::uint32_t>> numbers;
  for (std::size_t i = 0; i < spec.groups.size(); ++i)
    if (auto ok = add_group(spec.groups[i], base_dir, numbers, out); !ok)
      return config::fail_at(groups.items[i], config::item_path("groups", i), ok.error().message);
  out.served_model = spec.groups[0].served_model_name;
  const bool mixed = std::any_of(spec.groups.begin(), spec.groups.end(), [&](const GroupSpec& g) {
    return g.served_model_name != out.served_model;
  });
  if (mixed) {
    out.served_model.clear();
    for (WorldEngine& engine : out.engines) engine.info.served_models.clear();
  }
  return out;
}

Result<Cluster> load_cluster(const std::string& path) {
  auto text = config::read_yaml_text(path);
  if (!text) return std::unexpected(text.error());
  return parse_cluster(*text, path, std::filesystem::path(path).parent_path().string());
}

}  // namespace lodestar::sim
