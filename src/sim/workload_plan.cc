// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/hash.h"
#include "sim/arrivals.h"
#include "sim/workload_build.h"

namespace lodestar::sim {
namespace {

// Start rows and drawn times reuse generator seeds across files; the label keeps
// a workload's streams apart from those of engines and policies.
Rng workload_rng(std::uint64_t seed) { return Rng(seed).fork("workload"); }

std::int64_t scaled(std::int64_t tokens, double factor) {
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::floor(static_cast<double>(tokens) * factor + 0.5)));
}

// Recorded arrivals from row `start` on, wrapped around, for `passes` passes.
std::vector<TimeNs> recorded_times(const TraceSpec& spec, const Trace& trace, std::size_t start,
                                   std::uint64_t seed) {
  const std::size_t rows = trace.rows.size();
  std::vector<TimeNs> file(rows);
  for (std::size_t i = 0; i < rows; ++i) file[i] = trace.rows[i].timestamp;
  DurationNs bin = detect_bin(file);
  if (trace.format == TraceFormat::kAzure) bin = 0;  // exact to 100 ns; equal times are bursts
  if (spec.bin_s) bin = from_s(*spec.bin_s);
  // One turn of the wrapped trace: its length plus one typical step.
  const DurationNs step =
      bin > 0 ? bin : file.back() / std::max<TimeNs>(1, static_cast<TimeNs>(rows) - 1);
  const DurationNs turn = file.back() + step;
  if (bin > 0) {
    Rng rng = workload_rng(seed).fork("bins");
    spread_bins(file, bin, rng);
  }
  std::vector<TimeNs> out;
  const auto scale = [&](double ns) {
    return static_cast<TimeNs>(std::min(ns * spec.time_scale, 4e18));
  };
  // The run starts at the start of the first row's bin, not at its drawn time.
  const auto origin = static_cast<double>(trace.rows[start].timestamp);
  for (std::size_t i = 0; i < rows * static_cast<std::size_t>(spec.repeat); ++i) {
    const auto turns = static_cast<double>((start + i) / rows);
    out.push_back(scale(static_cast<double>(file[(start + i) % rows]) - origin +
                        turns * static_cast<double>(turn)));
  }
  return out;
}

}  // namespace

std::uint64_t stream_id(std::string_view label, std::uint64_t a, std::uint64_t b) {
  return hash_combine(hash_combine(hash_string(label), a), b);
}

std::size_t start_row(std::uint64_t seed, std::int64_t start_row, std::size_t rows) {
  // seed * rows / 8 mod rows, without overflow: whole eighths, then the rest.
  const std::uint64_t eighths = seed % 8;
  const std::uint64_t n = rows;
  return static_cast<std::size_t>((eighths * n / 8 + static_cast<std::uint64_t>(start_row) % n) %
                                  n);
}

std::vector<TimeNs> draw_arrivals(const WorkloadSpec& spec, std::uint64_t seed, std::size_t count,
                                  const std::vector<TimeNs>& recorded) {
  std::vector<TimeNs> out;
  const TimeNs end = spec.duration_s ? from_s(*spec.duration_s) : kNever;
  if (spec.arrivals.kind == ArrivalKind::kClosed) return std::vector<TimeNs>(count, 0);
  if (spec.arrivals.kind == ArrivalKind::kTrace) {
    for (std::size_t i = 0; i < std::min(count, recorded.size()) && recorded[i] < end; ++i)
      out.push_back(recorded[i]);
    return out;
  }
  ArrivalProcess process(spec.arrivals, spec.phases, workload_rng(seed).fork("arrivals"));
  while (out.size() < count) {
    const TimeNs at = process.next();
    if (at >= end) break;
    out.push_back(at);
  }
  return out;
}

PlannedRequest& PlanBuilder::open(TimeNs arrival) {
  PlannedRequest& r = plan_.requests.emplace_back();
  r.arrival = arrival;
  r.spans_begin = r.spans_end = plan_.spans.size();
  return r;
}

