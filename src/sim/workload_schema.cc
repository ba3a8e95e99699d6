// SPDX-License-Identifier: Apache-2.0
// The workload file's keys, each declared once.
#include <fmt/format.h>

#include "sim/workload_spec.h"

namespace lodestar::sim {
namespace {

using config::FieldSpec;
using config::Node;
using config::Schema;

constexpr double kMaxTokens = 1e7;
constexpr double kMaxRequests = 1e7;
constexpr double kMaxSeconds = 1e8;

Schema<IntRange> range_schema(double min) {
  return Schema<IntRange>("a range")
      .field("min", &IntRange::min, {.required = true, .min = min, .max = kMaxTokens})
      .field("max", &IntRange::max, {.required = true, .min = min, .max = kMaxTokens})
      .check([](const IntRange& r) {
        return r.min <= r.max ? "" : fmt::format("min {} is above max {}", r.min, r.max);
      });
}

// N or {min, max}.
template <class T>
void add_range(Schema<T>& schema, const std::string& name, IntRange T::* member, double min,
               std::string unit, std::string help) {
  const auto nested = std::make_shared<const Schema<IntRange>>(range_schema(min));
  const FieldSpec spec{
      .min = min, .max = kMaxTokens, .unit = std::move(unit), .help = std::move(help)};
  schema.custom(
      name, "integer or {min, max}",
      [member, nested, spec](const Node& node, const std::string& path, T& out) -> Result<void> {
        IntRange& range = out.*member;
        if (node.kind == Node::Kind::kMap) return nested->parse(node, range, path);
        if (auto ok = read_value(node, path, spec, range.min); !ok) return ok;
        range.max = range.min;
        return {};
      },
      spec, nested);
}

struct SecondsInput {
  std::optional<double> min, max, mean;
};

Schema<SecondsInput> seconds_schema() {
  const FieldSpec spec{.min = 0, .max = kMaxSeconds, .unit = "s"};
  return Schema<SecondsInput>("a duration")
      .field("min", &SecondsInput::min, spec)
      .field("max", &SecondsInput::max, spec)
      .field("mean", &SecondsInput::mean,
             {.min = 0, .max = kMaxSeconds, .above_min = true, .unit = "s"})
      .check([](const SecondsInput& in) -> std::string {
        if (in.mean ? in.min || in.max : !(in.min && in.max))
          return "expected {min, max} (uniform) or {mean} (exponential)";
        return in.mean || *in.min <= *in.max ? "" : "min is above max";
      });
}

Result<void> read_seconds(const Node& node, const std::string& path, SecondsRange& out) {
  if (node.kind == Node::Kind::kMap) {
    SecondsInput in;
    if (auto ok = seconds_schema().parse(node, in, path); !ok) return ok;
    out = {.min = in.min.value_or(0), .max = in.max.value_or(0), .mean = in.mean.value_or(0)};
    return {};
  }
  out = {};
  if (auto ok = read_value(node, path, {.min = 0, .max = kMaxSeconds, .unit = "s"}, out.min); !ok)
    return ok;
  out.max = out.min;
  return {};
}

Schema<TraceSpec> trace_schema() {
  return Schema<TraceSpec>("trace")
      .field("file", &TraceSpec::file,
             {.required = true,
              .min = 1,
              .help = "The trace, plain or gzip; relative to the workload file."})
      .choice("format", &TraceSpec::format,
              {{"mooncake", TraceFormat::kMooncake},
               {"azure", TraceFormat::kAzure},
               {"kvcachetester", TraceFormat::kKvCacheTester}},
              {.required = true, .help = "mooncake, azure or kvcachetester."})
      .field("trace_block_tokens", &TraceSpec::trace_block_tokens,
             {.min = 1,
              .max = kMaxTokens,
              .unit = "tokens",
              .help = "True block size of the trace's ids; default 512 (kvcachetester: what the "
                      "file says)."})
      .field("replay_block_tokens", &TraceSpec::replay_block_tokens,
             {.min = 1,
              .max = kMaxTokens,
              .unit = "tokens",
              .help = "Replay each id as so many tokens: input = ids x this."})
      .field(
          "input_cap", &TraceSpec::input_cap,
          {.min = 1, .max = kMaxTokens, .unit = "tokens", .help = "Longer prompts are cut here."})
      .field("output_scale", &TraceSpec::output_scale,
             {.min = 0,
              .max = 1e4,
              .above_min = true,
              .help = "Output lengths are multiplied by this (at least 1 token remains)."})
      .field("time_scale", &TraceSpec::time_scale,
             {.min = 0,
              .max = 1e6,
              .above_min = true,
              .help = "Recorded times (closed loop: think times) are multiplied by this; 0.5 is "
                      "twice as fast."})
      .field("start_row", &TraceSpec::start_row,
             {.min = 0,
              .help = "Added to the row at which the seed starts (a session in "
                      "kvcachetester); wraps around."})
      .field("bin_s", &TraceSpec::bin_s,
             {.min = 0,
              .max = 3600,
              .unit = "s",
              .help = "Width of the bins that timestamps were rounded to; arrivals are spread "
                      "uniformly over them. Default: found in the data; 0: leave as they are."})
      .field("repeat", &TraceSpec::repeat,
             {.min = 1,
              .max = 1e6,
              .help = "Passes over the trace; prompts of different passes share nothing."});
}

void add_common(Schema<SyntheticSpec>& schema) {
  schema.choice("kind", &SyntheticSpec::kind,
                {{"shared-prefix", SyntheticKind::kSharedPrefix},
                 {"multi-turn", SyntheticKind::kMultiTurn},
                 {"mix", SyntheticKind::kMix}},
                {.required = true, .help = "shared-prefix, multi-turn or mix."});
  add_range(schema, "output_tokens", &SyntheticSpec::output_tokens, 1, "tokens",
            "Output length; default 100.");
  schema
      .field("share", &SyntheticSpec::share,
             {.min = 0, .max = 1, .help = "shared-prefix: part of each prompt that is shared."})
      .field("prompt_tokens", &SyntheticSpec::prompt_tokens,
             {.min = 1,
              .max = kMaxTokens,
              .unit = "tokens",
              .help = "shared-prefix: the prompt lengths, drawn with equal chance."})
      .field("prefixes_per_length", &SyntheticSpec::prefixes_per_length,
             {.min = 1, .max = 1e6, .help = "shared-prefix: live prefixes of each length."})
      .field("uses_per_prefix", &SyntheticSpec::uses_per_prefix,
             {.min = 1, .max = 1e9, .help = "shared-prefix: then a new prefix takes its place."})
      .field("sessions", &SyntheticSpec::sessions,
             {.min = 1, .max = kMaxRequests, .help = "multi-turn: conversations at most."})
      .field("system_prompts", &SyntheticSpec::system_prompts,
             {.min = 1, .max = 1e6, .help = "multi-turn: distinct system prompts, drawn equally."})
      .field("open_loop", &SyntheticSpec::open_loop,
             {.help = "multi-turn: think time runs from the previous arrival, not its end."});
  add_range(schema, "turns", &SyntheticSpec::turns, 1, "",
            "multi-turn: requests per conversation.");
  add_range(schema, "system_prompt_tokens", &SyntheticSpec::system_prompt_tokens, 0, "tokens",
            "multi-turn: length of each system prompt; default 500.");
  add_range(schema, "new_tokens", &SyntheticSpec::new_tokens, 1, "tokens",
            "multi-turn: what the user adds each turn; default 200.");
  schema.custom(
      "think_time_s", "number, {min, max} or {mean}",
      [](const Node& node, const std::string& path, SyntheticSpec& out) {
        return read_seconds(node, path, out.think_time_s);
      },
      {.min = 0, .unit = "s", .help = "multi-turn: pause before the next turn; default 1."},
      std::make_shared<const Schema<SecondsInput>>(seconds_schema()));
}

std::string check_synthetic(const SyntheticSpec& s) {
  if (s.kind == SyntheticKind::kSharedPrefix && s.prompt_tokens.empty())
    return "a shared-prefix workload needs prompt_tokens: [lengths]";
  if (s.kind != SyntheticKind::kMix && !s.parts.empty()) return "parts belong to kind: mix";
  if (s.kind == SyntheticKind::kMix && s.parts.empty())
    return "a mix needs parts: [{kind, weight, ...}]";
  if (s.kind == SyntheticKind::kMultiTurn) {
    if (s.turns.max > 10'000) return "conversations of more than 10000 turns are not supported";
    const double longest = static_cast<double>(s.turns.max) *
                           static_cast<double>(s.new_tokens.max + s.output_tokens.max);
    if (longest > 1e9) return "conversations of more than 1e9 tokens are not supported";
  }
  return "";
}

Schema<SyntheticSpec> synthetic_schema() {
  Schema<SyntheticSpec> part("part");
  add_common(part);
  part.field("weight", &SyntheticSpec::weight,
             {.min = 0, .max = 1e6, .above_min = true, .help = "Relative share of the arrivals."});
  part.check([](const SyntheticSpec& s) -> std::string {
    if (s.kind == SyntheticKind::kMix) return "a part cannot be a mix itself";
    if (s.sessions) return "sessions does not apply to a part of a mix; give weight";
    return check_synthetic(s);
  });
  Schema<SyntheticSpec> schema("synthetic");
  add_common(schema);
  schema.list("parts", &SyntheticSpec::parts, std::move(part), {.help = "mix: its components."});
  schema.check(check_synthetic);
  return schema;
}

Schema<ArrivalSpec> arrivals_schema() {
  return Schema<ArrivalSpec>("arrivals")
      .choice("kind", &ArrivalSpec::kind,
              {{"trace", ArrivalKind::kTrace},
               {"poisson", ArrivalKind::kPoisson},
               {"gamma", ArrivalKind::kGamma},
               {"closed", ArrivalKind::kClosed}},
              {.required = true,
               .help = "trace: recorded times; poisson, gamma: drawn; closed: a fixed number of "
                       "sessions is open at any time."})
      .field("rate_rps", &ArrivalSpec::rate_rps,
             {.min = 0,
              .max = 1e6,
              .above_min = true,
              .unit = "1/s",
              .help = "Arrivals per second (of sessions where the source is closed loop)."})
      .field("cv", &ArrivalSpec::cv,
             {.min = 0,
              .max = 100,
              .help = "gamma: coefficient of variation of the gaps; 0 is a steady beat."})
      .field("concurrency", &ArrivalSpec::concurrency,
             {.min = 1, .max = 1e6, .help = "closed: sessions (single requests) open at a time."});
}

Schema<PhaseSpec> phase_schema() {
  return Schema<PhaseSpec>("phase")
      .field("until_s", &PhaseSpec::until_s,
             {.min = 0,
              .max = kMaxSeconds,
              .above_min = true,
              .unit = "s",
              .help = "End, since the start."})
      .field("duration_s", &PhaseSpec::duration_s,
             {.min = 0,
              .max = kMaxSeconds,
              .above_min = true,
              .unit = "s",
              .help = "Length, instead of until_s. The last phase may have neither and lasts."})
      .field("rate_rps", &PhaseSpec::rate_rps,
             {.min = 0,
              .max = 1e6,
              .unit = "1/s",
              .help = "Instead of arrivals.rate_rps; 0 is a pause."})
      .field("cv", &PhaseSpec::cv,
             {.min = 0, .max = 100, .help = "Instead of arrivals.cv (gamma)."})
      .field("share", &PhaseSpec::share,
             {.min = 0, .max = 1, .help = "Instead of synthetic.share (shared-prefix)."})
      .field(
          "output_scale", &PhaseSpec::output_scale,
          {.min = 0, .max = 1e4, .above_min = true, .help = "Multiplies output lengths further."})
      .check([](const PhaseSpec& p) {
        return p.until_s && p.duration_s ? "give until_s or duration_s, not both" : "";
      });
}

Schema<SloSpec> slo_schema() {
  return Schema<SloSpec>("slo")
      .field("name", &SloSpec::name, {.help = "For reports."})
      .field("ttft_ms", &SloSpec::ttft_ms,
             {.min = 0, .max = 1e9, .unit = "ms", .help = "Target for the first token; 0: none."})
      .field("tpot_ms", &SloSpec::tpot_ms,
             {.min = 0, .max = 1e9, .unit = "ms", .help = "Target per further token; 0: none."})
      .field("share", &SloSpec::share,
             {.min = 0,
              .max = 1,
              .help = "Part of the requests; default: an equal part of what the others leave."});
}

}  // namespace

config::Schema<WorkloadSpec> workload_schema() {
  return Schema<WorkloadSpec>("the workload file")
      .section("trace", &WorkloadSpec::trace, trace_schema(), {.help = "Replay a recorded trace."})
      .section("synthetic", &WorkloadSpec::synthetic, synthetic_schema(),
               {.help = "Draw requests instead."})
      .section("arrivals", &WorkloadSpec::arrivals_given, arrivals_schema(),
               {.help = "When requests come; default kind: trace."})
      .field(
          "max_requests", &WorkloadSpec::max_requests,
          {.min = 1, .max = kMaxRequests, .help = "Stop after so many (a trace may end earlier)."})
      .field("warmup_requests", &WorkloadSpec::warmup_requests,
             {.min = 0, .max = kMaxRequests, .help = "The first so many are run but not counted."})
      .field("duration_s", &WorkloadSpec::duration_s,
             {.min = 0,
              .max = kMaxSeconds,
              .above_min = true,
              .unit = "s",
              .help = "No arrival at or after this time."})
      .field("seed", &WorkloadSpec::seed,
             {.help = "Seed of all draws; seed s of a trace starts at row s x rows / 8."})
      .list("phases", &WorkloadSpec::phases, phase_schema(),
            {.help = "Changes over time, in order."})
      .list("slo", &WorkloadSpec::slo, slo_schema(),
            {.help = "Service levels, drawn per request."});
}

}  // namespace lodestar::sim
