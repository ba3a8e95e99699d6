// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_report_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/math.h"
#include "sim/html_report_layout.h"
#include "sim/html_report_svg.h"
#include "sim/suite_report_axes.h"

namespace lodestar::sim::report {
namespace {

constexpr double kWidth = 1000, kLeft = 64, kRight = kWidth - 190;
constexpr double kEver = std::numeric_limits<double>::infinity();
using Points = std::vector<std::pair<double, double>>;

// Geometric mean over five windows: one window of one seed is mostly noise.
std::vector<double> smooth(const std::vector<LearningPoint>& curve, double LearningPoint::* which) {
  constexpr std::ptrdiff_t kHalf = 2;
  const auto n = static_cast<std::ptrdiff_t>(curve.size());
  std::vector<double> out;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    double sum = 0;
    int count = 0;
    // Symmetric, so that the first windows are not averaged with later ones alone.
    const std::ptrdiff_t half = std::min({kHalf, i, n - 1 - i});
    for (std::ptrdiff_t k = i - half; k <= i + half; ++k) {
      const double v = curve[static_cast<std::size_t>(k)].*which;
      if (!(v > 0)) continue;
      sum += det_log(v);
      ++count;
    }
    out.push_back(count ? det_exp(sum / count) : kNotMeasured);
  }
  return out;
}

struct Line {
  std::size_t policy;
  std::vector<double> values;  // along LearningPoint::served
};

// Lines against requests served, with names at their ends.
void draw_lines(Svg& svg, const PointSummary& point, const std::vector<Line>& lines,
                const Palette& palette, const Scale& x, const Scale& y, double top, double bottom) {
  std::vector<EndLabel> labels;
  for (const Line& line : lines) {
    const PolicySummary& policy = point.policies[line.policy];
    Points points;
    double last = kNotMeasured;
    for (std::size_t i = 0; i < line.values.size(); ++i) {
      const double v = line.values[i];
      const double at = std::isfinite(v) ? y(v) : kNotMeasured;
      points.emplace_back(x(static_cast<double>(policy.learning[i].served)), at);
      if (std::isfinite(at)) last = at;
    }
    if (!std::isfinite(last)) continue;
    svg.path(points, series_class(palette.series(policy.label)), policy.label);
    labels.push_back({last, palette.series(policy.label), policy.label});
  }
  end_labels(svg, std::move(labels), kRight, top, bottom);
}

double last_served(const PointSummary& point) {
  double most = 0;
  for (const PolicySummary& policy : point.policies)
    if (!policy.learning.empty())
      most = std::max(most, static_cast<double>(policy.learning.back().served));
  return most;
}
double first_served(const PointSummary& point) {
  double least = kEver;
  for (const PolicySummary& policy : point.policies)
    if (!policy.learning.empty())
      least = std::min(least, static_cast<double>(policy.learning.front().served));
  return std::isfinite(least) ? least : 1;
}

// Something changes during the run: then its middle matters as much as its start.
bool changes(const SuitePoint& point) {
  return !point.workload->phases.empty() ||
         std::any_of(point.cluster->engines.begin(), point.cluster->engines.end(),
                     [](const WorldEngine& engine) { return !engine.faults.empty(); });
}

void served_axis(Svg& svg, const Scale& x, double top, double bottom) {
  for (double tick : x.ticks(8)) {
    svg.line(x(tick), top, x(tick), bottom, "grid");
    svg.text(x(tick), bottom + 16, "tick mid", format_count(static_cast<std::size_t>(tick)));
  }
}

}  // namespace

Palette::Palette(const SuiteSpec& suite, const std::vector<PointSummary>& points)
    : baseline_(suite.baseline), reference_(suite.reference.value_or("")) {
  const auto add = [&](const std::string& label) {
    if (label != baseline_ && std::find(labels_.begin(), labels_.end(), label) == labels_.end())
      labels_.push_back(label);
  };
  // In the suite's order, but only what was run: hues are few.
  const auto was_run = [&](const std::string& label) {
    return std::any_of(points.begin(), points.end(),
                       [&](const PointSummary& point) { return point.find(label) != nullptr; });
  };
  for (const SuitePolicy& policy : suite.policies)
    if (was_run(policy.label)) add(policy.label);
  for (const PointSummary& point : points)
    for (const PolicySummary& policy : point.policies) add(policy.label);
}

std::size_t Palette::series(const std::string& label) const {
  constexpr std::size_t kGrey = 6;  // html_report_style.h: the last of the seven hues
  if (label == baseline_) return kGrey;
  const auto at = std::find(labels_.begin(), labels_.end(), label) - labels_.begin();
  const auto i = static_cast<std::size_t>(at);
  return i % kGrey + 7 * (i / kGrey);
}

std::vector<std::size_t> Palette::shown(const PointSummary& point, std::size_t at_most) const {
  std::vector<std::size_t> order(point.policies.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (order.size() <= at_most) return order;
  const auto rank = [&](std::size_t i) {
    const PolicySummary& p = point.policies[i];
    const int first = p.label == baseline_ ? 0 : p.label == reference_ ? 1 : 2;
    const double mean = std::isfinite(p.ttft_mean_ms) ? p.ttft_mean_ms : kEver;
    return std::tuple(first, mean, i);
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return rank(a) < rank(b); });
  order.resize(at_most);
  std::sort(order.begin(), order.end());
  return order;
}

