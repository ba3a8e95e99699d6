// SPDX-License-Identifier: Apache-2.0
// Axes that the plots of a suite share: ratios and latencies.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "sim/html_report_svg.h"

namespace lodestar::sim::report {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  void add(double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return !(high >= low); }
};

// Around 1, with some room, for ratios on a logarithmic axis.
Scale ratio_scale(Range range, double from, double to);
// Its ticks: closer than decades, at most eight, 1 among them.
std::vector<double> ratio_ticks(Range range);
// Grid and labels of a vertical ratio axis.
void ratio_axis(Svg& svg, const Scale& y, const Range& range, double left, double right);

// By logarithm only where a linear axis would flatten the lower lines.
Scale mean_scale(const Range& range, double from, double to);

}  // namespace lodestar::sim::report
