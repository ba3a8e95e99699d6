// SPDX-License-Identifier: Apache-2.0
// Names beside lines, for plots of several series.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "sim/html_report_svg.h"

namespace lodestar::sim::report {

struct EndLabel {
  double wanted_y = 0;  // where the line ends
  std::size_t series = 0;
  std::string text;

  // A total order, so that equal labels do not change places between builds.
  friend bool operator<(const EndLabel& a, const EndLabel& b) {
    return a.wanted_y != b.wanted_y ? a.wanted_y < b.wanted_y : a.series < b.series;
  }
};

// Writes labels right of x, each near its wanted height but none over another,
// with a thin leader from the line's end.
void end_labels(Svg& svg, std::vector<EndLabel> labels, double x, double top, double bottom);

// Legend right of x, for a plot whose lines all end at the same height; in order.
void side_legend(Svg& svg, const std::vector<EndLabel>& rows, double x, double top);

}  // namespace lodestar::sim::report
