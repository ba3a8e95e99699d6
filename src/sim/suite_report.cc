// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/html_report_style.h"
#include "sim/html_report_svg.h"
#include "sim/suite_report_plots.h"

namespace lodestar::sim {
namespace {

using report::escape;
using report::format_count;
using report::format_ms;
using report::format_percent;
using report::Palette;

// A shade for a ratio: the further from 1, the stronger.
std::string_view shade(double ratio) {
  if (!std::isfinite(ratio)) return "";
  if (ratio >= 2) return "up4";
  if (ratio >= 1.4) return "up3";
  if (ratio >= 1.15) return "up2";
  if (ratio >= 1.03) return "up1";
  if (ratio > 0.97) return "";
  if (ratio > 0.87) return "dn1";
  if (ratio > 0.7) return "dn2";
  return ratio > 0.5 ? "dn3" : "dn4";
}

std::string ratio_cell(const Ratio& ratio, bool best = false) {
  if (!std::isfinite(ratio.mean)) return "<td>–</td>";
  const std::string interval =
      std::isfinite(ratio.low)
          ? fmt::format("<small class=\"ci\">{:.2f} – {:.2f}</small>", ratio.low, ratio.high)
          : "";
  return fmt::format("<td class=\"{}{}\">{:.2f}{}</td>", shade(ratio.mean), best ? " top" : "",
                     ratio.mean, interval);
}

std::string share_cell(const Ratio& ratio) {
  return std::isfinite(ratio.mean) ? fmt::format("<td>{:.1f} %</td>", 100 * ratio.mean)
                                   : "<td>–</td>";
}

std::string name_cell(const std::string& label, const Palette& palette) {
  return fmt::format("<th scope=\"row\"><span class=\"dot {}\"></span>{}</th>",
                     report::fill_class(palette.series(label)), escape(label));
}

std::string load_title(double load_share) {
  return load_share > 0 ? fmt::format("{:g} % load", 100 * load_share)
                        : "Cells without a load axis";
}

// Every policy over all cells of a load; those of a few special cells are left to
// their cells' sections.
std::string overall_table(const SuiteSpec& suite, const std::vector<PointSummary>& points,
                          const Palette& palette) {
  const std::vector<OverallRow> rows = overall(points);
  const bool best = !suite.best_of.empty();
  std::string out =
      "<div class=\"wide\"><table class=\"tight\"><thead><tr><th>policy</th><th>cells</th>"
      "<th>mean TTFT</th><th>P99 TTFT</th><th>mean TPOT</th><th>mean E2E</th>";
  if (suite.reference)
    out += fmt::format("<th>mean of<br>{0}</th><th>P99 of<br>{0}</th>", escape(*suite.reference));
  if (best) out += "<th>mean vs<br>best rule</th><th>P99 vs<br>best rule</th>";
  out += "<th>more<br>failures</th></tr></thead><tbody>\n";
  double load = -1;
  for (const OverallRow& row : rows) {
    std::size_t most = 0;
    for (const OverallRow& other : rows)
      if (other.load_share == row.load_share) most = std::max(most, other.points);
    if (2 * row.points < most) continue;
    if (row.load_share != load)
      out += fmt::format("<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>\n", 11,
                         load_title(load = row.load_share));
    out += fmt::format("<tr>{}<td>{}</td>", name_cell(row.label, palette), row.points);
    for (const Ratio* r : {&row.ttft_mean, &row.ttft_p99, &row.tpot_mean, &row.e2e_mean})
      out += ratio_cell(*r);
    if (suite.reference) out += share_cell(row.share_mean) + share_cell(row.share_p99);
    if (best) out += ratio_cell(row.best_mean) + ratio_cell(row.best_p99);
    out +=
        row.lost ? fmt::format("<td class=\"bad\">{}</td></tr>\n", row.lost) : "<td>0</td></tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

// Points down, policies across.
std::string matrix(const std::vector<PointSummary>& points, const Palette& palette,
                   Ratio PolicySummary::* which) {
  std::vector<std::string> labels;
  for (const PointSummary& point : points)
    for (const PolicySummary& p : point.policies)
      if (p.label != palette.baseline() &&
          std::find(labels.begin(), labels.end(), p.label) == labels.end())
        labels.push_back(p.label);
  std::string out = "<div class=\"wide\"><table class=\"matrix\"><thead><tr><th>cell</th>";
  for (const std::string& label : labels)
    out += fmt::format("<th><span class=\"dot {}\"></span>{}</th>",
                       report::fill_class(palette.series(label)), escape(label));
  out += "</tr></thead><tbody>\n";
  std::string cell;
  for (const PointSummary& point : points) {
    if (point.policies.empty()) continue;
    const auto same_cell = [&](const PointSummary& other) {
      return other.point->cell == point.point->cell;
    };
    const bool alone = std::count_if(points.begin(), points.end(), same_cell) == 1;
    if (!alone && point.point->cell != cell) {
      cell = point.point->cell;
      out += fmt::format("<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>\n", labels.size() + 1,
                         escape(cell));
    }
    double best = 0;
    for (const PolicySummary& p : point.policies)
      if ((p.*which).mean > best) best = (p.*which).mean;
    std::string name = point.point->load;
    if (!point.point->vary.empty()) name += (name.empty() ? "" : ", ") + point.point->vary_text();
    if (alone)
      out += fmt::format("<tr><th scope=\"row\"><b>{}</b>{}{}</th>", escape(point.point->cell),
                         name.empty() ? "" : ", ", escape(name));
    else
      out += fmt::format("<tr><th scope=\"row\">{}</th>", escape(name));
    for (const std::string& label : labels) {
      const PolicySummary* p = point.find(label);
      out += p != nullptr ? ratio_cell(p->*which, (p->*which).mean == best) : "<td></td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string point_table(const SuiteSpec& suite, const PointSummary& point, const Palette& palette) {
  const bool best = !suite.best_of.empty();
  std::string out =
      "<div class=\"wide\"><table class=\"tight\"><thead><tr><th>policy</th><th>seeds</th>"
      "<th>failed</th><th>TTFT<br>mean</th><th>TTFT<br>P99</th><th>TPOT<br>mean</th>"
      "<th>E2E<br>mean</th><th>cache<br>hits</th><th>ratio<br>TTFT</th><th>ratio<br>P99</th>"
      "<th>ratio<br>TPOT</th><th>ratio<br>E2E</th>";
  if (suite.reference) out += fmt::format("<th>TTFT of<br>{}</th>", escape(*suite.reference));
  if (best) out += "<th>vs best<br>rule</th>";
  out += "<th>first<br>100</th><th>90 %<br>after</th></tr></thead><tbody>\n";
  for (const PolicySummary& p : point.policies) {
    const std::uint64_t failed = p.failed + p.unfinished;
    out += "<tr>" + name_cell(p.label, palette);
    out += p.seeds < p.wanted_seeds
               ? fmt::format("<td class=\"bad\">{} of {}</td>", p.seeds, p.wanted_seeds)
               : fmt::format("<td>{}</td>", p.seeds);
    out += fmt::format("<td{}>{}</td>", p.lost ? " class=\"bad\"" : "", format_count(failed));
    out +=
        fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
                    format_ms(p.ttft_mean_ms), format_ms(p.ttft_p99_ms), format_ms(p.tpot_mean_ms),
                    format_ms(p.e2e_mean_ms), format_percent(p.hit_ratio));
    for (const Ratio* r : {&p.ttft_mean, &p.ttft_p99, &p.tpot_mean, &p.e2e_mean})
      out += ratio_cell(*r);
    if (suite.reference) out += share_cell(p.share_mean);
    if (best) out += ratio_cell(p.best_mean);
    out += ratio_cell(p.first_100);
    out += p.served_to_90_percent
               ? fmt::format("<td>{}</td>", format_count(*p.served_to_90_percent))
               : "<td>–</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string titled(std::string_view title, std::string_view note, const std::string& plot) {
  if (plot.empty()) return plot;
  return fmt::format("<h3>{}</h3>\n<p class=\"soft\">{}</p>\n{}", title, note, plot);
}

std::string point_section(const SuiteSpec& suite, const PointSummary& point, const Palette& palette,
                          bool open) {
  std::string name = point.point->load.empty() ? "as written" : point.point->load;
  if (!point.point->vary.empty()) name += ", " + point.point->vary_text();
  std::string out = fmt::format("<details{}><summary>{}", open ? " open" : "", escape(name));
  if (point.point->rate_rps > 0)
    out += fmt::format(" <span class=\"soft\">· {:.2f} requests/s · {} engines</span>",
                       point.point->rate_rps, point.point->cluster->engines.size());
  out += "</summary>\n" + point_table(suite, point, palette);
  out += titled("Distribution",
                "Share of requests whose first token came within the time on the axis, all seeds; "
                "further left is better; both tails are stretched. Failed and unfinished requests "
                "stand at their age.",
                report::plot_suite_cdf(point, palette));
  out += titled("Learning",
                "Against requests served in arrival order, warm-up included; means over seeds, "
                "smoothed over five windows.",
                report::plot_learning(point, palette));
  if (suite.reference)
    out += titled(fmt::format("Regret against {}", escape(*suite.reference)),
                  "Time to first token beyond the reference's on the same requests, summed; mean "
                  "over seeds. Below zero: better than the reference.",
                  report::plot_regret(point, palette));
  out += titled("Requests per instance over time",
                "Share of the placements, a band per instance (per kind of hardware in large "
                "fleets). Dashed: faults and phases.",
                report::plot_placements(point, palette));
  out += titled("Predicted and actual",
                "Time to first token as predicted when the request was placed, and as it came.",
                report::plot_scatter(point, palette));
  out += titled("Calibration",
                "Left: how often outcomes fell below the predicted 5 %, 50 % and 95 % quantiles; "
                "on the diagonal is right. Right: part of the outcomes inside the interval.",
                report::plot_calibration(point, palette));
  return out + "</details>\n";
}

// Points of the cell that differ in one axis alone, by what the others are.
std::string vary_plots(const std::vector<const PointSummary*>& cell, const Palette& palette) {
  std::string out;
  for (std::size_t axis = 0; axis < cell.front()->point->vary.size(); ++axis) {
    std::vector<std::pair<std::string, std::vector<const PointSummary*>>> groups;
    for (const PointSummary* point : cell) {
      std::string others = point->point->load;
      for (std::size_t i = 0; i < point->point->vary.size(); ++i)
        if (i != axis)
          others +=
              fmt::format(", {} {}", point->point->vary[i].first, point->point->vary[i].second);
      auto group = std::find_if(groups.begin(), groups.end(),
                                [&](const auto& g) { return g.first == others; });
      if (group == groups.end()) group = groups.insert(group, {others, {}});
      group->second.push_back(point);
    }
    for (const auto& [others, points] : groups)
      if (points.size() > 2)
        out += fmt::format("<h3>By {}{}</h3>\n{}", cell.front()->point->vary[axis].first,
                           others.empty() ? "" : ": " + escape(others),
                           report::plot_vary(points, axis, palette));
  }
  return out;
}

std::string cell_section(const SuiteSpec& suite, const std::vector<const PointSummary*>& cell,
                         const Palette& palette, bool open) {
  const SuitePoint& point = *cell.front()->point;
  std::string out =
      fmt::format("<section>\n<h2>{}</h2>\n<p class=\"soft\">{} · {}</p>\n", escape(point.cell),
                  escape(point.cluster_file), escape(point.workload_file));
  const std::string vary = vary_plots(cell, palette);
  constexpr std::size_t kPanels = 4;
  if (vary.empty() && cell.size() <= kPanels) out += report::plot_forest(cell, palette);
  out += vary;
  for (const PointSummary* p : cell) out += point_section(suite, *p, palette, open && p == cell[0]);
  return out + "</section>\n";
}

std::string gaps(const SuiteGrid& grid, const SuiteStatus& status) {
  std::string out;
  if (!grid.skipped.empty()) {
    out += "<div class=\"alert\"><b>Skipped cells</b>: a file that they need is not here.<ul>";
    for (const SkippedCell& cell : grid.skipped)
      out += fmt::format("<li>{}: {}</li>", escape(cell.cell), escape(cell.why));
    out += "</ul></div>\n";
  }
  if (!status.missing.empty()) {
    out += fmt::format(
        "<div class=\"alert\"><details><summary>{} parts of the grid are missing: "
        "{}</summary><ul>",
        status.missing.size(), escape(status.stopped));
    for (const std::string& text : status.missing) out += fmt::format("<li>{}</li>", escape(text));
    out += "</ul></details></div>\n";
  }
  return out;
}

std::string conditions(const SuiteSpec& suite, const SuiteStatus& status,
                       const std::string& command) {
  std::string from_cache = fmt::format("{} of {}", status.from_cache, status.runs);
  if (status.other_program)
    from_cache += fmt::format(", {} of another build", status.other_program);
  if (status.damaged)
    from_cache += fmt::format("; {} damaged entries were run again", status.damaged);
  const std::pair<const char*, std::string> rows[] = {
      {"Baseline", suite.baseline},
      {"Reference", suite.reference.value_or("none")},
      {"Jitter", suite.jitter ? fmt::format("{:g} % per step", 100 * *suite.jitter)
                              : "as the cluster files say"},
      {"Taken from earlier runs", from_cache},
      {"Command", command}};
  std::string out = "<h2>Run conditions</h2>\n<dl>\n";
  for (const auto& [name, value] : rows)
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escape(value));
  return out + "</dl>\n";
}

}  // namespace

std::string render_suite_report(const SuiteSpec& suite, const SuiteGrid& grid,
                                const std::vector<PointSummary>& summary, const SuiteStatus& status,
                                const std::string& command) {
  const Palette palette(suite, summary);
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">\n<title>Suite {0}</title>\n"
      "<style>{1}</style>\n</head><body><main class=\"broad\">\n<h1>Suite {0}</h1>\n",
      escape(suite.name), report::kStyle);
  if (!suite.description.empty())
    out += fmt::format("<p class=\"soft\">{}</p>\n", escape(suite.description));
  out += gaps(grid, status);
  std::vector<std::vector<const PointSummary*>> cells;
  for (const PointSummary& point : summary) {
    if (point.policies.empty()) continue;
    if (cells.empty() || cells.back().front()->point->cell != point.point->cell)
      cells.emplace_back();
    cells.back().push_back(&point);
  }
  if (cells.empty()) {
    out += "<p>No run was finished: nothing to show.</p>\n";
  } else {
    out += fmt::format(
        "<h2>All cells</h2>\n<p class=\"soft\">Ratios are {0} / policy: above 1 is better than "
        "{0}. Geometric means over cells and paired seeds, with 95 % intervals.</p>\n",
        escape(suite.baseline));
    out += overall_table(suite, summary, palette);
    out += "<h3>Mean time to first token, by cell</h3>\n" +
           matrix(summary, palette, &PolicySummary::ttft_mean);
    out += "<details><summary>P99 of time to first token, by cell</summary>\n" +
           matrix(summary, palette, &PolicySummary::ttft_p99) + "</details>\n";
  }
  for (const auto& cell : cells) out += cell_section(suite, cell, palette, &cell == &cells.front());
  out += conditions(suite, status, command);
  out +=
      "<footer>TTFT: time to first token. TPOT: time per output token after the first. E2E: "
      "arrival to last token. Ratios pair runs with the same arrivals; intervals are Student's t "
      "on the logarithms over seeds. Failed and unfinished requests count with the time that they "
      "had waited when they failed or the run ended; red failures are more than the baseline's. "
      "First 100: ratio over the first hundred requests. 90 % after: requests until the ratio "
      "reached 90 % of what the second half of the run shows.</footer>\n</main></body></html>\n";
  return out;
}

}  // namespace lodestar::sim
