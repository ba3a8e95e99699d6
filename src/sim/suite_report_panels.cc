// SPDX-License-Identifier: Apache-2.0
// The plots that have a panel per policy: placements, predictions, calibration.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sim/html_report_layout.h"
#include "sim/html_report_svg.h"
#include "sim/suite_report_plots.h"

namespace lodestar::sim::report {
namespace {

constexpr double kWidth = 1000, kLeft = 52, kPanel = 470, kSide = 430;
using Points = std::vector<std::pair<double, double>>;

double panel_left(std::size_t i) { return kLeft + (i % 2 ? kPanel + 20 : 0); }

// Hardware kinds in order of appearance, and for a row its kind and place within.
struct Shade {
  std::size_t hue = 0, place = 0;
};
std::vector<Shade> shades_of(const PointSummary& point, const PolicySummary& policy,
                             std::vector<std::string>& kinds, std::vector<std::size_t>& counts) {
  const auto& engines = point.point->cluster->engines;
  const bool grouped = policy.rows.size() != engines.size();
  std::vector<Shade> shades;
  for (std::size_t r = 0; r < policy.rows.size(); ++r) {
    const std::string kind = grouped ? policy.rows[r] : engines[r].info.hardware;
    auto at = std::find(kinds.begin(), kinds.end(), kind);
    if (at == kinds.end()) {
      at = kinds.insert(at, kind);
      counts.push_back(0);
    }
    const auto hue = static_cast<std::size_t>(at - kinds.begin());
    shades.push_back({hue, counts[hue]});
    counts[hue] += policy.row_instances[r];
  }
  return shades;
}

// When something happens to an engine or to the workload.
std::vector<std::pair<double, std::string>> moments_of(const SuitePoint& point) {
  std::vector<std::pair<double, std::string>> found;
  std::set<TimeNs> seen;
  for (const WorldEngine& engine : point.cluster->engines)
    for (const EngineFault& fault : engine.faults)
      for (TimeNs at : {fault.at, fault.until})
        if (at > 0 && seen.size() < 12 && seen.insert(at).second)
          found.emplace_back(to_s(at), engine.info.name);
  for (const PhaseSpec& phase : point.workload->phases)
    if (std::isfinite(phase.end_s) && phase.end_s > 0 && seen.size() < 12 &&
        seen.insert(from_s(phase.end_s)).second)
      found.emplace_back(phase.end_s, "phase");
  return found;
}

// One band per row, stacked to the whole of each time bin.
void draw_bands(Svg& svg, const PolicySummary& policy, const std::vector<Shade>& shades,
                const Scale& x, const Scale& y) {
  const std::size_t rows = policy.rows.size(), all = policy.placed.size() / rows;
  const std::size_t step = all > 50 ? 2 : 1;  // two bins in one: a panel is small
  const std::size_t bins = (all + step - 1) / step;
  std::vector<double> total(bins, 0), below(bins, 0), mine(bins);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t b = 0; b < all; ++b) total[b / step] += policy.placed[r * all + b];
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill(mine.begin(), mine.end(), 0);
    double sum = 0;
    for (std::size_t b = 0; b < all; ++b) {
      mine[b / step] += policy.placed[r * all + b];
      sum += policy.placed[r * all + b];
    }
    Points up, down;
    for (std::size_t b = 0; b < bins; ++b) {
      const double share = total[b] > 0 ? mine[b] / total[b] : 0;
      // Bins without a request: the band is drawn flat at zero, as a gap.
      const double at =
          x((static_cast<double>(b * step) + 0.5 * static_cast<double>(step)) * policy.bin_s);
      down.emplace_back(at, y(below[b]));
      below[b] += share;
      up.emplace_back(at, y(below[b]));
    }
    up.insert(up.end(), down.rbegin(), down.rend());
    svg.path(up, fmt::format("band g{}{}", shades[r].hue % 7, shades[r].place % 2 ? " odd" : ""),
             fmt::format("{}: {:.0f} requests a run", policy.rows[r], sum));
  }
}

void legend_of_kinds(Svg& svg, const std::vector<std::string>& kinds,
                     const std::vector<std::size_t>& counts) {
  double x = kLeft;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::string label = fmt::format("{} × {}", counts[i], kinds[i]);
    svg.rect(x, 6, 12, 12, fmt::format("g{}", i % 7));
    svg.text(x + 18, 16, "note", label);
    x += 44 + 7.0 * static_cast<double>(label.size());
  }
}

std::vector<std::size_t> predicting(const PointSummary& point, bool intervals) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < point.policies.size(); ++i) {
    const PredictionDigest& p = point.policies[i].predictions;
    if (intervals ? p.with_interval > 0 : p.count > 0) found.push_back(i);
  }
  if (found.size() > 6) found.resize(6);
  return found;
}

