// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_result.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace lodestar::sim {
namespace {

using Json = nlohmann::ordered_json;

Json number(double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }

Json ratio_json(const Ratio& r) {
  return Json{{"mean", number(r.mean)},
              {"low", number(r.low)},
              {"high", number(r.high)},
              {"seeds", r.seeds}};
}

// Keys that say which point it is.
void add_point(Json& j, const SuitePoint& point) {
  j["cell"] = point.cell;
  j["cluster"] = point.cluster_file;
  j["workload"] = point.workload_file;
  j["load"] = point.load_share > 0 ? Json(point.load_share) : Json(nullptr);
  j["rate_rps"] = point.rate_rps > 0 ? Json(point.rate_rps) : Json(nullptr);
  Json vary = Json::object();
  for (const auto& [key, value] : point.vary) vary[key] = value;
  j["vary"] = std::move(vary);
}

Json predictions_json(const PredictionDigest& p, const std::vector<std::string>& rows) {
  if (p.count == 0) return nullptr;
  const auto share = [&](std::uint64_t part) {
    return p.with_interval ? Json(static_cast<double>(part) / static_cast<double>(p.with_interval))
                           : Json(nullptr);
  };
  Json j{{"count", p.count},
         {"mean_relative_error", p.sum_relative_error / static_cast<double>(p.count)},
         {"with_interval", p.with_interval},
         {"nominal_coverage", PredictionDigest::kNominalCoverage},
         {"coverage", share(p.below_hi - p.below_lo)},
         {"below_low", share(p.below_lo)},
         {"below_predicted", share(p.below_point)},
         {"below_high", share(p.below_hi)}};
  Json per_row = Json::array();
  for (std::size_t i = 0; i < p.row_total.size() && i < rows.size(); ++i)
    per_row.push_back(
        {{"name", rows[i]},
         {"count", p.row_total[i]},
         {"coverage", p.row_total[i] ? Json(double(p.row_inside[i]) / double(p.row_total[i]))
                                     : Json(nullptr)}});
  j["instances"] = std::move(per_row);
  return j;
}

Json learning_json(const PolicySummary& p) {
  Json served = Json::array(), ratio = Json::array(), regret = Json::array();
  for (const LearningPoint& point : p.learning) {
    served.push_back(point.served);
    ratio.push_back(number(point.ratio));
    regret.push_back(number(point.regret_s));
  }
  return Json{{"served", served}, {"ttft_ratio", ratio}, {"regret_s", regret}};
}

Json placements_json(const PolicySummary& p) {
  Json rows = Json::array();
  const std::size_t bins = p.rows.empty() ? 0 : p.placed.size() / p.rows.size();
  for (std::size_t r = 0; r < p.rows.size(); ++r) {
    const auto begin = p.placed.begin() + static_cast<std::ptrdiff_t>(r * bins);
    rows.push_back(
        {{"name", p.rows[r]},
         {"instances", p.row_instances[r]},
         {"requests", std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(bins))}});
  }
  return Json{{"bin_s", p.bin_s}, {"rows", rows}};
}

Json policy_json(const PointSummary& point, const PolicySummary& p) {
  Json j;
  add_point(j, *point.point);
  j["label"] = p.label;
  j["policy"] = p.policy;
  j["seeds"] = p.seeds;
  j["wanted_seeds"] = p.wanted_seeds;
  j["requests"] = p.requests;
  j["failed"] = p.failed;
  j["unfinished"] = p.unfinished;
  j["lost"] = p.lost;
  j["ttft_ms"] = {{"mean", number(p.ttft_mean_ms)}, {"p99", number(p.ttft_p99_ms)}};
  j["tpot_ms"] = {{"mean", number(p.tpot_mean_ms)}};
  j["e2e_ms"] = {{"mean", number(p.e2e_mean_ms)}};
  j["prefix_hit_ratio"] = number(p.hit_ratio);
  j["decision_us"] = {{"mean", number(p.decision_us)}};
  j["ratio"] = {{"ttft_mean", ratio_json(p.ttft_mean)},
                {"ttft_p99", ratio_json(p.ttft_p99)},
                {"tpot_mean", ratio_json(p.tpot_mean)},
                {"e2e_mean", ratio_json(p.e2e_mean)}};
  j["share_of_reference"] = {{"ttft_mean", ratio_json(p.share_mean)},
                             {"ttft_p99", ratio_json(p.share_p99)}};
  j["against_best_rule"] = {{"ttft_mean", ratio_json(p.best_mean)},
                            {"ttft_p99", ratio_json(p.best_p99)}};
  j["first_100"] = ratio_json(p.first_100);
  j["served_to_90_percent"] =
      p.served_to_90_percent ? Json(*p.served_to_90_percent) : Json(nullptr);
  j["predictions"] = predictions_json(p.predictions, p.rows);
  j["learning"] = learning_json(p);
  j["placements"] = placements_json(p);
  return j;
}

