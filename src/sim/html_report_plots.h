// SPDX-License-Identifier: Apache-2.0
// The plots of the HTML report, each one self-contained <svg> element. Policies
// keep their colour (their place in the comparison) in every plot.
#pragma once
#include <string>

#include "sim/html_report_stats.h"

namespace lodestar::sim::report {

// Share of requests answered within x, logarithmic x, guides at P50, P90, P99.
std::string plot_ttft_cdf(const Comparison& comparison);

// Mean (upper panel) and P99 (lower panel) of windows of the arrival time, with
// the markers of every policy.
std::string plot_ttft_over_time(const Comparison& comparison);

// Mean, P50, P90, P99 side by side, one bar a policy, each panel on its own scale.
std::string plot_ttft_bars(const Comparison& comparison);

// One bar a policy, cut into the share of requests each instance served;
// instances of one hardware group share a colour.
std::string plot_instances(const Comparison& comparison);

}  // namespace lodestar::sim::report