void reliability(Svg& svg, const PointSummary& point, const Palette& palette,
                 const std::vector<std::size_t>& shown, double top, double bottom) {
  const Scale x(0, 1, kLeft, kLeft + 330, false), y(0, 1, bottom, top, false);
  svg.text(kLeft, top - 10, "panel", "outcomes below the predicted quantile");
  for (double tick : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg.line(x(tick), top, x(tick), bottom, "grid");
    svg.line(x(0), y(tick), x(1), y(tick), "grid");
    svg.text(x(tick), bottom + 16, "tick mid", fmt::format("{:.0f} %", 100 * tick));
    svg.text(kLeft - 8, y(tick) + 4, "tick end", fmt::format("{:.0f} %", 100 * tick));
  }
  svg.line(x(0), y(0), x(1), y(1), "grid strong");
  svg.text(x(0.5), bottom + 36, "axis mid", "nominal");
  constexpr double kTail = (1 - PredictionDigest::kNominalCoverage) / 2;
  for (std::size_t i : shown) {
    const PredictionDigest& p = point.policies[i].predictions;
    const std::size_t series = palette.series(point.policies[i].label);
    const auto n = static_cast<double>(p.with_interval);
    const std::pair<double, std::uint64_t> quantiles[] = {
        {kTail, p.below_lo}, {0.5, p.below_point}, {1 - kTail, p.below_hi}};
    Points line;
    for (const auto& [nominal, count] : quantiles) {
      const double observed = static_cast<double>(count) / n;
      line.emplace_back(x(nominal), y(observed));
      svg.rect(x(nominal) - 4, y(observed) - 4, 8, 8, fill_class(series),
               fmt::format("{}: {:.0f} % nominal, {:.1f} % observed", point.policies[i].label,
                           100 * nominal, 100 * observed));
    }
    svg.path(line, series_class(series), point.policies[i].label);
  }
}

void coverage(Svg& svg, const PointSummary& point, const Palette& palette,
              const std::vector<std::size_t>& shown, double top, double bottom) {
  constexpr double kFrom = kLeft + 410, kTo = kWidth - 150;
  double last = 1, first = 1e18;
  for (std::size_t i : shown)
    if (const auto& curve = point.policies[i].learning; !curve.empty()) {
      last = std::max(last, static_cast<double>(curve.back().served));
      first = std::min(first, static_cast<double>(curve.front().served));
    }
  const Scale x(std::min(first, last), last, kFrom, kTo, true), y(0.5, 1, bottom, top, false);
  svg.text(kFrom, top - 10, "panel", "coverage of the 90 % interval, per window");
  svg.rect(kFrom, y(0.93), kTo - kFrom, y(0.87) - y(0.93), "target", "87 to 93 %");
  for (double tick : {0.5, 0.6, 0.7, 0.8, 0.9, 1.0}) {
    svg.line(kFrom, y(tick), kTo, y(tick), tick == 0.9 ? "grid strong" : "grid");
    svg.text(kFrom - 8, y(tick) + 4, "tick end", fmt::format("{:.0f} %", 100 * tick));
  }
  for (double tick : x.ticks(6))
    svg.text(x(tick), bottom + 16, "tick mid", format_count(static_cast<std::size_t>(tick)));
  svg.text((kFrom + kTo) / 2, bottom + 36, "axis mid", "requests served (logarithmic)");
  std::vector<EndLabel> labels;
  for (std::size_t i : shown) {
    const PolicySummary& policy = point.policies[i];
    Points line;
    double end = kNotMeasured;
    for (std::size_t w = 0; w < policy.predictions.window_total.size(); ++w) {
      const std::uint32_t n = policy.predictions.window_total[w];
      const double v = n ? static_cast<double>(policy.predictions.window_inside[w]) / n : 0;
      if (w >= policy.learning.size()) break;
      line.emplace_back(x(static_cast<double>(policy.learning[w].served)), n ? y(v) : kNotMeasured);
      if (n) end = y(v);
    }
    if (!std::isfinite(end)) continue;
    svg.path(line, series_class(palette.series(policy.label)), policy.label);
    labels.push_back({end, palette.series(policy.label), policy.label});
  }
  end_labels(svg, std::move(labels), kTo, top, bottom);
}

}  // namespace

