// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_summary.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/math.h"
#include "sim/html_report_stats.h"

namespace lodestar::sim {
namespace {

using Runs = std::map<std::uint64_t, RunDigest>;
using Measure = double RunDigest::*;

// Ratio of one measure over the seeds that both have.
Ratio paired(const Runs& numerator, const Runs& denominator, Measure which) {
  std::vector<double> above, below;
  for (const auto& [seed, run] : denominator) {
    const auto other = numerator.find(seed);
    if (other == numerator.end()) continue;
    above.push_back(other->second.*which);
    below.push_back(run.*which);
  }
  return ratio_of(above, below);
}

double first_window(const RunDigest& run) {
  return run.window == 100 && !run.window_ttft_ms.empty() ? run.window_ttft_ms[0] : kNotMeasured;
}

Ratio first_100(const Runs& baseline, const Runs& mine) {
  std::vector<double> above, below;
  for (const auto& [seed, run] : mine) {
    const auto other = baseline.find(seed);
    if (other == baseline.end()) continue;
    above.push_back(first_window(other->second));
    below.push_back(first_window(run));
  }
  return ratio_of(above, below);
}

// Per seed, the rule that is best by mean TTFT on all other seeds: choosing it on
// the seed that it is compared on would flatter the rules.
Ratio against_best(const std::vector<const Runs*>& rules, const Runs& mine, Measure which) {
  std::vector<double> above, below;
  for (const auto& [seed, run] : mine) {
    double best_score = INFINITY;
    const RunDigest* best = nullptr;
    for (const Runs* rule : rules) {
      const auto here = rule->find(seed);
      double score = 0;
      std::size_t count = 0;
      for (const auto& [other_seed, other] : *rule) {
        if (other_seed == seed && rule->size() > 1) continue;
        score += det_log(other.ttft_mean_ms);
        ++count;
      }
      if (here == rule->end() || count == 0) continue;
      score /= static_cast<double>(count);
      if (!(score < best_score)) continue;
      best_score = score;
      best = &here->second;
    }
    if (best == nullptr) continue;
    above.push_back(best->*which);
    below.push_back(run.*which);
  }
  return ratio_of(above, below);
}

std::vector<LearningPoint> learning_curve(const Runs& baseline, const Runs* reference,
                                          const Runs& mine) {
  std::size_t windows = 0;
  std::uint32_t width = 0;
  for (const auto& [seed, run] : mine) {
    windows = std::max(windows, run.window_ttft_ms.size());
    width = std::max(width, run.window);
  }
  std::vector<LearningPoint> curve(windows);
  std::map<std::uint64_t, double> regret;
  for (std::size_t w = 0; w < windows; ++w) {
    std::vector<double> above, below;
    double regret_sum = 0, ttft_sum = 0;
    std::size_t regret_count = 0, ttft_count = 0;
    for (const auto& [seed, run] : mine) {
      if (w >= run.window_ttft_ms.size()) continue;
      if (std::isfinite(run.window_ttft_ms[w])) {
        ttft_sum += run.window_ttft_ms[w];
        ++ttft_count;
      }
      const auto base = baseline.find(seed);
      if (base != baseline.end() && w < base->second.window_ttft_ms.size()) {
        above.push_back(base->second.window_ttft_ms[w]);
        below.push_back(run.window_ttft_ms[w]);
      }
      if (reference == nullptr) continue;
      const auto best = reference->find(seed);
      if (best == reference->end() || w >= best->second.window_ttft_ms.size()) continue;
      const double excess = run.window_ttft_ms[w] - best->second.window_ttft_ms[w];
      if (std::isfinite(excess)) regret[seed] += excess * 1e-3 * static_cast<double>(width);
      regret_sum += regret[seed];
      ++regret_count;
    }
    const Ratio ratio = ratio_of(above, below);
    curve[w] = {(w + 1) * std::uint64_t{width},
                ratio.mean,
                ratio.low,
                ratio.high,
                ttft_count ? ttft_sum / static_cast<double>(ttft_count) : kNotMeasured,
                regret_count ? regret_sum / static_cast<double>(regret_count) : kNotMeasured};
  }
  return curve;
}

std::optional<std::uint64_t> served_to_90_percent(const std::vector<LearningPoint>& curve) {
  constexpr std::size_t kSmooth = 5;  // windows: one alone is mostly noise
  constexpr double kSmallestGain = 0.02;
  const auto mean_log = [&](std::size_t from, std::size_t to) {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = from; i < to; ++i) {
      if (!(curve[i].ratio > 0)) continue;
      sum += det_log(curve[i].ratio);
      ++count;
    }
    return count ? sum / static_cast<double>(count) : kNotMeasured;
  };
  if (curve.size() < 4 * kSmooth) return std::nullopt;
  const double final_gain = mean_log(curve.size() / 2, curve.size());
  if (!(final_gain > kSmallestGain)) return std::nullopt;
  for (std::size_t i = 0; i + kSmooth <= curve.size(); ++i)
    if (mean_log(i, i + kSmooth) >= 0.9 * final_gain) return i == 0 ? 0 : curve[i - 1].served;
  return std::nullopt;
}

void merge_counts(std::vector<std::uint32_t>& into, const std::vector<std::uint32_t>& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) into[i] += from[i];
}

