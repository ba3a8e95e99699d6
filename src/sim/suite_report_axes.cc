// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_report_axes.h"

#include <fmt/format.h>

namespace lodestar::sim::report {
namespace {

Range with_room(Range range) {
  range.add(0.97);
  range.add(1.03);
  return {range.low * 0.97, range.high * 1.03};
}

}  // namespace

Scale ratio_scale(Range range, double from, double to) {
  range = with_room(range);
  return {range.low, range.high, from, to, true};
}

Scale mean_scale(const Range& range, double from, double to) {
  const bool logarithmic = range.high > 6 * range.low;
  return {logarithmic ? range.low : 0, range.high * 1.03, from, to, logarithmic};
}

std::vector<double> ratio_ticks(Range range) {
  range = with_room(range);
  static constexpr double kSteps[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8,
                                      0.9,  1,    1.1,  1.2, 1.4, 1.6, 2,   2.5, 3,
                                      4,    6,    10,   20,  50,  100, 1000};
  std::vector<double> found;
  for (double step : kSteps)
    if (step >= range.low && step <= range.high) found.push_back(step);
  while (found.size() > 8) {
    std::vector<double> fewer;
    const auto one = std::find(found.begin(), found.end(), 1.0) - found.begin();
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(found.size()); ++i)
      if ((i - one) % 2 == 0) fewer.push_back(found[static_cast<std::size_t>(i)]);
    found = std::move(fewer);
  }
  return found;
}

void ratio_axis(Svg& svg, const Scale& y, const Range& range, double left, double right) {
  for (double tick : ratio_ticks(range)) {
    svg.line(left, y(tick), right, y(tick), tick == 1 ? "base" : "grid");
    svg.text(left - 8, y(tick) + 4, "tick end", fmt::format("{:g}×", tick));
  }
}

}  // namespace lodestar::sim::report