std::string plot_suite_cdf(const PointSummary& point, const Palette& palette) {
  const std::vector<std::size_t> shown = palette.shown(point, 12);
  const double top = 16, bottom = std::max(296.0, top + 19.0 * double(shown.size()));
  constexpr double kFirst = 0.02, kLast = 0.9995;  // what is drawn
  Range range;
  for (std::size_t i : shown) {
    const LogHistogram& h = point.policies[i].ttft;
    const auto total = static_cast<double>(h.total());
    double below = 0;
    for (std::size_t b = 0; b < LogHistogram::kBins; ++b) {
      const bool wanted = below < kLast * total && below + h.counts[b] >= kFirst * total;
      below += h.counts[b];
      if (h.counts[b] && wanted) range.add(LogHistogram::upper_edge(b));
    }
  }
  Svg svg(kWidth, bottom + 44, "Cumulative distribution of time to first token by policy");
  if (range.empty()) return std::move(svg).finish();
  const Scale x(range.low, range.high, kLeft, kRight, true);
  // By log-odds: policies differ most in the tails.
  const auto odds = [&](double share) {
    const double q = std::clamp(share, kFirst, kLast);
    return det_log(q / (1 - q));
  };
  const Scale height(odds(0), odds(1), bottom, top, false);
  const auto y = [&](double share) { return height(odds(share)); };
  svg.axis_x(x, top, bottom, "ms", 8);
  for (const auto& [at, name] :
       {std::pair{0.1, "P10"}, {0.5, "P50"}, {0.9, "P90"}, {0.99, "P99"}, {0.999, "P99.9"}}) {
    svg.line(kLeft, y(at), kRight, y(at), "grid strong");
    svg.text(kLeft - 8, y(at) + 4, "tick end", name);
  }
  svg.text((kLeft + kRight) / 2, bottom + 36, "axis mid", "time to first token (logarithmic)");
  std::vector<EndLabel> legend;
  for (std::size_t i : shown) {
    const PolicySummary& policy = point.policies[i];
    const double total = static_cast<double>(policy.ttft.total());
    if (total == 0) continue;
    Points points;
    double below = 0, median = kEver;
    for (std::size_t b = 0; b < LogHistogram::kBins; ++b) {
      const std::uint32_t count = policy.ttft.counts[b];
      below += count;
      if (below < kFirst * total) continue;
      points.emplace_back(x(LogHistogram::upper_edge(b)), y(below / total));
      if (below >= total / 2) median = std::min(median, LogHistogram::upper_edge(b));
      if (below >= kLast * total) break;
    }
    svg.path(points, series_class(palette.series(policy.label)), policy.label);
    legend.push_back({median, palette.series(policy.label), policy.label});
  }
  std::sort(legend.begin(), legend.end());  // best median first: the curves' own order
  side_legend(svg, legend, kRight, top + 12);
  return std::move(svg).finish();
}

std::string plot_learning(const PointSummary& point, const Palette& palette) {
  constexpr double kTop = 30, kHeight = 190;
  const double middle = kTop + kHeight, lower = middle + 58, bottom = lower + kHeight - 30;
  Svg svg(kWidth, bottom + 44, "Ratio to the baseline and mean TTFT against requests served");
  std::vector<Line> ratios, means;
  Range ratio_range, mean_range;
  for (std::size_t i : palette.shown(point, 8)) {
    const PolicySummary& policy = point.policies[i];
    means.push_back({i, smooth(policy.learning, &LearningPoint::ttft_ms)});
    for (double v : means.back().values) mean_range.add(v);
    if (policy.label == palette.baseline()) continue;
    ratios.push_back({i, smooth(policy.learning, &LearningPoint::ratio)});
    for (double v : ratios.back().values) ratio_range.add(v);
  }
  if (mean_range.empty()) return std::move(svg).finish();
  const bool logarithmic = !changes(*point.point);
  const Scale x(first_served(point), last_served(point), kLeft, kRight, logarithmic);
  if (!ratio_range.empty()) {
    const Scale y = ratio_scale(ratio_range, middle, kTop);
    svg.text(kLeft, kTop - 10, "panel",
             fmt::format("mean TTFT of {} / policy's, per window", palette.baseline()));
    ratio_axis(svg, y, ratio_range, kLeft, kRight);
    served_axis(svg, x, kTop, middle);
    draw_lines(svg, point, ratios, palette, x, y, kTop, middle);
  }
  const Scale y = mean_scale(mean_range, bottom, lower);
  svg.text(kLeft, lower - 10, "panel", "mean TTFT per window");
  svg.axis_y(y, kLeft, kRight, "ms", 5);
  served_axis(svg, x, lower, bottom);
  draw_lines(svg, point, means, palette, x, y, lower, bottom);
  svg.text((kLeft + kRight) / 2, bottom + 36, "axis mid",
           logarithmic ? "requests served, warm-up included (logarithmic)"
                       : "requests served, warm-up included");
  return std::move(svg).finish();
}

std::string plot_regret(const PointSummary& point, const Palette& palette) {
  constexpr double kTop = 16, kBottom = 216;
  std::vector<Line> lines;
  double low = 0, high = 0;
  for (std::size_t i : palette.shown(point, 8)) {
    Line line{i, {}};
    for (const LearningPoint& p : point.policies[i].learning) {
      line.values.push_back(p.regret_s);
      if (!std::isfinite(p.regret_s)) continue;
      low = std::min(low, p.regret_s);
      high = std::max(high, p.regret_s);
    }
    lines.push_back(std::move(line));
  }
  if (!(high > low)) return "";
  Svg svg(kWidth, kBottom + 44, "Summed time to first token above the reference's");
  const Scale x(0, last_served(point), kLeft, kRight, false), y(low, high, kBottom, kTop, false);
  svg.axis_y(y, kLeft, kRight, "s", 5);
  served_axis(svg, x, kTop, kBottom);
  draw_lines(svg, point, lines, palette, x, y, kTop, kBottom);
  svg.text((kLeft + kRight) / 2, kBottom + 36, "axis mid", "requests served, warm-up included");
  return std::move(svg).finish();
}

}  // namespace lodestar::sim::report