void merge_predictions(PredictionDigest& into, const PredictionDigest& from) {
  into.pairs.insert(into.pairs.end(), from.pairs.begin(), from.pairs.end());
  into.count += from.count;
  into.sum_relative_error += from.sum_relative_error;
  into.with_interval += from.with_interval;
  into.below_lo += from.below_lo;
  into.below_point += from.below_point;
  into.below_hi += from.below_hi;
  merge_counts(into.window_total, from.window_total);
  merge_counts(into.window_inside, from.window_inside);
  merge_counts(into.row_total, from.row_total);
  merge_counts(into.row_inside, from.row_inside);
}

// Seeds whose bins are as wide as the first one's: nearly always all.
void merge_placements(const Runs& runs, PolicySummary& out) {
  const RunDigest& first = runs.begin()->second;
  const std::size_t rows = first.rows.size();
  if (rows == 0) return;
  out.bin_s = first.bin_s;
  out.rows = first.rows;
  out.row_instances = first.row_instances;
  std::size_t bins = 0, used = 0;
  for (const auto& [seed, run] : runs)
    if (run.bin_s == first.bin_s && run.rows == first.rows)
      bins = std::max(bins, run.placed.size() / rows);
  out.placed.assign(rows * bins, 0);
  for (const auto& [seed, run] : runs) {
    if (run.bin_s != first.bin_s || run.rows != first.rows) continue;
    const std::size_t mine = run.placed.size() / rows;
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t b = 0; b < mine; ++b) out.placed[r * bins + b] += run.placed[r * mine + b];
    ++used;
  }
  for (double& v : out.placed) v /= static_cast<double>(used);
}

