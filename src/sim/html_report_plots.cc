// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sim/html_report_layout.h"
#include "sim/html_report_svg.h"

namespace lodestar::sim::report {
namespace {

constexpr double kWidth = 1000;
constexpr double kLeft = 64;
constexpr double kRight = kWidth - 210;  // the labels of the lines stand beyond
constexpr double kEver = std::numeric_limits<double>::infinity();

std::vector<double> sorted_ttft(const PolicySet& set) {
  std::vector<double> values = latencies(set.samples, &ReportSample::ttft_ms, -kEver, kEver);
  std::sort(values.begin(), values.end());
  return values;
}

struct Panel {
  double top, bottom;
  std::string_view title;
};

// One marker that several policies may share: then it is drawn once, in grey.
struct SharedMarker {
  const ReportMarker* marker;
  std::size_t series;
  bool shared;
};

std::vector<SharedMarker> distinct_markers(const Comparison& comparison) {
  std::vector<SharedMarker> found;
  for (std::size_t i = 0; i < comparison.policies.size(); ++i) {
    for (const ReportMarker& marker : comparison.policies[i].markers) {
      if (!(marker.at_s >= 0 && marker.at_s <= comparison.end_s)) continue;
      const auto same = std::find_if(found.begin(), found.end(), [&](const SharedMarker& m) {
        return m.marker->at_s == marker.at_s && m.marker->label == marker.label;
      });
      if (same == found.end()) {
        found.push_back({&marker, i, false});
      } else {
        same->shared = true;
      }
    }
  }
  return found;
}

void draw_markers(Svg& svg, const Comparison& comparison, const Scale& x, const Panel& panel,
                  bool with_text) {
  double text_y = panel.top - 6;
  for (const auto& [marker, series, shared] : distinct_markers(comparison)) {
    const double at = x(marker->at_s);
    svg.line(at, panel.top, at, panel.bottom,
             shared ? "ln marker grey" : "marker " + series_class(series));
    if (!with_text || marker->label.empty()) continue;
    const bool left = at > (kLeft + kRight) / 2;
    svg.text(at + (left ? -5 : 5), text_y,
             fmt::format("note {} {}", shared ? "" : fill_class(series), left ? "end" : ""),
             marker->label);
    text_y -= 15;
  }
}

// Lines over time cross all the time: with many policies only those that matter
// keep their colour, the best by mean and all that have a marker.
std::vector<bool> emphasised(const Comparison& comparison) {
  constexpr std::size_t kAll = 8, kBest = 5;
  std::vector<bool> shown(comparison.policies.size(), comparison.policies.size() <= kAll);
  std::vector<std::size_t> order(shown.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t i) { return comparison.policies[i].ttft.count == 0; });
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const double mean_a = comparison.policies[a].ttft.mean;
    const double mean_b = comparison.policies[b].ttft.mean;
    return mean_a != mean_b ? mean_a < mean_b : a < b;
  });
  for (std::size_t rank = 0; rank < order.size(); ++rank)
    if (rank < kBest || !comparison.policies[order[rank]].markers.empty())
      shown[order[rank]] = true;
  return shown;
}

void draw_windows(Svg& svg, const Comparison& comparison, const Panel& panel, const Scale& x,
                  const std::vector<Windows>& all, std::vector<double> Windows::* which) {
  double low = kEver, high = 0;
  for (const Windows& windows : all) {
    for (double value : windows.*which) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (high <= 0) return;
  const bool logarithmic = low > 0 && high > 30 * low;
  const Scale y(logarithmic ? low : 0, high * 1.05, panel.bottom, panel.top, logarithmic);
  svg.text(kLeft, panel.top - 8, "panel", panel.title);
  svg.axis_y(y, kLeft, kRight, "ms", 5);
  std::vector<EndLabel> labels;
  const std::vector<bool> shown = emphasised(comparison);
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // What is emphasised is drawn last, on top.
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return shown[a] != shown[b] ? !shown[a] : a < b; });
  for (std::size_t i : order) {
    std::vector<std::pair<double, double>> points;
    const std::vector<double>& values = all[i].*which;
    double last = kNotMeasured;
    for (std::size_t w = 0; w < values.size(); ++w) {
      const bool known = std::isfinite(values[w]);
      points.emplace_back(x((static_cast<double>(w) + 0.5) * all[i].width_s),
                          known ? y(values[w]) : kNotMeasured);
      if (known) last = y(values[w]);
    }
    if (!std::isfinite(last)) continue;
    svg.path(points, shown[i] ? series_class(i) : "ln mute", comparison.policies[i].policy);
    if (shown[i]) labels.push_back({last, i, comparison.policies[i].policy});
  }
  end_labels(svg, std::move(labels), kRight, panel.top, panel.bottom);
}

}  // namespace