std::uint32_t PlanBuilder::close() {
  PlannedRequest& r = plan_.requests.back();
  r.spans_end = plan_.spans.size();
  r.prompt_tokens = total_tokens(plan_.content(r));
  LODESTAR_CHECK(r.prompt_tokens >= 1 && r.output_tokens >= 1);
  r.output.tokens = r.output_tokens;
  return static_cast<std::uint32_t>(plan_.requests.size() - 1);
}

void PlanBuilder::wait(std::uint32_t from, std::uint32_t to, DurationNs delay) {
  links_.push_back({from, {to, delay}});
  ++plan_.requests[to].pending;
}

std::int64_t PlanBuilder::output_tokens(std::int64_t recorded, TimeNs arrival) const {
  double factor = spec_.trace ? spec_.trace->output_scale : 1;
  const PhaseSpec* phase = phase_at(spec_.phases, arrival);
  if (phase != nullptr && phase->output_scale) factor *= *phase->output_scale;
  return scaled(recorded, factor);
}

Result<void> PlanBuilder::finish(std::uint64_t seed) {
  plan_.max_requests =
      spec_.max_requests ? static_cast<std::uint64_t>(*spec_.max_requests) : plan_.requests.size();
  plan_.warmup_requests = static_cast<std::uint64_t>(spec_.warmup_requests);
  plan_.end = spec_.duration_s ? from_s(*spec_.duration_s) : kNever;
  plan_.concurrency = static_cast<std::uint32_t>(spec_.arrivals.concurrency);
  plan_.closed_loop = !links_.empty();
  if (!plan_.closed_loop) sort_open_loop();
  if (auto ok = check_not_empty(); !ok) return ok;
  lay_out_edges();
  for (std::uint32_t i = 0; i < plan_.requests.size(); ++i)
    if (plan_.requests[i].pending == 0) plan_.heads.push_back(i);
  std::sort(plan_.heads.begin(), plan_.heads.end(), [&](std::uint32_t a, std::uint32_t b) {
    const TimeNs x = plan_.requests[a].arrival, y = plan_.requests[b].arrival;
    return x != y ? x < y : a < b;
  });
  draw_slo(workload_rng(seed).fork("slo"));
  return {};
}

void PlanBuilder::sort_open_loop() {
  auto& all = plan_.requests;
  // Spans grow with every request, so their place tells which one was made first.
  std::sort(all.begin(), all.end(), [](const PlannedRequest& a, const PlannedRequest& b) {
    return a.arrival != b.arrival ? a.arrival < b.arrival : a.spans_begin < b.spans_begin;
  });
  while (!all.empty() && all.back().arrival >= plan_.end) all.pop_back();
  if (all.size() > plan_.max_requests) all.resize(plan_.max_requests);
}

void PlanBuilder::lay_out_edges() {
  std::sort(links_.begin(), links_.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second.to < b.second.to;
  });
  std::size_t next = 0;
  for (std::uint32_t i = 0; i < plan_.requests.size(); ++i) {
    PlannedRequest& r = plan_.requests[i];
    r.edges_begin = static_cast<std::uint32_t>(next);
    for (; next < links_.size() && links_[next].first == i; ++next)
      plan_.edges.push_back(links_[next].second);
    r.edges_end = static_cast<std::uint32_t>(next);
  }
  links_.clear();
}

void PlanBuilder::draw_slo(Rng rng) {
  for (const SloSpec& slo : spec_.slo) plan_.slos.push_back({slo.ttft_ms, slo.tpot_ms});
  if (spec_.slo.empty()) return;
  for (PlannedRequest& r : plan_.requests) {
    double u = rng.uniform();
    for (std::uint32_t i = 0; i < spec_.slo.size(); ++i) {
      u -= *spec_.slo[i].share;
      if (u >= 0 && !(i + 1 == spec_.slo.size() && u < 1e-9)) continue;
      r.slo_class = i;
      break;
    }
  }
}