double mean_over(const Runs& runs, const std::function<double(const RunDigest&)>& value) {
  double sum = 0;
  std::size_t count = 0;
  for (const auto& [seed, run] : runs) {
    const double v = value(run);
    if (!std::isfinite(v)) continue;
    sum += v;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : kNotMeasured;
}

void fill_totals(const Runs& baseline, const Runs& mine, PolicySummary& out) {
  std::uint64_t lost_here = 0, lost_there = 0;
  for (const auto& [seed, run] : mine) {
    out.requests += run.result.requests;
    out.failed += run.result.failed;
    out.unfinished += run.result.unfinished;
    out.ttft.merge(run.ttft);
    merge_predictions(out.predictions, run.predictions);
    const auto other = baseline.find(seed);
    if (other == baseline.end()) continue;
    lost_here += run.result.failed + run.result.unfinished;
    lost_there += other->second.result.failed + other->second.result.unfinished;
  }
  out.lost = lost_here > lost_there;
  constexpr std::size_t kMostPairs = 1500;  // as many as a scatter plot can show
  auto& pairs = out.predictions.pairs;
  if (pairs.size() > kMostPairs) {
    for (std::size_t i = 0; i < kMostPairs; ++i) pairs[i] = pairs[i * pairs.size() / kMostPairs];
    pairs.resize(kMostPairs);
  }
  out.ttft_mean_ms = mean_over(mine, [](const RunDigest& r) { return r.ttft_mean_ms; });
  out.ttft_p99_ms = mean_over(mine, [](const RunDigest& r) { return r.ttft_p99_ms; });
  out.tpot_mean_ms = mean_over(mine, [](const RunDigest& r) { return r.tpot_mean_ms; });
  out.e2e_mean_ms = mean_over(mine, [](const RunDigest& r) { return r.e2e_mean_ms; });
  out.hit_ratio = mean_over(
      mine, [](const RunDigest& r) { return r.result.prefix_hit_ratio.value_or(kNotMeasured); });
  out.decision_us = mean_over(
      mine, [](const RunDigest& r) { return r.result.decision_us.mean.value_or(kNotMeasured); });
}

struct Compared {
  const Runs& baseline;
  const Runs* reference;
  std::vector<const Runs*> rules;
};

PolicySummary summarise_policy(const Compared& with, const Runs& mine) {
  PolicySummary out;
  out.seeds = mine.size();
  fill_totals(with.baseline, mine, out);
  out.ttft_mean = paired(with.baseline, mine, &RunDigest::ttft_mean_ms);
  out.ttft_p99 = paired(with.baseline, mine, &RunDigest::ttft_p99_ms);
  out.tpot_mean = paired(with.baseline, mine, &RunDigest::tpot_mean_ms);
  out.e2e_mean = paired(with.baseline, mine, &RunDigest::e2e_mean_ms);
  if (with.reference != nullptr) {
    out.share_mean = paired(*with.reference, mine, &RunDigest::ttft_mean_ms);
    out.share_p99 = paired(*with.reference, mine, &RunDigest::ttft_p99_ms);
  }
  if (!with.rules.empty()) {
    out.best_mean = against_best(with.rules, mine, &RunDigest::ttft_mean_ms);
    out.best_p99 = against_best(with.rules, mine, &RunDigest::ttft_p99_ms);
  }
  out.first_100 = first_100(with.baseline, mine);
  out.learning = learning_curve(with.baseline, with.reference, mine);
  out.served_to_90_percent = served_to_90_percent(out.learning);
  merge_placements(mine, out);
  return out;
}

}  // namespace

Ratio ratio_of(const std::vector<double>& numerators, const std::vector<double>& denominators) {
  std::vector<double> logs;
  for (std::size_t i = 0; i < std::min(numerators.size(), denominators.size()); ++i) {
    const double ratio = numerators[i] / denominators[i];
    if (std::isfinite(ratio) && ratio > 0) logs.push_back(det_log(ratio));
  }
  Ratio out;
  out.seeds = logs.size();
  if (logs.empty()) return out;
  double sum = 0;
  for (double v : logs) sum += v;
  const double mean = sum / static_cast<double>(logs.size());
  out.mean = det_exp(mean);
  const double half = report::confidence_half_width(logs);
  if (std::isfinite(half)) {
    out.low = det_exp(mean - half);
    out.high = det_exp(mean + half);
  }
  return out;
}

Ratio pool(const std::vector<Ratio>& ratios) {
  double sum = 0, squares = 0;
  std::size_t count = 0;
  bool intervals = true;
  Ratio out;
  for (const Ratio& r : ratios) {
    if (!(r.mean > 0)) continue;
    sum += det_log(r.mean);
    const double half = r.low > 0 ? det_log(r.high / r.low) / 2 : kNotMeasured;
    intervals &= std::isfinite(half);
    squares += half * half;
    out.seeds += r.seeds;
    ++count;
  }
  if (count == 0) return out;
  const auto n = static_cast<double>(count);
  out.mean = det_exp(sum / n);
  if (intervals) {
    out.low = det_exp(sum / n - std::sqrt(squares) / n);
    out.high = det_exp(sum / n + std::sqrt(squares) / n);
  }
  return out;
}