std::string plot_ttft_cdf(const Comparison& comparison) {
  const double rows = static_cast<double>(comparison.policies.size());
  const double top = 16, bottom = std::max(316.0, top + rows * 19);
  std::vector<std::vector<double>> values;
  double low = kEver, high = 0;
  for (const PolicySet& set : comparison.policies) {
    values.push_back(sorted_ttft(set));
    if (values.back().empty()) continue;
    low = std::min(low, std::max(0.01, quantile(values.back(), 0.001)));
    high = std::max(high, values.back().back());
  }
  Svg svg(kWidth, bottom + 44, "Cumulative distribution of time to first token by policy");
  if (high <= 0) return std::move(svg).finish();
  const Scale x(low, high, kLeft, kRight, true), y(0, 1, bottom, top, false);
  svg.axis_x(x, top, bottom, "ms", 8);
  for (const auto& [at, name] : {std::pair{0.0, "0 %"},
                                 {0.25, "25 %"},
                                 {0.5, "P50"},
                                 {0.75, "75 %"},
                                 {0.9, "P90"},
                                 {0.99, "P99"}}) {
    svg.line(kLeft, y(at), kRight, y(at), name[0] == 'P' ? "grid strong" : "grid");
    svg.text(kLeft - 8, y(at) + 4, "tick end", name);
  }
  svg.text((kLeft + kRight) / 2, bottom + 36, "axis mid", "time to first token (logarithmic)");
  std::vector<EndLabel> legend;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].empty()) continue;
    constexpr int kHalf = 150;
    std::vector<std::pair<double, double>> points;
    for (int step = 0; step <= 2 * kHalf; ++step) {
      // Half of the points describe the last tenth, where policies differ most.
      const double q = step <= kHalf ? 0.9 * step / kHalf : 0.9 + 0.1 * (step - kHalf) / kHalf;
      points.emplace_back(x(quantile(values[i], q)), y(q));
    }
    svg.path(points, series_class(i), comparison.policies[i].policy);
    legend.push_back({comparison.policies[i].ttft.p50, i, comparison.policies[i].policy});
  }
  // Best median first: the order in which the curves stand from left to right.
  std::sort(legend.begin(), legend.end());
  side_legend(svg, legend, kRight, top + 12);
  return std::move(svg).finish();
}

std::string plot_ttft_over_time(const Comparison& comparison) {
  std::size_t most = 0;
  for (const PolicySet& set : comparison.policies) most = std::max(most, set.samples.size());
  const std::size_t markers = distinct_markers(comparison).size();
  // About 50 requests a window: below that a P99 is just the largest value.
  const std::size_t count = std::clamp<std::size_t>(most / 50, 8, 72);
  const double head = 30 + 15 * static_cast<double>(std::min<std::size_t>(markers, 6));
  constexpr double kHeight = 190;
  const Panel upper{head, head + kHeight, "mean TTFT per window"};
  const Panel lower{upper.bottom + 40, upper.bottom + 40 + kHeight, "P99 TTFT per window"};
  Svg svg(kWidth, lower.bottom + 44, "Time to first token over the run by policy");
  const Scale x(0, comparison.end_s, kLeft, kRight, false);
  std::vector<Windows> all;
  for (const PolicySet& set : comparison.policies)
    all.push_back(windows_of(set, &ReportSample::ttft_ms, comparison.end_s, count));
  svg.axis_x(x, lower.top, lower.bottom, "s", 10);
  draw_markers(svg, comparison, x, upper, true);
  draw_markers(svg, comparison, x, lower, false);
  draw_windows(svg, comparison, upper, x, all, &Windows::mean);
  draw_windows(svg, comparison, lower, x, all, &Windows::p99);
  svg.text((kLeft + kRight) / 2, lower.bottom + 36, "axis mid", "arrival time");
  const auto shown = emphasised(comparison);
  const auto muted = std::count(shown.begin(), shown.end(), false);
  if (muted)
    svg.text(kLeft, lower.bottom + 36, "note", fmt::format("Grey: the other {} policies.", muted));
  return std::move(svg).finish();
}

