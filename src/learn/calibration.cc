// SPDX-License-Identifier: Apache-2.0
#include "learn/calibration.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace lodestar::learn {
namespace {
constexpr double kFarthest = 5;  // log ratios beyond say nothing more
}

// Large at first (the start values are a guess), then a small share of the usual
// deviation, larger where samples are rare (1 / density of a normal law, median = 1).
double Calibration::step(std::size_t level) const {
  constexpr std::array<double, kLevels> kRarity = {3.9, 2.3, 1.25, 1, 1.25, 2.3, 3.9};
  return kRarity[level] * scale_ * std::max(0.03, 2 / (static_cast<double>(samples_) + 4));
}

// While all samples fit: at 20, 40 and 80 the quantiles become those of the samples.
void Calibration::start_from(double r) {
  const std::size_t n = samples_;
  if (n >= kFirst) return;
  const auto end = first_.begin() + static_cast<std::ptrdiff_t>(n);
  const auto value = static_cast<float>(r);
  const auto at = std::upper_bound(first_.begin(), end, value);
  std::copy_backward(at, end, end + 1);
  *at = value;
  if (n + 1 != kFirst && n + 1 != kFirst / 2 && n + 1 != kFirst / 4) return;
  for (std::size_t k = 0; k < kLevels; ++k) {
    const double rank = std::max(0.0, kLevel[k] * static_cast<double>(n + 2) - 1);  // from 0
    const std::size_t low = std::min(static_cast<std::size_t>(rank), n);
    const std::size_t high = std::min(low + 1, n);
    const double part = rank - static_cast<double>(low);
    q_[k] = first_[low] + part * (first_[high] - first_[low]);
  }
}

void Calibration::sort() {
  for (std::size_t k = 1; k < kLevels; ++k) q_[k] = std::max(q_[k], q_[k - 1]);
}

double Calibration::ratio(std::size_t level) const { return det_exp(q_[level]); }

double Calibration::probability_below(double ratio) const {
  if (!(ratio > 0)) return 0.02;
  const double r = det_log(ratio);
  if (r < q_[0]) return 0.02;
  for (std::size_t k = 1; k < kLevels; ++k) {
    if (r >= q_[k]) continue;
    const double width = q_[k] - q_[k - 1];
    const double part = width > 0 ? (r - q_[k - 1]) / width : 1;
    return kLevel[k - 1] + part * (kLevel[k] - kLevel[k - 1]);
  }
  return 0.98;
}

void Calibration::learn(double log_ratio) {
  const double r = std::clamp(log_ratio, -kFarthest, kFarthest);
  for (std::size_t k = 0; k < kLevels; ++k)
    q_[k] += step(k) * (kLevel[k] - (r < q_[k] ? 1.0 : 0.0));
  start_from(r);
  sort();
  scale_ += 0.02 * (std::fabs(r) - scale_);
  scale_ = std::max(scale_, 0.01);
  ++samples_;
}

void Calibration::learn_at_least(double log_ratio) {
  const double r = std::clamp(log_ratio, -kFarthest, kFarthest);
  for (std::size_t k = 0; k < kLevels; ++k)
    if (q_[k] <= r) q_[k] += step(k) * kLevel[k];
  sort();
}

}  // namespace lodestar::learn