Json cells_json(const SuiteGrid& grid, const SuiteResults& results) {
  std::vector<CellResult> cells;
  std::vector<std::pair<const SuitePoint*, const SuitePolicy*>> keys;
  std::vector<const RunDigest*> digests;
  for (const auto& [at, runs] : results.runs)
    for (const auto& [seed, run] : runs) {
      cells.push_back(run.result);
      keys.emplace_back(&grid.points[at.first], &grid.points[at.first].policies[at.second]);
      digests.push_back(&run);
    }
  Json list = Json::parse(to_json(cells))["cells"];
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i]["label"] = keys[i].second->label;
    add_point(list[i], *keys[i].first);
    list[i]["aged_ms"] = {{"ttft_mean", number(digests[i]->ttft_mean_ms)},
                          {"ttft_p99", number(digests[i]->ttft_p99_ms)},
                          {"tpot_mean", number(digests[i]->tpot_mean_ms)},
                          {"e2e_mean", number(digests[i]->e2e_mean_ms)}};
  }
  return list;
}

Json overall_json(const std::vector<PointSummary>& summary) {
  Json list = Json::array();
  for (const OverallRow& row : overall(summary))
    list.push_back({{"load", row.load_share > 0 ? Json(row.load_share) : Json(nullptr)},
                    {"label", row.label},
                    {"points", row.points},
                    {"lost", row.lost},
                    {"ttft_mean", ratio_json(row.ttft_mean)},
                    {"ttft_p99", ratio_json(row.ttft_p99)},
                    {"tpot_mean", ratio_json(row.tpot_mean)},
                    {"e2e_mean", ratio_json(row.e2e_mean)},
                    {"share_mean", ratio_json(row.share_mean)},
                    {"share_p99", ratio_json(row.share_p99)},
                    {"best_mean", ratio_json(row.best_mean)},
                    {"best_p99", ratio_json(row.best_p99)}});
  return list;
}

std::string ms_text(double v) { return std::isfinite(v) ? fmt::format("{:.1f}", v) : "-"; }

std::string seeds_text(const PolicySummary& p) {
  return p.seeds == p.wanted_seeds ? fmt::format("{}", p.seeds)
                                   : fmt::format("{}/{}", p.seeds, p.wanted_seeds);
}

}  // namespace

std::string ratio_text(const Ratio& ratio) {
  if (!std::isfinite(ratio.mean)) return "-";
  if (!std::isfinite(ratio.low)) return fmt::format("{:.2f}", ratio.mean);
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]", ratio.mean, ratio.low, ratio.high);
}

std::string to_suite_json(const SuiteSpec& suite, const SuiteGrid& grid,
                          const SuiteResults& results, const std::vector<PointSummary>& summary,
                          const SuiteStatus& status) {
  Json j;
  j["suite"] = suite.name;
  j["baseline"] = suite.baseline;
  j["reference"] = suite.reference ? Json(*suite.reference) : Json(nullptr);
  j["best_of"] = suite.best_of;
  Json skipped = Json::array();
  for (const SkippedCell& cell : grid.skipped)
    skipped.push_back({{"cell", cell.cell}, {"why", cell.why}});
  j["status"] = {{"runs", status.runs},
                 {"from_cache", status.from_cache},
                 {"other_program", status.other_program},
                 {"damaged_cache_entries", status.damaged},
                 {"missing", status.missing},
                 {"stopped", status.stopped},
                 {"skipped", skipped},
                 {"wall_s", status.wall_s}};
  j["overall"] = overall_json(summary);
  Json rows = Json::array();
  for (const PointSummary& point : summary)
    for (const PolicySummary& policy : point.policies) rows.push_back(policy_json(point, policy));
  j["summary"] = std::move(rows);
  j["cells"] = cells_json(grid, results);
  return j.dump(1) + "\n";
}

std::string to_suite_table(const SuiteSpec& suite, const std::vector<PointSummary>& summary) {
  const bool best = !suite.best_of.empty();
  std::string out;
  for (const PointSummary& point : summary) {
    if (point.policies.empty()) continue;
    std::size_t width = 12;
    for (const PolicySummary& p : point.policies) width = std::max(width, p.label.size());
    out += fmt::format("\n{}\n", point.point->name());
    out += fmt::format("  {:<{}} {:>6} {:>7} | {:>8} {:>8} | {:<18} {:<18} {:<18} {:<18}", "policy",
                       width, "seeds", "failed", "TTFT ms", "P99 ms", "ratio TTFT", "ratio P99",
                       "ratio TPOT", "ratio E2E");
    if (suite.reference) out += fmt::format(" {:<18}", "of " + *suite.reference);
    if (best) out += fmt::format(" {:<18}", "best rule");
    out += "\n";
    for (const PolicySummary& p : point.policies) {
      out += fmt::format("  {:<{}} {:>6} {:>7} | {:>8} {:>8} | {:<18} {:<18} {:<18} {:<18}",
                         p.label, width, seeds_text(p),
                         fmt::format("{}{}", p.failed + p.unfinished, p.lost ? "!" : ""),
                         ms_text(p.ttft_mean_ms), ms_text(p.ttft_p99_ms), ratio_text(p.ttft_mean),
                         ratio_text(p.ttft_p99), ratio_text(p.tpot_mean), ratio_text(p.e2e_mean));
      if (suite.reference) out += fmt::format(" {:<18}", ratio_text(p.share_mean));
      if (best) out += fmt::format(" {:<18}", ratio_text(p.best_mean));
      out += "\n";
    }
  }
  out += fmt::format(
      "\nratio: {} / policy, geometric mean over seeds [95 %]; failed: with "
      "unfinished, counted at their age, ! more than {}\n",
      suite.baseline, suite.baseline);
  return out;
}

}  // namespace lodestar::sim
