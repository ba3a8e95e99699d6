// SPDX-License-Identifier: Apache-2.0
// The cluster file's keys, each declared once.
#include <fmt/format.h>

#include "sim/cluster_file.h"
#include "sim/cluster_file_spec.h"

namespace lodestar::sim {
namespace {

using config::FieldSpec;
using config::Node;
using config::Schema;

constexpr double kMaxTokens = 1e8;
constexpr double kMaxSeconds = 1e8;

FieldSpec positive(double max, std::string unit, std::string help) {
  return {
      .min = 0, .max = max, .above_min = true, .unit = std::move(unit), .help = std::move(help)};
}

Schema<GpuSpec> gpu_schema() {
  // Above 1 by a little: a fit on measured kernels can beat the data sheet.
  const auto part = [](std::string help) { return positive(2, "", std::move(help)); };
  return Schema<GpuSpec>("gpu")
      .field("preset", &GpuSpec::preset,
             {.help = "Start from this named GPU; the other keys override."})
      .field("peak_tflops", &GpuSpec::peak_tflops,
             positive(1e6, "TFLOP/s", "Dense peak of the data sheet."))
      .field("bandwidth_gb_s", &GpuSpec::bandwidth_gb_s,
             positive(1e6, "GB/s", "Memory bandwidth of the data sheet."))
      .field("eta_c", &GpuSpec::eta_c, part("Reached part of the peak in matrix products."))
      .field("eta_m", &GpuSpec::eta_m,
             part("Reached part of the bandwidth when weights are streamed."))
      .field("eta_kv", &GpuSpec::eta_kv,
             part("The same for decode attention in a step of decodes only."))
      .field("eta_kvm", &GpuSpec::eta_kvm,
             part("The same in a step that also holds a prefill chunk."))
      .field("eta_a", &GpuSpec::eta_a, part("Reached part of the peak in prefill attention."))
      .field("p", &GpuSpec::p,
             {.min = 1, .max = 100, .help = "Shape of the smooth maximum; default 2."})
      .field("memory_gb", &GpuSpec::memory_gb,
             positive(1e5, "GB", "Device memory; for the KV capacity."));
}

// A preset's row with the given keys over it, or the given keys alone.
Result<void> read_gpu(const Node& node, const std::string& path, GroupSpec& out) {
  GpuSpec spec;
  if (node.kind == Node::Kind::kScalar)
    spec.preset = node.scalar;
  else if (auto ok = gpu_schema().parse(node, spec, path); !ok)
    return ok;
  if (spec.preset) {
    auto preset = find_gpu(*spec.preset);
    if (!preset) return config::fail_at(node, path, preset.error().message);
    out.gpu = preset->params;
    out.hardware = preset->name;
  }
  const auto take = [](const std::optional<double>& from, double& to) {
    if (from) to = *from;
  };
  take(spec.peak_tflops, out.gpu.peak_tflops);
  take(spec.bandwidth_gb_s, out.gpu.bandwidth_gb_s);
  take(spec.eta_c, out.gpu.eta_c);
  take(spec.eta_m, out.gpu.eta_m);
  take(spec.eta_kv, out.gpu.eta_kv);
  take(spec.eta_kvm, out.gpu.eta_kvm);
  take(spec.eta_a, out.gpu.eta_a);
  take(spec.p, out.gpu.p);
  take(spec.memory_gb, out.gpu.memory_gb);
  const std::pair<const char*, double> needed[] = {{"peak_tflops", out.gpu.peak_tflops},
                                                   {"bandwidth_gb_s", out.gpu.bandwidth_gb_s},
                                                   {"eta_c", out.gpu.eta_c},
                                                   {"eta_m", out.gpu.eta_m},
                                                   {"eta_kv", out.gpu.eta_kv},
                                                   {"eta_kvm", out.gpu.eta_kvm},
                                                   {"eta_a", out.gpu.eta_a}};
  for (const auto& [name, value] : needed)
    if (value == 0)
      return config::fail_at(node, path,
                             fmt::format("key \"{}\" is missing; give it, or name a preset", name));
  if (!spec.preset)
    out.hardware = fmt::format("{}TF-{}GBs", out.gpu.peak_tflops, out.gpu.bandwidth_gb_s);
  return {};
}

Schema<ServedModelSpec> served_model_schema() {
  const auto size = [](double max, std::string help) {
    return FieldSpec{.required = true, .min = 1, .max = max, .help = std::move(help)};
  };
  return Schema<ServedModelSpec>("served_model")
      .field("name", &ServedModelSpec::name, {.min = 1, .help = "The name that requests ask for."})
      .field("layers", &ServedModelSpec::layers, size(10000, "Transformer layers."))
      .field("hidden", &ServedModelSpec::hidden, size(1e6, "Width of the hidden state."))
      .field("heads", &ServedModelSpec::heads, size(1e5, "Attention heads."))
      .field("kv_heads", &ServedModelSpec::kv_heads, size(1e5, "Key/value heads."))
      .field("head_dim", &ServedModelSpec::head_dim,
             {.min = 1, .max = 1e5, .help = "Width of a head; default hidden / heads."})
      .field("vocab", &ServedModelSpec::vocab, size(1e8, "Vocabulary."))
      .field("params_b", &ServedModelSpec::params_b,
             {.required = true,
              .min = 0,
              .max = 1e5,
              .above_min = true,
              .unit = "1e9",
              .help = "Parameters without embedding and head (Llama-3.1-8B: 6.98)."})
      .field("weight_bytes", &ServedModelSpec::weight_bytes,
             positive(16, "bytes", "Per weight; 2 is bf16, 1 fp8."))
      .field("kv_bytes", &ServedModelSpec::kv_bytes,
             positive(16, "bytes", "Per element of the KV cache."));
}

Result<void> read_served_model(const Node& node, const std::string& path, GroupSpec& out) {
  if (node.kind == Node::Kind::kScalar) {
    auto preset = find_served_model(node.scalar);
    if (!preset) return config::fail_at(node, path, preset.error().message);
    out.served_model = preset->params;
    out.served_model_name = preset->name;
    return {};
  }
  ServedModelSpec spec;
  if (auto ok = served_model_schema().parse(node, spec, path); !ok) return ok;
  out.served_model_name = spec.name;
  out.served_model = {.layers = spec.layers,
                      .hidden = spec.hidden,
                      .heads = spec.heads,
                      .kv_heads = spec.kv_heads,
                      .head_dim = spec.head_dim.value_or(spec.hidden / spec.heads),
                      .vocab = spec.vocab,
                      .params_b = spec.params_b,
                      .weight_bytes = spec.weight_bytes,
                      .kv_bytes = spec.kv_bytes,
                      .total_weight_gb = 0};
  if (out.served_model.head_dim < 1)
    return config::fail_at(node, path, "head_dim is missing and hidden / heads is below 1");
  return {};
}

Schema<JitterConfig> jitter_schema() {
  return Schema<JitterConfig>("jitter")
      .field("sigma", &JitterConfig::sigma,
             {.min = 0,
              .max = 2,
              .help = "Each step takes a lognormal factor of mean 1; 0.03 is 3 %."})
      .field("stall_ms", &JitterConfig::stall_ms,
             {.min = 0, .max = 1e6, .unit = "ms", .help = "Added to a step now and then ..."})
      .field("stall_every_s", &JitterConfig::stall_every_s,
             {.min = 0, .max = 1e6, .unit = "s", .help = "... so often on average; 0: never."});
}

std::string check_fault(const FaultSpec& f) {
  using Kind = EngineFault::Kind;
  if (f.until_s && *f.until_s <= f.at_s) return "until_s must lie after at_s";
  const bool takes_factor =
      f.kind == Kind::kSlow || f.kind == Kind::kThrottle || f.kind == Kind::kShrinkCache;
  if (takes_factor != f.factor.has_value())
    return "factor goes with kind: slow, throttle or shrink_cache, and these need it";
  if (f.kind == Kind::kShrinkCache && *f.factor >= 1) return "shrink_cache needs a factor below 1";
  if ((f.kind == Kind::kThrottle) != f.ramp_s.has_value())
    return "ramp_s goes with kind: throttle, and that needs it";
  if (f.kind == Kind::kThrottle && f.until_s && *f.until_s < f.at_s + *f.ramp_s)
    return "a throttle's ramp_s must be over before until_s";
  const bool changes = f.speed_factor || f.served_model;
  if ((f.kind == Kind::kSwap) != changes)
    return "speed_factor and served_model go with kind: swap, and that needs one of them";
  if (f.kind == Kind::kRestartCache && f.until_s) return "restart_cache takes no until_s";
  if (f.kind == Kind::kFreeze && !f.until_s) return "freeze needs until_s";
  return "";
}

Schema<FaultSpec> fault_schema() {
  using Kind = EngineFault::Kind;
  return Schema<FaultSpec>("fault")
      .choice(
          "kind", &FaultSpec::kind,
          {{"slow", Kind::kSlow},
           {"freeze", Kind::kFreeze},
           {"crash", Kind::kCrash},
           {"join", Kind::kJoin},
           {"leave", Kind::kLeave},
           {"restart_cache", Kind::kRestartCache},
           {"shrink_cache", Kind::kShrinkCache},
           {"throttle", Kind::kThrottle},
           {"swap", Kind::kSwap}},
          {.required = true,
           .help = "slow: steps take `factor` times as long until until_s; freeze: nothing moves "
                   "until until_s; crash: work in flight fails, back with an empty cache at "
                   "until_s (default: at once); join: absent before at_s; leave: takes nothing "
                   "new from at_s on, back at until_s (default: never); restart_cache: the "
                   "prefix cache is lost at at_s and nobody is told; shrink_cache: only `factor` "
                   "of the KV cache is usable until until_s (default: for ever), nobody is told; "
                   "throttle: slow, reached linearly over ramp_s and left so from until_s on; "
                   "swap: takes nothing new from at_s on, back at until_s (default: at once) as a "
                   "new engine with speed_factor or served_model."})
      .field(
          "at_s", &FaultSpec::at_s,
          {.required = true, .min = 0, .max = kMaxSeconds, .unit = "s", .help = "When it starts."})
      .field("until_s", &FaultSpec::until_s,
             {.min = 0, .max = kMaxSeconds, .unit = "s", .help = "When it ends."})
      .field("factor", &FaultSpec::factor,
             positive(1e6, "",
                      "slow, throttle: how many times as long a step takes; shrink_cache: the "
                      "part that is left."))
      .field("ramp_s", &FaultSpec::ramp_s,
             {.min = 0,
              .max = kMaxSeconds,
              .unit = "s",
              .help = "throttle: until the factor is "
                      "reached, and until it is gone."})
      .field("speed_factor", &FaultSpec::speed_factor,
             positive(1e3, "", "swap: that of the engine that comes back."))
      .field("served_model", &FaultSpec::served_model,
             {.min = 1,
              .help = "swap: preset whose size the engine then has; it is still asked for by the "
                      "group's name."})
      .field("engine", &FaultSpec::engine,
             {.min = 0, .help = "Which engine of the group, from 0; default: all."})
      .check(check_fault);
}

void add_engine_fields(Schema<GroupSpec>& schema) {
  schema
      .field("kv_capacity_tokens", &GroupSpec::kv_capacity_tokens,
             {.min = 1,
              .max = 1e10,
              .unit = "tokens",
              .help = "KV cache; default: what memory_gb leaves beside the weights."})
      .field("gpu_memory_utilization", &GroupSpec::gpu_memory_utilization,
             {.min = 0,
              .max = 1,
              .above_min = true,
              .help = "Part of the memory that the engine may use."})
      .field("max_model_len", &GroupSpec::max_model_len,
             {.min = 1,
              .max = 1e10,
              .unit = "tokens",
              .help = "Longest prompt and output together; default: what the cache holds."})
      .field("max_num_batched_tokens", &GroupSpec::max_num_batched_tokens,
             {.min = 1, .max = kMaxTokens, .unit = "tokens", .help = "Token budget of a step."})
      .field("max_num_seqs", &GroupSpec::max_num_seqs,
             {.min = 1, .max = 1e6, .help = "Sequences running at once."})
      .field("prefix_caching", &GroupSpec::prefix_caching, {.help = "Reuse KV of equal prefixes."})
      .field("chunked_prefill", &GroupSpec::chunked_prefill, {.help = "Split prompts over steps."})
      .field("block_tokens", &GroupSpec::block_tokens,
             {.min = 1, .max = 65536, .unit = "tokens", .help = "KV block."})
      .field("async_scheduling", &GroupSpec::async_scheduling, {.help = "Schedule one step ahead."})
      .field("reserve_full_prompt", &GroupSpec::reserve_full_prompt,
             {.help = "Admit a prompt only when all of it fits."})
      .field("overhead_ms", &GroupSpec::overhead_ms,
             {.min = 0, .max = 1e4, .unit = "ms", .help = "Host time per step."})
      .field("overhead_per_seq_us", &GroupSpec::overhead_per_seq_us,
             {.min = 0, .max = 1e6, .unit = "us", .help = "Host time per sampled sequence."})
      .section("jitter", &GroupSpec::jitter, jitter_schema(), {.help = "Noise of step times."})
      .field("speed_factor", &GroupSpec::speed_factor,
             positive(1e3, "", "2: every step takes half as long."))
      .field("frontend_ms", &GroupSpec::frontend_ms,
             {.min = 0,
              .max = 1e5,
              .unit = "ms",
              .help = "A request reaches the scheduler so much later."})
      .field("frontend_us_per_token", &GroupSpec::frontend_us_per_token,
             {.min = 0, .max = 1e5, .unit = "us", .help = "And so much per prompt token."});
}

Schema<GroupSpec> group_schema() {
  Schema<GroupSpec> schema("group");
  schema
      .field("name", &GroupSpec::name,
             {.min = 1, .max = 100, .help = "First part of the engines' names."})
      .field("count", &GroupSpec::count, {.min = 1, .max = 100000, .help = "Engines of this kind."})
      .custom("gpu", "name or mapping", read_gpu,
              {.required = true, .help = "A preset's name, or its parameters."},
              std::make_shared<const Schema<GpuSpec>>(gpu_schema()))
      .custom("served_model", "name or mapping", read_served_model,
              {.required = true, .help = "A preset's name, or its dimensions."},
              std::make_shared<const Schema<ServedModelSpec>>(served_model_schema()));
  add_engine_fields(schema);
  schema
      .choice("step_model", &GroupSpec::step_model,
              {{"formula", StepModelKind::kFormula}, {"table", StepModelKind::kTable}},
              {.help = "Step times from the roofline formula or from measured tables."})
      .field("profile", &GroupSpec::profile,
             {.min = 1,
              .help = "table: folder and first part of the names of the measured tables, e.g. "
                      "profiles/aic_h100_sxm_vllm_0.24.0; relative to the cluster file."})
      .list("faults", &GroupSpec::faults, fault_schema(), {.help = "What goes wrong, and when."})
      .check([](const GroupSpec& g) -> std::string {
        if ((g.step_model == StepModelKind::kTable) != g.profile.has_value())
          return "profile goes with step_model: table, and that needs it";
        for (const FaultSpec& fault : g.faults)
          if (fault.engine && *fault.engine >= g.count)
            return fmt::format("a fault names engine {}, but the group has {} (counted from 0)",
                               *fault.engine, g.count);
        return "";
      });
  return schema;
}

Schema<RouterLinkSpec> router_schema() {
  const auto ms = [](std::string help) {
    return FieldSpec{.min = 0, .max = 1e7, .unit = "ms", .help = std::move(help)};
  };
  return Schema<RouterLinkSpec>("router")
      .field("scrape_period_ms", &RouterLinkSpec::scrape_period_ms,
             positive(1e7, "ms", "Time between two scrapes of an engine's gauges."))
      .field("scrape_delay_ms", &RouterLinkSpec::scrape_delay_ms,
             ms("Age of the gauges on arrival."))
      .field("scrape_loss", &RouterLinkSpec::scrape_loss,
             {.min = 0, .max = 1, .help = "Part of the scrapes that never arrive."})
      .field("network_delay_ms", &RouterLinkSpec::network_delay_ms,
             ms("One way, router to engine."))
      .choice("view", &RouterLinkSpec::view,
              {{"exact", ViewKind::kExact}, {"coarse", ViewKind::kCoarse}},
              {.help = "exact: the router knows a prompt's tokens; coarse: its bytes, as live."})
      .field("block_tokens", &RouterLinkSpec::block_tokens,
             {.min = 1,
              .max = 65536,
              .unit = "tokens",
              .help = "exact: block of the router's prefix hashes; default 16."})
      .field("block_bytes", &RouterLinkSpec::block_bytes,
             {.min = 4,
              .max = 262144,
              .unit = "bytes",
              .help = "coarse: the same in bytes, of which a token has 4; default 256."})
      .field("token_error", &RouterLinkSpec::token_error,
             {.min = 0,
              .max = 1,
              .help = "coarse: the bytes per token of a prompt vary by this, one sigma of a "
                      "lognormal; default 0.15."})
      .field("replicas", &RouterLinkSpec::replicas,
             {.min = 1, .max = 64, .help = "Routers that know nothing of each other."})
      .choice("split", &RouterLinkSpec::split,
              {{"random", ReplicaSplit::kRandom}, {"by_session", ReplicaSplit::kBySession}},
              {.help = "Which of them a request comes to."})
      .check([](const RouterLinkSpec& r) -> std::string {
        const bool coarse = r.view == ViewKind::kCoarse;
        if (!coarse && (r.block_bytes || r.token_error))
          return "block_bytes and token_error go with view: coarse";
        if (coarse && r.block_tokens) return "block_tokens goes with view: exact; give block_bytes";
        if (r.block_bytes && *r.block_bytes % RouterView::kBytesPerToken != 0)
          return "block_bytes must be a multiple of 4";
        return "";
      });
}

}  // namespace

config::Schema<ClusterSpec> cluster_schema() {
  Schema<ClusterSpec> schema("the cluster file");
  schema
      .list("groups", &ClusterSpec::groups, group_schema(),
            {.required = true, .help = "Kinds of engines."})
      .section("router", &ClusterSpec::router, router_schema(),
               {.help = "Between router and engines."})
      .check([](const ClusterSpec& c) { return c.groups.empty() ? "groups is empty" : ""; });
  return schema;
}

}  // namespace lodestar::sim