std::string plot_placements(const PointSummary& point, const Palette& palette) {
  constexpr double kTop = 56, kHeight = 120, kRow = kHeight + 62;
  std::vector<std::size_t> shown = palette.shown(point, 6);
  std::erase_if(shown, [&](std::size_t i) { return point.policies[i].placed.empty(); });
  if (shown.empty()) return "";
  std::vector<std::string> kinds;
  std::vector<std::size_t> counts;
  double end_s = 0;
  for (std::size_t i : shown) {
    const PolicySummary& p = point.policies[i];
    end_s = std::max(end_s, p.bin_s * static_cast<double>(p.placed.size() / p.rows.size()));
  }
  const auto lines = static_cast<double>((shown.size() + 1) / 2);
  Svg svg(kWidth, kTop + kRow * lines, "Share of the placements of each instance over time");
  for (std::size_t k = 0; k < shown.size(); ++k) {
    const PolicySummary& policy = point.policies[shown[k]];
    const double left = panel_left(k), top = kTop + kRow * static_cast<double>(k / 2);
    const Scale x(0, end_s, left, left + kSide, false), y(0, 1, top + kHeight, top, false);
    kinds.clear();
    counts.clear();
    const std::vector<Shade> shades = shades_of(point, policy, kinds, counts);
    svg.text(left, top - 10, "label " + fill_class(palette.series(policy.label)), policy.label);
    draw_bands(svg, policy, shades, x, y);
    for (const auto& [at, name] : moments_of(*point.point))
      if (at < end_s) svg.line(x(at), top - 4, x(at), top + kHeight + 4, "moment");
    for (double tick : x.ticks(6))
      svg.text(x(tick), top + kHeight + 16, "tick mid", fmt::format("{:g} s", tick));
    for (double tick : {0.0, 0.5, 1.0})
      svg.text(left - 6, y(tick) + 4, "tick end", fmt::format("{:.0f} %", 100 * tick));
  }
  legend_of_kinds(svg, kinds, counts);
  return std::move(svg).finish();
}

std::string plot_scatter(const PointSummary& point, const Palette& palette) {
  constexpr double kTop = 34, kHeight = 300, kRow = kHeight + 70;
  const std::vector<std::size_t> shown = predicting(point, false);
  if (shown.empty()) return "";
  double low = 1e18, high = 0;
  for (std::size_t i : shown)
    for (const auto& pair : point.policies[i].predictions.pairs)
      for (double v : {double{pair.predicted_ms}, double{pair.actual_ms}})
        if (v > 0) {
          low = std::min(low, v);
          high = std::max(high, v);
        }
  const auto lines = static_cast<double>((shown.size() + 1) / 2);
  Svg svg(kWidth, kTop + kRow * lines, "Predicted against actual time to first token");
  for (std::size_t k = 0; k < shown.size(); ++k) {
    const PolicySummary& policy = point.policies[shown[k]];
    const double left = panel_left(k), top = kTop + kRow * static_cast<double>(k / 2);
    const Scale x(low, high, left, left + kSide - 20, true), y(low, high, top + kHeight, top, true);
    for (double tick : x.ticks(6)) {
      const std::string label =
          tick < 1000 ? fmt::format("{:g} ms", tick) : fmt::format("{:g} s", tick / 1000);
      svg.line(x(tick), top, x(tick), top + kHeight, "grid");
      svg.line(left, y(tick), left + kSide - 20, y(tick), "grid");
      svg.text(x(tick), top + kHeight + 16, "tick mid", label);
      svg.text(left - 6, y(tick) + 4, "tick end", label);
    }
    svg.line(x(low), y(low), x(high), y(high), "grid strong");
    Points dots;
    for (const auto& pair : policy.predictions.pairs) {
      dots.emplace_back(x(pair.predicted_ms), y(pair.actual_ms));
      dots.emplace_back(0, kNotMeasured);  // lifts the pen: a dot, not a line
    }
    const std::size_t series = palette.series(policy.label);
    svg.path(dots, fmt::format("dots s{}", series % 7), policy.label);
    svg.text(left, top - 10, "label " + fill_class(series),
             fmt::format("{}: mean relative error {:.0f} %", policy.label,
                         100 * policy.predictions.sum_relative_error /
                             static_cast<double>(policy.predictions.count)));
    svg.text(left + kSide / 2, top + kHeight + 34, "axis mid", "predicted (up: actual)");
  }
  return std::move(svg).finish();
}

std::string plot_calibration(const PointSummary& point, const Palette& palette) {
  constexpr double kTop = 34, kBottom = 284;
  const std::vector<std::size_t> shown = predicting(point, true);
  if (shown.empty()) return "";
  Svg svg(kWidth, kBottom + 44, "Nominal against observed quantiles, and coverage over the run");
  reliability(svg, point, palette, shown, kTop, kBottom);
  coverage(svg, point, palette, shown, kTop, kBottom);
  return std::move(svg).finish();
}

}  // namespace lodestar::sim::report
