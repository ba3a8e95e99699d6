// SPDX-License-Identifier: Apache-2.0
#include "sim/workload_spec.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

namespace lodestar::sim {
namespace {

// Rules over more than one section; "" or what is wrong. They also fill in what
// is derived.
std::string check_slo(std::vector<SloSpec>& classes) {
  double given = 0;
  std::size_t open = 0;
  for (const SloSpec& slo : classes) {
    given += slo.share.value_or(0);
    open += slo.share ? 0 : 1;
  }
  if (given > 1 + 1e-9) return fmt::format("the shares of slo add up to {}, above 1", given);
  for (SloSpec& slo : classes)
    if (!slo.share) slo.share = (1 - given) / static_cast<double>(open);
  return "";
}

std::string check_phases(WorkloadSpec& w) {
  double end = 0;
  for (std::size_t i = 0; i < w.phases.size(); ++i) {
    PhaseSpec& phase = w.phases[i];
    const bool last = i + 1 == w.phases.size();
    if (!phase.until_s && !phase.duration_s && !last)
      return fmt::format("phases[{}] needs until_s or duration_s (only the last may lack both)", i);
    double next = std::numeric_limits<double>::infinity();
    if (phase.until_s) next = *phase.until_s;
    if (phase.duration_s) next = end + *phase.duration_s;
    if (next <= end) return fmt::format("phases[{}] ends at {} s, not after {} s", i, next, end);
    phase.end_s = end = next;
    const bool drawn =
        w.arrivals.kind == ArrivalKind::kPoisson || w.arrivals.kind == ArrivalKind::kGamma;
    if ((phase.rate_rps || phase.cv) && !drawn)
      return fmt::format("phases[{}] sets a rate, which needs arrivals of kind poisson or gamma",
                         i);
    if (phase.cv && w.arrivals.kind != ArrivalKind::kGamma)
      return fmt::format("phases[{}].cv needs arrivals of kind gamma", i);
    if (phase.share && (!w.synthetic || w.synthetic->kind == SyntheticKind::kMultiTurn))
      return fmt::format("phases[{}].share needs a shared-prefix workload", i);
  }
  return "";
}

std::string check_source(const WorkloadSpec& w) {
  const ArrivalSpec& a = w.arrivals;
  if (w.trace.has_value() == w.synthetic.has_value())
    return "give exactly one of trace: and synthetic:";
  if (w.synthetic && a.kind == ArrivalKind::kTrace)
    return "a synthetic workload needs arrivals: {kind: poisson, gamma or closed, ...}";
  bool rate_in_all_phases = !w.phases.empty();
  for (const PhaseSpec& phase : w.phases) rate_in_all_phases &= phase.rate_rps.has_value();
  if ((a.kind == ArrivalKind::kPoisson || a.kind == ArrivalKind::kGamma) && a.rate_rps == 0 &&
      !rate_in_all_phases)
    return "arrivals of kind poisson or gamma need rate_rps";
  if ((a.kind == ArrivalKind::kClosed) != (a.concurrency > 0))
    return "arrivals: concurrency goes with kind: closed, and that needs it";
  if (w.synthetic && !w.max_requests && !w.duration_s &&
      !(w.synthetic->kind == SyntheticKind::kMultiTurn && w.synthetic->sessions))
    return "a synthetic workload needs max_requests or duration_s, or it would not end";
  if (w.synthetic && a.kind == ArrivalKind::kClosed && !w.max_requests && !w.synthetic->sessions)
    return "closed arrivals of a synthetic workload need max_requests";
  if (w.trace && w.trace->format == TraceFormat::kAzure && w.trace->replay_block_tokens)
    return "trace.replay_block_tokens needs a trace with block ids; azure has none";
  if (w.max_requests && w.warmup_requests >= *w.max_requests)
    return fmt::format("warmup_requests {} leaves nothing of max_requests {} to count",
                       w.warmup_requests, *w.max_requests);
  return "";
}

}  // namespace

Result<WorkloadSpec> parse_workload(const std::string& text, const std::string& name,
                                    const std::string& base_dir) {
  auto node = config::parse_yaml(text, name);
  if (!node) return std::unexpected(node.error());
  WorkloadSpec spec;
  if (auto ok = workload_schema().parse(*node, spec); !ok) return std::unexpected(ok.error());
  spec.arrivals = spec.arrivals_given.value_or(ArrivalSpec{});
  spec.base_dir = base_dir;
  std::string wrong = check_phases(spec);
  if (wrong.empty()) wrong = check_source(spec);
  if (wrong.empty()) wrong = check_slo(spec.slo);
  if (!wrong.empty()) return config::fail_at(*node, "", wrong);
  return spec;
}

Result<WorkloadSpec> load_workload(const std::string& path) {
  auto node = config::read_yaml_text(path);
  if (!node) return std::unexpected(node.error());
  return parse_workload(*node, path, std::filesystem::path(path).parent_path().string());
}

std::string resolve_path(const std::string& base_dir, const std::string& file) {
  const std::filesystem::path path(file);
  if (path.is_absolute() || base_dir.empty()) return file;
  return (std::filesystem::path(base_dir) / path).lexically_normal().string();
}

}  // namespace lodestar::sim
