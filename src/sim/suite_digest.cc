// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_digest.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/math.h"

namespace lodestar::sim {
namespace {

constexpr double kLn10 = 2.302585092994046;
constexpr std::size_t kMaxWindows = 120, kMaxBins = 90, kMaxRows = 40;

// 100 requests, or as many hundreds as keep the number of windows readable.
std::uint32_t window_size(std::size_t requests) {
  const std::size_t hundreds = (requests + 100 * kMaxWindows - 1) / (100 * kMaxWindows);
  return static_cast<std::uint32_t>(100 * std::max<std::size_t>(1, hundreds));
}

// 1, 2 or 5 times a power of ten seconds: the same for all seeds of a point.
double bin_width_s(double end_s) {
  double width = 0.001;
  for (int i = 0; width * static_cast<double>(kMaxBins) < end_s; ++i) width *= i % 3 == 1 ? 2.5 : 2;
  return width;
}

struct Ages {
  double ttft_ms = kNotMeasured, tpot_ms = kNotMeasured, e2e_ms = kNotMeasured;
  bool answered = false;
};

// What the client had to wait, or has waited so far.
Ages ages_of(const RequestRecord& r, TimeNs end) {
  Ages ages;
  const bool done = !r.failed && r.last_token != kNever;
  const TimeNs until = done ? r.last_token : r.failed_at != kNever ? r.failed_at : end;
  const bool seen = r.first_token != kNever;
  ages.answered = seen;
  if (seen || !done)
    ages.ttft_ms = to_ms(std::max<TimeNs>(0, (seen ? r.first_token : until) - r.arrival));
  ages.e2e_ms = to_ms(std::max<TimeNs>(0, until - r.arrival));
  if (done && seen && r.output_tokens > 1)
    ages.tpot_ms = to_ms(r.last_token - r.first_token) / static_cast<double>(r.output_tokens - 1);
  return ages;
}

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return kNotMeasured;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// One row per instance, or per hardware where those are too many to draw.
std::vector<std::uint32_t> assign_rows(const CellResult& result,
                                       std::span<const std::string> hardware, RunDigest& out) {
  const std::size_t n = result.instances.size();
  std::vector<std::uint32_t> row_of(n);
  for (std::size_t i = 0; i < n; ++i) {
    const bool grouped = n > kMaxRows;
    const std::string name = !grouped              ? result.instances[i].name
                             : i < hardware.size() ? hardware[i]
                                                   : "all";
    auto row = grouped ? std::find(out.rows.begin(), out.rows.end(), name) : out.rows.end();
    if (row == out.rows.end()) {
      row = out.rows.insert(row, name);
      out.row_instances.push_back(0);
    }
    row_of[i] = static_cast<std::uint32_t>(row - out.rows.begin());
    ++out.row_instances[row_of[i]];
  }
  return row_of;
}

void place(std::span<const RequestRecord> records, const std::vector<std::uint32_t>& row_of,
           RunDigest& out) {
  TimeNs last = 0;
  for (const RequestRecord& r : records) last = std::max(last, r.arrival);
  out.bin_s = bin_width_s(to_s(last));
  const auto bins = static_cast<std::size_t>(to_s(last) / out.bin_s) + 1;
  out.placed.assign(out.rows.size() * bins, 0);
  for (const RequestRecord& r : records) {
    if (r.instance >= row_of.size()) continue;
    const auto bin = std::min(bins - 1, static_cast<std::size_t>(to_s(r.arrival) / out.bin_s));
    ++out.placed[row_of[r.instance] * bins + bin];
  }
}

void take_prediction(const RequestRecord& r, double actual_ms, std::size_t window,
                     std::uint32_t row, PredictionDigest& out) {
  const double predicted = *r.predicted_ttft_ms;
  if (!std::isfinite(predicted) || actual_ms <= 0) return;
  ++out.count;
  out.sum_relative_error += std::fabs(predicted - actual_ms) / actual_ms;
  out.pairs.push_back({*r.predicted_ttft_ms, static_cast<float>(actual_ms)});
  if (!r.predicted_lo_ms || !r.predicted_hi_ms) return;
  const double lo = *r.predicted_lo_ms, hi = *r.predicted_hi_ms;
  const bool inside = actual_ms >= lo && actual_ms <= hi;
  ++out.with_interval;
  out.below_lo += actual_ms < lo;
  out.below_point += actual_ms < predicted;
  out.below_hi += actual_ms <= hi;
  if (window < out.window_total.size()) {
    ++out.window_total[window];
    out.window_inside[window] += inside;
  }
  if (row < out.row_total.size()) {
    ++out.row_total[row];
    out.row_inside[row] += inside;
  }
}

void thin(std::vector<PredictionDigest::Pair>& pairs) {
  constexpr std::size_t kMost = PredictionDigest::kMaxPairs;
  if (pairs.size() <= kMost) return;
  for (std::size_t i = 0; i < kMost; ++i) pairs[i] = pairs[i * pairs.size() / kMost];
  pairs.resize(kMost);
}

}  // namespace

void LogHistogram::add(double value_ms) {
  if (!(value_ms >= 0)) return;
  const double at =
      value_ms <= kLow ? 0 : det_log(value_ms / kLow) / kLn10 * static_cast<double>(kPerDecade);
  ++counts[std::min(kBins - 1, static_cast<std::size_t>(at))];
}

void LogHistogram::merge(const LogHistogram& other) {
  for (std::size_t i = 0; i < kBins; ++i) counts[i] += other.counts[i];
}

std::uint64_t LogHistogram::total() const {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

double LogHistogram::upper_edge(std::size_t bin) {
  return kLow * det_exp(kLn10 * static_cast<double>(bin + 1) / static_cast<double>(kPerDecade));
}

RunDigest digest_of(const CellResult& result, std::span<const RequestRecord> records,
                    std::span<const std::string> hardware) {
  RunDigest out;
  out.result = result;
  const std::vector<std::uint32_t> row_of = assign_rows(result, hardware, out);
  place(records, row_of, out);
  out.window = window_size(records.size());
  const std::size_t windows = records.size() / out.window;
  out.window_ttft_ms.assign(windows, 0);
  out.predictions.window_total.assign(windows, 0);
  out.predictions.window_inside.assign(windows, 0);
  out.predictions.row_total.assign(out.rows.size(), 0);
  out.predictions.row_inside.assign(out.rows.size(), 0);
  std::vector<std::uint32_t> in_window(windows, 0);
  std::vector<double> ttft, tpot, e2e;
  const TimeNs end = from_s(result.simulated_s);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const RequestRecord& r = records[i];
    const Ages ages = ages_of(r, end);
    const std::size_t window = i / out.window;
    if (window < windows && std::isfinite(ages.ttft_ms)) {
      out.window_ttft_ms[window] += ages.ttft_ms;
      ++in_window[window];
    }
    if (r.predicted_ttft_ms && ages.answered)
      take_prediction(r, ages.ttft_ms, window,
                      r.instance < row_of.size() ? row_of[r.instance] : kNoInstance,
                      out.predictions);
    if (!r.counted) continue;
    if (std::isfinite(ages.ttft_ms)) {
      ttft.push_back(ages.ttft_ms);
      out.ttft.add(ages.ttft_ms);
    }
    if (std::isfinite(ages.tpot_ms)) tpot.push_back(ages.tpot_ms);
    e2e.push_back(ages.e2e_ms);
  }
  for (std::size_t w = 0; w < windows; ++w)
    out.window_ttft_ms[w] =
        in_window[w] ? out.window_ttft_ms[w] / static_cast<double>(in_window[w]) : kNotMeasured;
  thin(out.predictions.pairs);
  out.ttft_mean_ms = mean_of(ttft);
  out.tpot_mean_ms = mean_of(tpot);
  out.e2e_mean_ms = mean_of(e2e);
  out.ttft_p99_ms = summarise(std::move(ttft)).p99.value_or(kNotMeasured);
  return out;
}

}  // namespace lodestar::sim
