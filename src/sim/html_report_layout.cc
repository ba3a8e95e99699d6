// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_layout.h"

#include <algorithm>
#include <utility>

namespace lodestar::sim::report {

void end_labels(Svg& svg, std::vector<EndLabel> labels, double x, double top, double bottom) {
  std::sort(labels.begin(), labels.end());
  const double count = static_cast<double>(labels.size());
  const double gap = std::min(17.0, (bottom - top) / std::max(1.0, count));
  std::vector<double> place(labels.size());
  double next = top + gap / 2;
  for (std::size_t i = 0; i < labels.size(); ++i)
    next = (place[i] = std::max(next, labels[i].wanted_y)) + gap;
  double limit = bottom;
  for (std::size_t i = labels.size(); i-- > 0; limit -= gap)
    limit = place[i] = std::min(place[i], limit);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    svg.line(x + 2, labels[i].wanted_y, x + 14, place[i], "leader");
    svg.text(x + 18, place[i] + 4, "label " + fill_class(labels[i].series), labels[i].text);
  }
}

void side_legend(Svg& svg, const std::vector<EndLabel>& rows, double x, double top) {
  double y = top;
  for (const EndLabel& row : rows) {
    svg.line(x + 16, y, x + 40, y, series_class(row.series));
    svg.text(x + 46, y + 4, "label " + fill_class(row.series), row.text);
    y += 19;
  }
}

}  // namespace lodestar::sim::report