Result<void> PlanBuilder::check_not_empty() const {
  if (plan_.requests.empty())
    return fail(ErrorCode::kInvalidArgument,
                "the workload holds no requests: nothing arrives before duration_s, or all phases "
                "have rate 0");
  const std::uint64_t most = std::min<std::uint64_t>(plan_.max_requests, plan_.requests.size());
  if (plan_.warmup_requests >= most)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the workload holds {} requests and warmup_requests is {}: nothing would "
                    "be counted; lower warmup_requests or raise max_requests, duration_s or "
                    "the rate",
                    most, plan_.warmup_requests));
  return {};
}

Result<void> plan_open_trace(const WorkloadSpec& spec, const Trace& trace, std::uint64_t seed,
                             PlanBuilder& builder) {
  const TraceSpec& options = *spec.trace;
  const std::size_t rows = trace.rows.size();
  const std::size_t start = start_row(seed, options.start_row, rows);
  std::size_t count = rows * static_cast<std::size_t>(options.repeat);
  if (spec.max_requests) count = std::min(count, static_cast<std::size_t>(*spec.max_requests));
  std::vector<TimeNs> recorded;
  if (spec.arrivals.kind == ArrivalKind::kTrace)
    recorded = recorded_times(options, trace, start, seed);
  const std::vector<TimeNs> times = draw_arrivals(spec, seed, count, recorded);
  const std::int64_t unit =
      options.replay_block_tokens.value_or(options.trace_block_tokens.value_or(512));
  for (std::size_t i = 0; i < times.size(); ++i) {
    const TraceRow& row = trace.rows[(start + i) % rows];
    const std::uint64_t pass = i / rows;
    PlannedRequest& r = builder.open(times[i]);
    r.session_slot = builder.new_session();
    r.output_tokens = builder.output_tokens(row.output_tokens, times[i]);
    r.output.stream = stream_id("output", i);
    std::int64_t ids = 0;
    for (std::size_t k = row.runs_begin; k < row.runs_end; ++k) ids += trace.runs[k].count;
    std::int64_t left =
        options.replay_block_tokens ? std::max<std::int64_t>(1, ids * unit) : row.input_tokens;
    if (options.input_cap) left = std::min(left, *options.input_cap);
    for (std::size_t k = row.runs_begin; k < row.runs_end && left > 0; ++k) {
      const IdRun& run = trace.runs[k];
      const std::int64_t tokens = std::min(left, run.count * unit);
      builder.span(
          {stream_id("trace", pass), run.first * static_cast<std::uint64_t>(unit), tokens});
      left -= tokens;
    }
    builder.span({stream_id("unshared", i), 0, left});  // no id covers these: nobody shares them
    builder.close();
  }
  return {};
}

Result<std::shared_ptr<const Trace>> load_trace_of(const WorkloadSpec& spec) {
  if (!spec.trace) return std::shared_ptr<const Trace>();
  return load_trace(resolve_path(spec.base_dir, spec.trace->file), spec.trace->format);
}

Result<std::shared_ptr<const WorkloadPlan>> make_plan(const WorkloadSpec& spec, const Trace* trace,
                                                      std::uint64_t seed) {
  auto plan = std::make_shared<WorkloadPlan>();
  PlanBuilder builder(spec, *plan);
  Result<void> ok;
  if (!spec.trace)
    ok = plan_synthetic(spec, seed, builder);
  else if (trace->format == TraceFormat::kKvCacheTester)
    ok = plan_sessions(spec, *trace, seed, builder);
  else
    ok = plan_open_trace(spec, *trace, seed, builder);
  if (ok) ok = builder.finish(seed);
  if (!ok) return std::unexpected(ok.error());
  return plan;
}

Result<std::shared_ptr<const WorkloadPlan>> make_plan(const WorkloadSpec& spec) {
  auto trace = load_trace_of(spec);
  if (!trace) return std::unexpected(trace.error());
  return make_plan(spec, trace->get(), spec.seed);
}

}  // namespace lodestar::sim
