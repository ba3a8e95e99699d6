// SPDX-License-Identifier: Apache-2.0
// What a suite keeps of one run: a few kilobytes that merge over seeds. Failed
// and unfinished requests count at their age (when they failed, or at the end of
// the run), so that a policy cannot look fast by losing the slow ones.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/report_data.h"
#include "sim/result.h"

namespace lodestar::sim {

// Counts of values by size: bins of equal width on a logarithmic axis, kPerDecade
// of them from kLow ms on. Values outside fall into the first and last bin.
struct LogHistogram {
  static constexpr int kPerDecade = 48;
  static constexpr int kDecades = 8;
  static constexpr double kLow = 0.01;
  static constexpr std::size_t kBins = std::size_t{kPerDecade} * kDecades;
  std::vector<std::uint32_t> counts = std::vector<std::uint32_t>(kBins);

  void add(double value_ms);
  void merge(const LogHistogram& other);
  std::uint64_t total() const;
  static double upper_edge(std::size_t bin);
};

// Prediction against outcome, of requests that were answered and predicted.
struct PredictionDigest {
  struct Pair {
    float predicted_ms = 0, actual_ms = 0;
  };
  std::vector<Pair> pairs;   // an even sample of at most kMaxPairs
  std::uint64_t count = 0;   // with a prediction
  double sum_relative_error = 0;  // of |predicted - actual| / actual
  // How many outcomes lie below the lower end, the prediction and the upper end.
  std::uint64_t with_interval = 0, below_lo = 0, below_point = 0, below_hi = 0;
  std::vector<std::uint32_t> window_total, window_inside;  // like RunDigest's windows
  std::vector<std::uint32_t> row_total, row_inside;        // like RunDigest's rows
  static constexpr std::size_t kMaxPairs = 400;
  // The interval that policies report: from its 5 % to its 95 % quantile.
  static constexpr double kNominalCoverage = 0.9;
};

struct RunDigest {
  CellResult result;
  // Means and P99 over counted requests, the failed and unfinished at their age.
  double ttft_mean_ms = kNotMeasured, ttft_p99_ms = kNotMeasured;
  double tpot_mean_ms = kNotMeasured, e2e_mean_ms = kNotMeasured;
  LogHistogram ttft;
  // Mean TTFT of each `window` arrivals, warm-up included: that is where learning
  // happens. The last window may be shorter and is then left out.
  std::uint32_t window = 0;
  std::vector<double> window_ttft_ms;
  // Requests placed, by row (an instance, or a hardware group of a large fleet)
  // and time bin of bin_s seconds of the arrival; row-major, bins = placed / rows.
  double bin_s = 0;
  std::vector<std::string> rows;
  std::vector<std::uint32_t> row_instances;  // instances that the row stands for
  std::vector<std::uint32_t> placed;
  PredictionDigest predictions;
};

// `hardware`: by instance index, for grouping; may be shorter.
RunDigest digest_of(const CellResult& result, std::span<const RequestRecord> records,
                    std::span<const std::string> hardware);

// A compact form for the cache; decoding refuses anything but what encoding wrote.
std::string encode_digest(const RunDigest& digest);
Result<RunDigest> decode_digest(const std::string& bytes);

}  // namespace lodestar::sim
