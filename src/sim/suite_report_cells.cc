// SPDX-License-Identifier: Apache-2.0
// The plots that compare points of a cell: ratios by load, and along an axis.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "sim/html_report_layout.h"
#include "sim/html_report_svg.h"
#include "sim/suite_report_axes.h"
#include "sim/suite_report_plots.h"
#include "sim/suite_result.h"

namespace lodestar::sim::report {
namespace {

constexpr double kWidth = 1000, kLeft = 64, kRight = kWidth - 190;
using Points = std::vector<std::pair<double, double>>;

}  // namespace

std::string plot_forest(const std::vector<const PointSummary*>& points, const Palette& palette) {
  constexpr double kNames = 190, kRow = 22, kTop = 40, kGap = 26;
  std::vector<std::string> labels;
  Range range;
  for (const PointSummary* point : points)
    for (const PolicySummary& p : point->policies) {
      if (std::find(labels.begin(), labels.end(), p.label) == labels.end())
        labels.push_back(p.label);
      for (double v : {p.ttft_mean.mean, p.ttft_mean.low, p.ttft_mean.high}) range.add(v);
    }
  const double bottom = kTop + kRow * static_cast<double>(labels.size());
  Svg svg(kWidth, bottom + 28, "Ratio of mean time to first token, baseline over policy");
  if (range.empty()) return std::move(svg).finish();
  const double panel = (kWidth - kNames) / static_cast<double>(points.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    svg.text(kNames - 14, kTop + kRow * (static_cast<double>(i) + 0.5) + 4,
             "label end " + fill_class(palette.series(labels[i])), labels[i]);
  for (std::size_t c = 0; c < points.size(); ++c) {
    const double left = kNames + panel * static_cast<double>(c);
    const Scale x = ratio_scale(range, left, left + panel - kGap - 34);
    svg.text(left, 18, "panel",
             points[c]->point->load.empty() ? "mean TTFT ratio" : points[c]->point->load);
    const auto ticks = ratio_ticks(range);
    for (std::size_t t = 0; t < ticks.size(); ++t) {
      svg.line(x(ticks[t]), kTop - 6, x(ticks[t]), bottom, ticks[t] == 1 ? "base" : "grid");
      if (points.size() < 3 || ticks.size() < 5 || ticks[t] == 1 || t % 2 == ticks.size() % 2)
        svg.text(x(ticks[t]), bottom + 16, "tick mid", fmt::format("{:g}×", ticks[t]));
    }
    double best = 0;
    for (const PolicySummary& p : points[c]->policies)
      if (p.ttft_mean.mean > best) best = p.ttft_mean.mean;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const PolicySummary* p = points[c]->find(labels[i]);
      if (p == nullptr || !std::isfinite(p->ttft_mean.mean)) continue;
      const double y = kTop + kRow * (static_cast<double>(i) + 0.5);
      const std::size_t series = palette.series(labels[i]);
      const double at = x(p->ttft_mean.mean);
      if (std::isfinite(p->ttft_mean.low))
        svg.line(x(p->ttft_mean.low), y, x(p->ttft_mean.high), y,
                 fmt::format("ln s{}", series % 7));
      svg.rect(at - 4, y - 4, 8, 8, fill_class(series),
               fmt::format("{}: {}", labels[i], ratio_text(p->ttft_mean)));
      const double end = std::isfinite(p->ttft_mean.high) ? x(p->ttft_mean.high) : at;
      svg.text(std::max(end, at + 4) + 6, y + 4, p->ttft_mean.mean == best ? "value best" : "value",
               fmt::format("{:.2f}", p->ttft_mean.mean));
    }
  }
  return std::move(svg).finish();
}

std::string plot_vary(const std::vector<const PointSummary*>& points, std::size_t axis,
                      const Palette& palette) {
  constexpr double kTop = 30, kHeight = 200;
  const double middle = kTop + kHeight, lower = middle + 44, bottom = lower + kHeight;
  const std::string key = points.front()->point->vary[axis].first;
  Range at, ratio_range, mean_range;
  for (const PointSummary* point : points) {
    at.add(point->point->vary[axis].second);
    for (const PolicySummary& p : point->policies) {
      ratio_range.add(p.ttft_mean.mean);
      mean_range.add(p.ttft_mean_ms);
    }
  }
  Svg svg(kWidth, bottom + 44, "Ratio and mean TTFT by " + key);
  if (mean_range.empty()) return std::move(svg).finish();
  const bool logarithmic = at.low > 0 && at.high > 8 * at.low;
  const Scale x(at.low, at.high, kLeft + 10, kRight - 10, logarithmic);
  const Scale ratio_y = ratio_scale(ratio_range, middle, kTop);
  const Scale mean_y = mean_scale(mean_range, bottom, lower);
  svg.text(kLeft, kTop - 10, "panel",
           fmt::format("mean TTFT of {} / policy's", palette.baseline()));
  svg.text(kLeft, lower - 10, "panel", "mean TTFT");
  if (!ratio_range.empty()) ratio_axis(svg, ratio_y, ratio_range, kLeft, kRight);
  svg.axis_y(mean_y, kLeft, kRight, "ms", 5);
  for (const PointSummary* point : points) {
    const double value = point->point->vary[axis].second;
    svg.line(x(value), kTop, x(value), middle, "grid");
    svg.line(x(value), lower, x(value), bottom, "grid");
    svg.text(x(value), bottom + 16, "tick mid", fmt::format("{:g}", value));
  }
  svg.text((kLeft + kRight) / 2, bottom + 36, "axis mid",
           key + (logarithmic ? " (logarithmic)" : ""));
  const auto draw = [&](double top, double base, const Scale& y,
                        const std::function<double(const PolicySummary&)>& value) {
    std::vector<EndLabel> labels;
    for (const PolicySummary& first : points.front()->policies) {
      Points line;
      double last = kNotMeasured;
      for (const PointSummary* point : points) {
        const PolicySummary* p = point->find(first.label);
        const double v = p != nullptr ? value(*p) : kNotMeasured;
        line.emplace_back(x(point->point->vary[axis].second),
                          std::isfinite(v) ? y(v) : kNotMeasured);
        if (std::isfinite(v)) last = y(v);
      }
      if (!std::isfinite(last)) continue;
      const std::size_t series = palette.series(first.label);
      svg.path(line, series_class(series), first.label);
      for (const auto& [px, py] : line)
        if (std::isfinite(py)) svg.rect(px - 3, py - 3, 6, 6, fill_class(series));
      labels.push_back({last, series, first.label});
    }
    end_labels(svg, std::move(labels), kRight, top, base);
  };
  draw(kTop, middle, ratio_y, [&](const PolicySummary& p) {
    return p.label == palette.baseline() ? kNotMeasured : p.ttft_mean.mean;
  });
  draw(lower, bottom, mean_y, [](const PolicySummary& p) { return p.ttft_mean_ms; });
  return std::move(svg).finish();
}

}  // namespace lodestar::sim::report