const PolicySummary* PointSummary::find(const std::string& label) const {
  for (const PolicySummary& policy : policies)
    if (policy.label == label) return &policy;
  return nullptr;
}

std::vector<PointSummary> summarise_suite(const SuiteSpec& suite, const SuiteGrid& grid,
                                          const SuiteResults& results) {
  const Runs none;
  std::vector<PointSummary> out;
  for (std::size_t p = 0; p < grid.points.size(); ++p) {
    const SuitePoint& point = grid.points[p];
    const auto runs_of_label = [&](const std::string& label) -> const Runs* {
      for (std::size_t i = 0; i < point.policies.size(); ++i) {
        const auto found = results.runs.find({p, i});
        if (point.policies[i].label == label && found != results.runs.end()) return &found->second;
      }
      return nullptr;
    };
    const Runs* baseline = runs_of_label(suite.baseline);
    Compared with{baseline != nullptr ? *baseline : none,
                  suite.reference ? runs_of_label(*suite.reference) : nullptr,
                  {}};
    for (const std::string& rule : suite.best_of)
      if (const Runs* runs = runs_of_label(rule)) with.rules.push_back(runs);
    PointSummary& summary = out.emplace_back();
    summary.point = &point;
    for (std::size_t i = 0; i < point.policies.size(); ++i) {
      const auto found = results.runs.find({p, i});
      if (found == results.runs.end() || found->second.empty()) continue;
      PolicySummary& mine = summary.policies.emplace_back(summarise_policy(with, found->second));
      mine.label = point.policies[i].label;
      mine.policy = point.policies[i].policy;
      mine.wanted_seeds = static_cast<std::size_t>(point.seeds.count);
    }
  }
  return out;
}

std::vector<OverallRow> overall(const std::vector<PointSummary>& points) {
  std::vector<std::string> labels;
  std::set<double> loads;
  for (const PointSummary& point : points) {
    for (const PolicySummary& policy : point.policies)
      if (std::find(labels.begin(), labels.end(), policy.label) == labels.end())
        labels.push_back(policy.label);
    if (!point.policies.empty()) loads.insert(point.point->load_share);
  }
  std::vector<OverallRow> rows;
  // Cells without a load come last.
  std::vector<double> ordered(loads.begin(), loads.end());
  std::rotate(ordered.begin(),
              std::find_if(ordered.begin(), ordered.end(), [](double l) { return l > 0; }),
              ordered.end());
  for (double load : ordered)
    for (const std::string& label : labels) {
      OverallRow row{.label = label, .load_share = load};
      std::vector<const PolicySummary*> mine;
      for (const PointSummary& point : points)
        if (point.point->load_share == load && point.find(label) != nullptr)
          mine.push_back(point.find(label));
      if (mine.empty()) continue;
      row.points = mine.size();
      for (const PolicySummary* policy : mine) row.lost += policy->lost;
      const auto pooled = [&](Ratio PolicySummary::* which) {
        std::vector<Ratio> ratios;
        for (const PolicySummary* policy : mine) ratios.push_back(policy->*which);
        return pool(ratios);
      };
      row.ttft_mean = pooled(&PolicySummary::ttft_mean);
      row.ttft_p99 = pooled(&PolicySummary::ttft_p99);
      row.tpot_mean = pooled(&PolicySummary::tpot_mean);
      row.e2e_mean = pooled(&PolicySummary::e2e_mean);
      row.share_mean = pooled(&PolicySummary::share_mean);
      row.share_p99 = pooled(&PolicySummary::share_p99);
      row.best_mean = pooled(&PolicySummary::best_mean);
      row.best_p99 = pooled(&PolicySummary::best_p99);
      rows.push_back(std::move(row));
    }
  return rows;
}

}  // namespace lodestar::sim
