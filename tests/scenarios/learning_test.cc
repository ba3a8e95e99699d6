// SPDX-License-Identifier: Apache-2.0
// `lodestar` on small synthetic clusters, against rules and against itself: what it must
// reach is in docs/results/learning.md on large grids; here are the same questions in
// sizes that a test can afford, with margins that chance does not cross.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/math.h"
#include "sim/experiment.h"
#include "sim/workload_plan.h"

namespace lodestar::sim {
namespace {

struct Cell {
  std::string groups, workload;
};

std::string chat(double rate, int requests) {
  return "synthetic: {kind: multi-turn, turns: {min: 2, max: 8}, system_prompts: 4, "
         "system_prompt_tokens: {min: 500, max: 1500}, new_tokens: {min: 50, max: 900}, "
         "output_tokens: {min: 30, max: 200}, think_time_s: {mean: 10}, open_loop: true}\n"
         "arrivals: {kind: poisson, rate_rps: " +
         std::to_string(rate) + "}\nmax_requests: " + std::to_string(requests) + "\n";
}
std::string shared(double rate, int requests) {
  return "synthetic: {kind: shared-prefix, share: 0.6, prompt_tokens: [800, 2000, 5000], "
         "prefixes_per_length: 8, uses_per_prefix: 30, output_tokens: {min: 20, max: 150}}\n"
         "arrivals: {kind: poisson, rate_rps: " +
         std::to_string(rate) + "}\nmax_requests: " + std::to_string(requests) + "\n";
}
std::string group(int count, const std::string& gpu, const std::string& more = "") {
  return "{count: " + std::to_string(count) + ", gpu: " + gpu +
         ", served_model: llama-3.1-8b, jitter: {sigma: 0.03}" + more + "}";
}

std::shared_ptr<const WorkloadPlan> plan_of(const std::string& workload, std::uint64_t seed) {
  const auto spec = parse_workload(workload, "workload", "");
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  const auto plan = make_plan(*spec, nullptr, seed);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  return *plan;
}
CellOutcome run(const Cell& cell, const std::string& policy, std::uint64_t seed) {
  const auto cluster = parse_cluster("groups: [" + cell.groups + "]\n", "cluster", "");
  EXPECT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
  auto out = run_cell({.cluster = std::make_shared<const Cluster>(*cluster),
                       .plan = plan_of(cell.workload, seed),
                       .policy = policy,
                       .seed = seed,
                       .wall_ns = {},
                       .progress = {}});
  EXPECT_TRUE(out) << (out ? "" : out.error().message);
  return std::move(*out);
}
double ttft_ms(const RequestRecord& r) { return to_ms(r.first_token - r.arrival); }
// Mean over the records from `first` on, at most `count`.
double mean_ttft_ms(const CellOutcome& run, std::size_t first, std::size_t count) {
  double sum = 0;
  const std::size_t end = std::min(run.records.size(), first + count);
  for (std::size_t k = first; k < end; ++k) sum += ttft_ms(run.records[k]);
  return sum / static_cast<double>(end - first);
}
constexpr std::size_t kAll = 1'000'000;

const std::map<std::string, Cell>& cells() {
  static const std::map<std::string, Cell> kCells = {
      {"homogeneous", {group(4, "a30"), chat(0.85, 2500)}},
      {"mixed", {group(1, "h100") + ", " + group(2, "l20") + ", " + group(2, "a30"),
                 chat(3.0, 3000)}},
      {"tight", {group(4, "a30", ", kv_capacity_tokens: 20000"), chat(0.62, 2500)}},
      {"shared", {group(4, "a30"), shared(4.2, 2500)}},
  };
  return kCells;
}

// ---- drift -----------------------------------------------------------------------------
constexpr int kSlow = 1;
constexpr double kAtS = 200, kUntilS = 500;

// Share of the slow engine among arrivals in [from, to).
struct Count {
  double slow = 0, all = 0;
  void add(const CellOutcome& run, TimeNs from, TimeNs to) {
    for (const RequestRecord& r : run.records) {
      if (r.arrival < from || r.arrival >= to) continue;
      ++all;
      slow += r.instance == kSlow;
    }
  }
  double share() const { return slow / all; }
};
// Its n-th completion after `from`.
TimeNs completion(const CellOutcome& run, TimeNs from, std::size_t n) {
  std::vector<TimeNs> ends;
  for (const RequestRecord& r : run.records)
    if (r.instance == kSlow && r.arrival >= from && r.last_token != kNever) ends.push_back(r.last_token);
  if (ends.size() < n) return kNever;
  std::nth_element(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(n - 1), ends.end());
  return ends[n - 1];
}

TEST(Learning, Explore) {
  for (const auto& [name, cell] : cells()) {
    printf("%s:", name.c_str());
    for (const char* policy : {"lodestar", "prefix-cache", "lmetric", "least-request"}) {
      double m = 0, first = 0, p99 = 0, tpot = 0;
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const auto r = run(cell, policy, seed);
        m += mean_ttft_ms(r, 0, kAll) / 3;
        first += mean_ttft_ms(r, 0, 100) / 3;
        p99 += *r.result.ttft_ms.p99 / 3;
        tpot += *r.result.tpot_ms.mean / 3;
        double in = 0, n = 0;
        for (std::size_t k = 300 * r.result.instances.size(); k < r.records.size(); ++k)
          if (r.records[k].predicted_lo_ms) {
            ++n;
            in += ttft_ms(r.records[k]) >= *r.records[k].predicted_lo_ms &&
                  ttft_ms(r.records[k]) <= *r.records[k].predicted_hi_ms;
          }
        if (n > 0) printf(" (%.3f)", in / n);
      }
      printf("  %s %.0f first %.0f p99 %.0f tpot %.1f;", policy, m, first, p99, tpot);
    }
    printf("\n");
  }
  const auto fault = [](double at, double until) {
    return ", faults: [{kind: slow, engine: 1, at_s: " + std::to_string(at) + ", until_s: " +
           std::to_string(until) + ", factor: 3}]";
  };
  for (const double rate : {0.6, 0.8, 0.95})
  for (const char* policy : {"lodestar", "lmetric"}) {
    const std::string load = chat(rate, static_cast<int>(rate * 5 * 700));
    Count before, drifted, always, after, after2;
    double reached = 0, ttft[2] = {};
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      const auto drift = run({group(4, "a30", fault(kAtS, 5000)), load}, policy, seed);
      const auto slow = run({group(4, "a30", fault(0.001, 5000)), load}, policy, seed);
      const auto back = run({group(4, "a30", fault(100, 250)), load}, policy, seed);
      const TimeNs from = completion(drift, from_s(kAtS), 30);
      before.add(drift, from_s(50), from_s(kAtS));
      reached += to_s(from) / 10;
      ttft[0] += mean_ttft_ms(drift, 0, kAll) / 10; ttft[1] += mean_ttft_ms(slow, 0, kAll) / 10;
      drifted.add(drift, from, from + from_s(60));
      always.add(slow, from, from + from_s(60));
      after.add(back, from_s(310), from_s(400));
      after2.add(back, from_s(450), from_s(600));
    }
    printf("%.2f %s: before %.3f drifted %.3f (n %.0f) always %.3f (n %.0f) after %.3f %.3f; reached at %.0f; ttft %.0f %.0f\n", rate, policy, before.share(),
           drifted.share(), drifted.all, always.share(), always.all, after.share(), after2.share(), reached, ttft[0], ttft[1]);
  }
}

}  // namespace
}  // namespace lodestar::sim
