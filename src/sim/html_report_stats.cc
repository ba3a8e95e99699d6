// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lodestar::sim::report {
namespace {

bool usable(double value) { return std::isfinite(value) && value >= 0; }

// Two-sided 97.5 % quantile of Student's t by degrees of freedom (1..30), any
// statistics table; beyond 30 the normal value is close enough for a report.
double student_t(std::size_t freedom) {
  constexpr double kTable[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                               2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                               2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                               2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  return freedom == 0 ? kNotMeasured : freedom <= 30 ? kTable[freedom - 1] : 1.96;
}

// Mean of one summary number over the seeds that measured it.
double over_seeds(const PolicySet& set, double ReportSummary::* which) {
  double sum = 0;
  std::size_t count = 0;
  for (const ReportRun* run : set.runs) {
    if (!std::isfinite(run->summary.*which)) continue;
    sum += run->summary.*which;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : kNotMeasured;
}

double mean_hit_fraction(const PolicySet& set) {
  double sum = 0;
  std::size_t count = 0;
  for (const ReportSample* sample : set.samples) {
    if (sample->failed || !usable(sample->hit_fraction)) continue;
    sum += sample->hit_fraction;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : kNotMeasured;
}

void finish(PolicySet& set) {
  constexpr double kEver = std::numeric_limits<double>::infinity();
  std::vector<double> seed_means;
  for (const ReportRun* run : set.runs) {
    std::vector<const ReportSample*> mine;
    for (const ReportSample& sample : run->samples) {
      mine.push_back(&sample);
      set.failed += sample.failed;
      set.fallbacks += sample.fallback;
    }
    const Stats seed = stats_of(latencies(mine, &ReportSample::ttft_ms, -kEver, kEver));
    if (seed.count) seed_means.push_back(seed.mean);
    set.samples.insert(set.samples.end(), mine.begin(), mine.end());
  }
  set.ttft = stats_of(latencies(set.samples, &ReportSample::ttft_ms, -kEver, kEver));
  set.tpot = stats_of(latencies(set.samples, &ReportSample::tpot_ms, -kEver, kEver));
  set.e2e = stats_of(latencies(set.samples, &ReportSample::e2e_ms, -kEver, kEver));
  set.ttft_half_width_ms = confidence_half_width(seed_means);
  set.hit_ratio = over_seeds(set, &ReportSummary::prefix_hit_ratio);
  if (!std::isfinite(set.hit_ratio)) set.hit_ratio = mean_hit_fraction(set);
  set.tokens_per_s = over_seeds(set, &ReportSummary::output_tokens_per_s);
  set.slo = over_seeds(set, &ReportSummary::slo_attainment);
  set.decision_us_p50 = over_seeds(set, &ReportSummary::decision_us_p50);
  set.decision_us_p99 = over_seeds(set, &ReportSummary::decision_us_p99);
  set.markers = set.runs.front()->markers;
  if (set.runs.size() == 1) set.decision_hash = set.runs.front()->summary.decision_hash;
}

}  // namespace

double quantile(std::span<const double> sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  if (low + 1 >= sorted.size()) return sorted.back();
  return sorted[low] + (sorted[low + 1] - sorted[low]) * (at - static_cast<double>(low));
}

Stats stats_of(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !usable(v); });
  Stats stats;
  stats.count = values.size();
  if (values.empty()) return stats;
  double sum = 0;
  for (double v : values) sum += v;
  std::sort(values.begin(), values.end());
  stats.mean = sum / static_cast<double>(values.size());
  stats.p50 = quantile(values, 0.50);
  stats.p90 = quantile(values, 0.90);
  stats.p99 = quantile(values, 0.99);
  return stats;
}

double confidence_half_width(std::span<const double> values) {
  if (values.size() < 2) return kNotMeasured;
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (double v : values) mean += v / n;
  for (double v : values) squares += (v - mean) * (v - mean);
  return student_t(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
}

std::vector<double> latencies(std::span<const ReportSample* const> samples, Latency which,
                              double from_s, double until_s) {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const ReportSample* sample : samples) {
    if (sample->failed || !usable(sample->*which)) continue;
    if (sample->arrival_s >= from_s && sample->arrival_s < until_s)
      values.push_back(sample->*which);
  }
  return values;
}

std::vector<Comparison> compare(const ReportData& data) {
  std::vector<Comparison> all;
  for (const ReportRun& run : data.runs) {
    auto group = std::find_if(all.begin(), all.end(), [&](const Comparison& c) {
      return c.cluster == run.cluster && c.workload == run.workload;
    });
    if (group == all.end())
      group = all.insert(all.end(), Comparison{run.cluster, run.workload, {}, 0});
    auto set = std::find_if(group->policies.begin(), group->policies.end(),
                            [&](const PolicySet& p) { return p.policy == run.policy; });
    if (set == group->policies.end()) {
      set = group->policies.insert(group->policies.end(), PolicySet{});
      set->policy = run.policy;
    }
    set->runs.push_back(&run);
    for (const ReportSample& sample : run.samples)
      if (usable(sample.arrival_s)) group->end_s = std::max(group->end_s, sample.arrival_s);
  }
  for (Comparison& group : all)
    for (PolicySet& set : group.policies) finish(set);
  return all;
}

Windows windows_of(const PolicySet& set, Latency which, double end_s, std::size_t count) {
  Windows windows;
  windows.width_s = end_s > 0 ? end_s / static_cast<double>(count) : 1;
  std::vector<std::vector<double>> buckets(count);
  for (const ReportSample* sample : set.samples) {
    if (sample->failed || !usable(sample->*which) || !usable(sample->arrival_s)) continue;
    const auto index = static_cast<std::size_t>(sample->arrival_s / windows.width_s);
    buckets[std::min(index, count - 1)].push_back(sample->*which);
  }
  for (std::vector<double>& bucket : buckets) {
    const Stats stats = stats_of(std::move(bucket));
    windows.mean.push_back(stats.mean);
    windows.p99.push_back(stats.p99);
  }
  return windows;
}

}  // namespace lodestar::sim::report
