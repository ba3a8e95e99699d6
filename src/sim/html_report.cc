// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>

#include "sim/html_report_plots.h"
#include "sim/html_report_stats.h"
#include "sim/html_report_style.h"
#include "sim/html_report_svg.h"

namespace lodestar::sim {
namespace {

using report::Comparison;
using report::escape;
using report::format_count;
using report::format_ms;
using report::format_number;
using report::format_percent;
using report::PolicySet;

enum class Better { kLower, kHigher, kNeither };

struct Column {
  std::string_view title;
  Better better;
  std::function<double(const PolicySet&)> value;
  std::string (*format)(double);
};

std::string count_text(double value) { return format_count(static_cast<std::size_t>(value)); }
std::string us_text(double value) {
  return std::isfinite(value) ? format_number(value) + " µs" : "–";
}

std::vector<Column> columns() {
  using P = const PolicySet&;
  return {
      {"requests", Better::kNeither, [](P p) { return double(p.samples.size()); }, count_text},
      {"failed", Better::kNeither, [](P p) { return double(p.failed); }, count_text},
      {"TTFT mean", Better::kLower, [](P p) { return p.ttft.mean; }, format_ms},
      {"P50", Better::kLower, [](P p) { return p.ttft.p50; }, format_ms},
      {"P90", Better::kLower, [](P p) { return p.ttft.p90; }, format_ms},
      {"P99", Better::kLower, [](P p) { return p.ttft.p99; }, format_ms},
      {"TPOT mean", Better::kLower, [](P p) { return p.tpot.mean; }, format_ms},
      {"TPOT P99", Better::kLower, [](P p) { return p.tpot.p99; }, format_ms},
      {"E2E mean", Better::kLower, [](P p) { return p.e2e.mean; }, format_ms},
      {"cache hits", Better::kHigher, [](P p) { return p.hit_ratio; }, format_percent},
      {"tokens/s", Better::kHigher, [](P p) { return p.tokens_per_s; }, format_number},
      {"SLO met", Better::kHigher, [](P p) { return p.slo; }, format_percent},
      {"decision", Better::kLower, [](P p) { return p.decision_us_p99; }, us_text},
  };
}

// The value that deserves the star: the best one, unless all are equal.
std::optional<double> best_of(const Comparison& comparison, const Column& column) {
  if (column.better == Better::kNeither) return std::nullopt;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const PolicySet& set : comparison.policies) {
    const double value = column.value(set);
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (!(high > low)) return std::nullopt;
  return column.better == Better::kLower ? low : high;
}

std::string policy_cell(std::size_t index, const PolicySet& set) {
  return fmt::format("<th scope=\"row\"><span class=\"dot {}\"></span>{}</th>",
                     report::fill_class(index), escape(set.policy));
}

std::string summary_table(const Comparison& comparison) {
  std::vector<Column> shown = columns();
  std::erase_if(shown, [&](const Column& column) {
    return std::none_of(comparison.policies.begin(), comparison.policies.end(),
                        [&](const PolicySet& p) { return std::isfinite(column.value(p)); });
  });
  std::string out = "<div class=\"wide\"><table class=\"summary\"><thead><tr><th>policy</th>";
  for (const Column& column : shown) out += fmt::format("<th>{}</th>", column.title);
  out += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < comparison.policies.size(); ++i) {
    const PolicySet& set = comparison.policies[i];
    out += "<tr>" + policy_cell(i, set);
    for (const Column& column : shown) {
      const double value = column.value(set);
      const auto best = best_of(comparison, column);
      std::string text = std::isfinite(value) ? column.format(value) : "–";
      if (column.title == "TTFT mean" && std::isfinite(set.ttft_half_width_ms))
        text += fmt::format(" <small>± {}</small>", format_number(set.ttft_half_width_ms));
      const char* css = best && value == *best ? " class=\"best\"" : "";
      if (column.title == "failed" && value > 0) css = " class=\"bad\"";
      out += fmt::format("<td{}>{}</td>", css, text);
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

// The first marker of the comparison splits every policy at the same moment,
// so that the change is not confused with a change of the workload.
std::optional<ReportMarker> first_marker(const Comparison& comparison) {
  std::optional<ReportMarker> first;
  for (const PolicySet& set : comparison.policies)
    for (const ReportMarker& marker : set.markers)
      if (marker.at_s >= 0 && (!first || marker.at_s < first->at_s)) first = marker;
  return first;
}

std::string before_after_table(const Comparison& comparison) {
  const auto split = first_marker(comparison);
  if (!split) return {};
  std::string out = fmt::format(
      "<h3>Before and after: {} at {:.1f} s</h3>\n<p class=\"soft\">Every policy is split at the "
      "same moment of the run.</p>\n<div class=\"wide\"><table "
      "class=\"split\"><thead><tr><th>policy</th><th>part</th><th>requests</th><th>TTFT "
      "mean</th><th>P50</th><th>P90</th><th>P99</th><th>TPOT mean</th></tr></thead><tbody>\n",
      escape(split->label.empty() ? "marker" : split->label), split->at_s);
  constexpr double kEver = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < comparison.policies.size(); ++i) {
    const PolicySet& set = comparison.policies[i];
    for (bool after : {false, true}) {
      const double from = after ? split->at_s : -kEver, until = after ? kEver : split->at_s;
      const auto ttft =
          report::stats_of(report::latencies(set.samples, &ReportSample::ttft_ms, from, until));
      const auto tpot =
          report::stats_of(report::latencies(set.samples, &ReportSample::tpot_ms, from, until));
      out += fmt::format(
          "<tr>{}<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></"
          "tr>\n",
          after ? "<th></th>" : policy_cell(i, set), after ? "after" : "before",
          format_count(ttft.count), format_ms(ttft.mean), format_ms(ttft.p50), format_ms(ttft.p90),
          format_ms(ttft.p99), format_ms(tpot.mean));
    }
  }
  return out + "</tbody></table></div>\n";
}

std::string headline(const Comparison& comparison) {
  if (comparison.policies.size() < 2) return {};
  const PolicySet* best = nullptr;
  const PolicySet* other = nullptr;  // the best of the rest
  for (const PolicySet& set : comparison.policies) {
    if (!std::isfinite(set.ttft.mean)) continue;
    if (!best || set.ttft.mean < best->ttft.mean) {
      other = best;
      best = &set;
    } else if (!other || set.ttft.mean < other->ttft.mean) {
      other = &set;
    }
  }
  if (!best || !other) return {};
  std::string out =
      fmt::format("<p class=\"lead\">Lowest mean TTFT: <b>{}</b> with {}, {} below {}",
                  escape(best->policy), format_ms(best->ttft.mean),
                  format_percent(1 - best->ttft.mean / other->ttft.mean), escape(other->policy));
  // Two intervals that overlap do not support a ranking: say so.
  const double reach = best->ttft_half_width_ms + other->ttft_half_width_ms;
  if (std::isfinite(reach) && other->ttft.mean - best->ttft.mean <= reach)
    out += " (their 95 % intervals overlap)";
  return out + ".</p>\n";
}

std::string notes(const Comparison& comparison) {
  std::string out;
  for (const PolicySet& set : comparison.policies) {
    if (set.failed)
      out += fmt::format(
          "<p class=\"bad\">{}: {} of {} requests failed; latencies are of the "
          "others.</p>\n",
          escape(set.policy), format_count(set.failed), format_count(set.samples.size()));
    if (set.fallbacks)
      out += fmt::format(
          "<p class=\"soft\">{}: {} of {} decisions ({}) came from its fallback.</p>\n",
          escape(set.policy), format_count(set.fallbacks), format_count(set.samples.size()),
          format_percent(static_cast<double>(set.fallbacks) /
                         static_cast<double>(set.samples.size())));
  }
  return out;
}

std::string comparison_section(const Comparison& comparison) {
  std::size_t answered = 0;
  for (const PolicySet& set : comparison.policies) answered += set.ttft.count;
  std::string title = comparison.cluster;
  if (!comparison.workload.empty()) title += (title.empty() ? "" : " · ") + comparison.workload;
  std::string out = "<section>\n";
  if (!title.empty()) out += fmt::format("<h2>{}</h2>\n", escape(title));
  out += headline(comparison) + summary_table(comparison) + notes(comparison);
  if (answered == 0) return out + "<p>No request was answered: nothing to plot.</p></section>\n";
  out += "<h3>Time to first token</h3>\n" + report::plot_ttft_bars(comparison);
  out +=
      "<h3>Distribution</h3>\n<p class=\"soft\">Share of requests whose first token came within "
      "the time on the horizontal axis; further left is better.</p>\n" +
      report::plot_ttft_cdf(comparison);
  out += "<h3>Over time</h3>\n" + report::plot_ttft_over_time(comparison);
  out += before_after_table(comparison);
  out += "<h3>Requests per instance</h3>\n" + report::plot_instances(comparison);
  return out + "</section>\n";
}

std::string conditions(const ReportData& data, const std::vector<Comparison>& all) {
  std::string rows;
  const auto add = [&](std::string_view name, std::string_view value) {
    rows += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), value);
  };
  for (const ReportCondition& condition : data.conditions)
    add(condition.name, escape(condition.value));
  for (const Comparison& comparison : all)
    for (const PolicySet& set : comparison.policies)
      if (!set.decision_hash.empty())
        add("decision hash, " + set.policy, "<code>" + escape(set.decision_hash) + "</code>");
  if (!data.command.empty()) add("command", "<code>" + escape(data.command) + "</code>");
  return rows.empty() ? rows : "<h2>Run conditions</h2>\n<dl>\n" + rows + "</dl>\n";
}

}  // namespace

std::string render_html_report(const ReportData& data) {
  const std::vector<Comparison> all = report::compare(data);
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head><body><main>\n<h1>{}</h1>\n",
      escape(data.title), report::kStyle, escape(data.title));
  if (!data.subtitle.empty())
    out += fmt::format("<p class=\"soft\">{}</p>\n", escape(data.subtitle));
  if (all.empty()) out += "<p>This report has no runs.</p>\n";
  for (const Comparison& comparison : all) out += comparison_section(comparison);
  out += conditions(data, all);
  out +=
      "<footer>TTFT: time to first token. TPOT: time per output token after the first. E2E: "
      "arrival to last token. Percentiles interpolate between order statistics. ± is the half "
      "width of the 95 % interval over seeds. Decision: P99 of the time one routing decision took. "
      "Shaded: the best of a column.</footer>\n"
      "</main></body></html>\n";
  return out;
}

Result<void> write_html_report(const ReportData& data, const std::string& path) {
  const std::string page = render_html_report(data);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(page.data(), static_cast<std::streamsize>(page.size()));
  file.close();
  if (!file) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot write the HTML report to {}: {}", path, std::strerror(errno)));
  }
  return {};
}

}  // namespace lodestar::sim