std::string plot_ttft_bars(const Comparison& comparison) {
  constexpr std::array<std::pair<const char*, double Stats::*>, 4> kPanels = {
      {{"mean", &Stats::mean}, {"P50", &Stats::p50}, {"P90", &Stats::p90}, {"P99", &Stats::p99}}};
  constexpr double kNames = 180, kRow = 24, kTop = 30, kGap = 18;
  const double rows = static_cast<double>(comparison.policies.size());
  const double panel = (kWidth - kNames) / 4;
  Svg svg(kWidth, kTop + rows * kRow + 8, "Mean and percentiles of time to first token");
  for (std::size_t i = 0; i < comparison.policies.size(); ++i)
    svg.text(kNames - 12, kTop + kRow * (static_cast<double>(i) + 0.5) + 4,
             "label end " + fill_class(i), comparison.policies[i].policy);
  for (std::size_t p = 0; p < kPanels.size(); ++p) {
    const auto& [name, which] = kPanels[p];
    double best = kEver, high = 0;
    for (const PolicySet& set : comparison.policies) {
      if (!std::isfinite(set.ttft.*which)) continue;
      best = std::min(best, set.ttft.*which);
      high = std::max(high, set.ttft.*which);
    }
    const double left = kNames + panel * static_cast<double>(p);
    // Room for the value behind the longest bar.
    const Scale x(0, high, 0, panel - kGap - 76, false);
    svg.text(left, 18, "panel", fmt::format("{} TTFT", name));
    svg.line(left, kTop - 4, left, kTop + rows * kRow, "base");
    for (std::size_t i = 0; i < comparison.policies.size(); ++i) {
      const double value = comparison.policies[i].ttft.*which;
      const double y = kTop + kRow * static_cast<double>(i);
      const double length = std::isfinite(value) ? x(value) : 0;
      svg.rect(left, y + 4, length, kRow - 8, fill_class(i), comparison.policies[i].policy);
      svg.text(left + length + 6, y + kRow / 2 + 4, value == best ? "value best" : "value",
               format_ms(value));
    }
  }
  return std::move(svg).finish();
}

namespace {

struct InstanceKey {
  std::string name, group;
  std::size_t hue = 0, shade = 0;  // group, and place within the group
};

std::vector<InstanceKey> instances_of(const Comparison& comparison) {
  std::vector<InstanceKey> keys;
  std::vector<std::string> groups;
  for (const PolicySet& set : comparison.policies) {
    const auto& instances = set.runs.front()->instances;
    for (std::size_t i = keys.size(); i < instances.size(); ++i) {
      const auto group = std::find(groups.begin(), groups.end(), instances[i].group);
      const auto hue = static_cast<std::size_t>(group - groups.begin());
      if (group == groups.end()) groups.push_back(instances[i].group);
      const auto shade = static_cast<std::size_t>(std::count_if(
          keys.begin(), keys.end(), [&](const auto& k) { return k.group == instances[i].group; }));
      keys.push_back({instances[i].name, instances[i].group, hue, shade});
    }
  }
  return keys;
}

void group_legend(Svg& svg, const std::vector<InstanceKey>& keys, double x) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].shade != 0 || keys[i].group.empty()) continue;
    const auto count = std::count_if(keys.begin(), keys.end(),
                                     [&](const auto& k) { return k.group == keys[i].group; });
    const std::string label = fmt::format("{} × {}", count, keys[i].group);
    svg.rect(x, 6, 12, 12, fmt::format("g{}", keys[i].hue % 7));
    svg.text(x + 18, 16, "note", label);
    x += 40 + 7.0 * static_cast<double>(label.size());
  }
}

}  // namespace

std::string plot_instances(const Comparison& comparison) {
  constexpr double kNames = 180, kRow = 30, kTop = 30;
  const double rows = static_cast<double>(comparison.policies.size());
  const std::vector<InstanceKey> keys = instances_of(comparison);
  Svg svg(kWidth, kTop + rows * kRow + 30, "Share of requests served by each instance");
  group_legend(svg, keys, kNames);
  const Scale x(0, 1, kNames, kWidth - 20, false);
  svg.axis_x(Scale(0, 100, kNames, kWidth - 20, false), kTop, kTop + rows * kRow, "%", 10);
  for (std::size_t i = 0; i < comparison.policies.size(); ++i) {
    const PolicySet& set = comparison.policies[i];
    const double y = kTop + kRow * static_cast<double>(i);
    svg.text(kNames - 12, y + kRow / 2 + 4, "label end " + fill_class(i), set.policy);
    std::vector<std::size_t> served(keys.size());
    for (const ReportSample* sample : set.samples)
      if (!sample->failed && sample->instance < served.size()) ++served[sample->instance];
    const auto total = std::accumulate(served.begin(), served.end(), std::size_t{0});
    std::size_t before = 0;
    for (std::size_t k = 0; total > 0 && k < keys.size(); ++k) {
      const double from = static_cast<double>(before) / static_cast<double>(total);
      before += served[k];
      const double share = static_cast<double>(served[k]) / static_cast<double>(total);
      const double width = x(from + share) - x(from);
      svg.rect(x(from), y + 3, std::max(0.0, width - 1.5), kRow - 6,
               fmt::format("g{}{}", keys[k].hue % 7, keys[k].shade % 2 ? " odd" : ""),
               fmt::format("{}: {} requests, {}", keys[k].name, format_count(served[k]),
                           format_percent(share)));
      if (width > 34)
        svg.text(x(from) + width / 2, y + kRow / 2 + 4, "inside mid",
                 fmt::format("{:.0f} %", share * 100));
    }
  }
  return std::move(svg).finish();
}

}  // namespace lodestar::sim::report
