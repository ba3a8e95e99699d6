// SPDX-License-Identifier: Apache-2.0
// Synthetic workloads: shared-prefix, multi-turn, and mixes of them. Content
// streams are numbered per part, so a part draws the same prompts whatever the
// arrival process is.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "sim/arrivals.h"
#include "sim/workload_build.h"

namespace lodestar::sim {
namespace {

std::int64_t draw(Rng& rng, IntRange range) { return rng.between(range.min, range.max); }

DurationNs draw(Rng& rng, const SecondsRange& range) {
  if (range.mean > 0) return from_s(rng.exponential(range.mean));
  return from_s(range.min + (range.max - range.min) * rng.uniform());
}

// Requests of one part; start() adds what one arrival brings.
class Generator {
 public:
  Generator(const WorkloadSpec& spec, const SyntheticSpec& part, std::uint64_t part_number,
            const Rng& rng, PlanBuilder& builder)
      : spec_(spec),
        part_(part),
        number_(part_number),
        builder_(builder),
        rng_(rng.fork("synthetic", part_number)) {
    if (part.kind == SyntheticKind::kSharedPrefix)
      live_.resize(part.prompt_tokens.size() * static_cast<std::size_t>(part.prefixes_per_length));
    for (std::int64_t i = 0; i < part.system_prompts; ++i)
      system_lengths_.push_back(draw(rng_, part.system_prompt_tokens));
  }

  void start(TimeNs at) {
    if (part_.kind == SyntheticKind::kSharedPrefix)
      shared_prefix(at);
    else
      conversation(at);
  }

 private:
  struct Prefix {
    std::uint64_t name = 0;  // 0: none yet
    std::int64_t uses = 0;
  };

  void shared_prefix(TimeNs at) {
    const std::size_t length = rng_.below(part_.prompt_tokens.size());
    const std::size_t slot = length * static_cast<std::size_t>(part_.prefixes_per_length) +
                             rng_.below(static_cast<std::uint64_t>(part_.prefixes_per_length));
    const std::int64_t output = draw(rng_, part_.output_tokens);
    Prefix& prefix = live_[slot];
    if (prefix.name == 0 || prefix.uses >= part_.uses_per_prefix) prefix = {++prefix_names_, 0};
    ++prefix.uses;
    const PhaseSpec* phase = phase_at(spec_.phases, at);
    const double share = phase != nullptr && phase->share ? *phase->share : part_.share;
    const std::int64_t total = part_.prompt_tokens[length];
    const auto shared =
        static_cast<std::int64_t>(std::floor(static_cast<double>(total) * share + 0.5));
    PlannedRequest& r = builder_.open(at);
    r.session_slot = builder_.new_session();
    r.output_tokens = builder_.output_tokens(output, at);
    r.output.stream = stream_id("synthetic-output", number_, ++requests_);
    builder_.span({stream_id("prefix", number_, prefix.name), 0, shared});
    builder_.span({stream_id("own", number_, requests_), 0, total - shared});
    builder_.close();
  }

  // Turn k's prompt is the system prompt, then all turns so far: questions and
  // answers lie in one stream, one behind the other, as the engine generated them.
  void conversation(TimeNs at) {
    const std::size_t system = rng_.below(system_lengths_.size());
    const std::int64_t turns = draw(rng_, part_.turns);
    const std::uint64_t stream = stream_id("conversation", number_, ++conversations_);
    const std::uint32_t slot = builder_.new_session();
    std::int64_t history = 0;
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      history += draw(rng_, part_.new_tokens);
      PlannedRequest& r = builder_.open(at);
      r.session_slot = slot;
      r.session = stream;
      r.output_tokens = builder_.output_tokens(draw(rng_, part_.output_tokens), at);
      r.output = {stream, static_cast<std::uint64_t>(history), 0};
      history += r.output_tokens;
      builder_.span({stream_id("system", number_, system), 0, system_lengths_[system]});
      builder_.span({stream, 0, static_cast<std::int64_t>(r.output.first)});
      const std::uint32_t index = builder_.close();
      const DurationNs pause = draw(rng_, part_.think_time_s);
      if (turn > 0 && !part_.open_loop) builder_.wait(index - 1, index, pause_);
      pause_ = pause;
      if (part_.open_loop) at += pause;
    }
  }

  const WorkloadSpec& spec_;
  const SyntheticSpec& part_;
  std::uint64_t number_;
  PlanBuilder& builder_;
  Rng rng_;
  std::vector<Prefix> live_;  // by length, then slot
  std::vector<std::int64_t> system_lengths_;
  std::uint64_t prefix_names_ = 0, requests_ = 0, conversations_ = 0;
  DurationNs pause_ = 0;
};

std::size_t pick_part(Rng& rng, const std::vector<SyntheticSpec>& parts) {
  double total = 0;
  for (const SyntheticSpec& part : parts) total += part.weight;
  double u = rng.uniform() * total;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i)
    if ((u -= parts[i].weight) < 0) return i;
  return parts.size() - 1;
}

}  // namespace

Result<void> plan_synthetic(const WorkloadSpec& spec, std::uint64_t seed, PlanBuilder& builder) {
  const SyntheticSpec& synthetic = *spec.synthetic;
  const Rng rng = Rng(seed).fork("workload");
  const std::vector<SyntheticSpec> one{synthetic};
  const std::vector<SyntheticSpec>& parts =
      synthetic.kind == SyntheticKind::kMix ? synthetic.parts : one;
  // An arrival brings one request or more, so max_requests arrivals always do; the
  // plan is cut to length later. Drawing as many keeps the rate up to the end.
  constexpr std::size_t kMost = 10'000'000;
  std::size_t count = spec.max_requests ? static_cast<std::size_t>(*spec.max_requests) : kMost;
  if (synthetic.sessions) count = std::min(count, static_cast<std::size_t>(*synthetic.sessions));
  const std::vector<TimeNs> times = draw_arrivals(spec, seed, count, {});
  if (!spec.max_requests && times.size() == kMost)
    return fail(ErrorCode::kTooLarge, "the workload holds more than " + std::to_string(kMost) +
                                          " requests; lower the rate or duration_s");
  std::vector<Generator> generators;
  for (std::size_t i = 0; i < parts.size(); ++i)
    generators.emplace_back(spec, parts[i], i, rng, builder);
  Rng choice = rng.fork("mix");
  for (const TimeNs at : times) {
    generators[parts.size() == 1 ? 0 : pick_part(choice, parts)].start(at);
    if (builder.size() > 2 * kMost)
      return fail(ErrorCode::kTooLarge, "the conversations hold more than " +
                                            std::to_string(2 * kMost) +
                                            " requests; lower sessions, turns or max_requests");
  }
  return {};
}

}  // namespace lodestar::sim
