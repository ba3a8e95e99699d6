// SPDX-License-Identifier: Apache-2.0
// Turns a point prediction into a distribution whose intervals hold what they promise.
//
// The quantiles of log(actual / predicted) are followed online, each by stochastic
// gradient descent on its pinball loss: q += step * (level - [ratio < q]). That is
// adaptive conformal inference (Gibbs & Candes 2021; Angelopoulos et al. 2023,
// "conformal PID", quantile tracking): over any long run the share of samples below q
// tends to its level whatever the predictor's error looks like, drift included. The
// first samples are kept: the quantiles start from theirs, because one that starts too
// far out comes in by `step * level` a sample only (thousands, for the outer ones).
//
// Values only; deterministic.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace lodestar::learn {

class Calibration {
 public:
  static constexpr std::size_t kLevels = 7;
  static constexpr std::array<double, kLevels> kLevel = {0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95};
  // The ends of the nominal 90 % interval, and two levels within.
  static constexpr std::size_t kLow = 0, kMedian = 3, k90 = 5, kHigh = 6;
  static constexpr std::size_t kFirst = 80;  // samples that the quantiles start from

  // Ratio actual / predicted that a share kLevel[level] of the samples stays below.
  double ratio(std::size_t level) const;
  // Whether the nominal 90 % interval around `predicted` holds `actual`.
  bool holds(double predicted, double actual) const {
    return actual >= predicted * ratio(kLow) && actual <= predicted * ratio(kHigh);
  }
  // Share of samples whose actual / predicted stays below `ratio`; linear in the log
  // between levels, 0.02 and 0.98 beyond the outer ones.
  double probability_below(double ratio) const;

  // log(actual / predicted), finite.
  void learn(double log_ratio);
  // Only that the ratio was at least this: the label was cut off. Moves the levels
  // that the sample is known to lie above.
  void learn_at_least(double log_ratio);

  std::uint64_t samples() const { return samples_; }

  // To keep it across restarts. The first samples are not kept: where there are no more
  // than these, the count starts again.
  struct State {
    std::array<double, kLevels> q;
    double scale;
    std::uint64_t samples;  // 0, or kFirst and more
  };
  State state() const { return {q_, scale_, samples_ < kFirst ? 0 : samples_}; }
  static Calibration from(const State& s) {
    Calibration c;
    c.q_ = s.q;
    c.scale_ = s.scale;
    c.samples_ = s.samples;
    return c;
  }

 private:
  double step(std::size_t level) const;
  void sort();
  void start_from(double r);

  // Before any sample: a factor of about 2 both ways.
  std::array<double, kLevels> q_ = {-0.7, -0.5, -0.25, 0, 0.25, 0.5, 0.7};
  double scale_ = 0.4;  // running mean of |log ratio|
  std::array<float, kFirst> first_{};  // samples, ascending; as many as samples_, at most all
  std::uint64_t samples_ = 0;
};

// What became of intervals that were announced: for metrics, not for decisions.
struct Coverage {
  std::uint64_t samples = 0, inside = 0;
  double recent = 0.9;  // exponential mean over about 500

  void count(bool was_inside) {
    ++samples;
    inside += was_inside ? 1 : 0;
    recent += ((was_inside ? 1.0 : 0.0) - recent) / 500;
  }
};

}  // namespace lodestar::learn
