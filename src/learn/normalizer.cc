// SPDX-License-Identifier: Apache-2.0
#include "learn/normalizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace lodestar::learn {
namespace {

constexpr std::uint16_t kUnlabelled = 1u << 15;

std::uint16_t gpu_bit(GpuClass gpu) {
  return gpu < 0 ? kUnlabelled : static_cast<std::uint16_t>(1u << gpu);
}

}  // namespace

void FeatureMoments::add(const PaperFeatures& x) {
  count += 1;
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    const float v = x.numeric[i];
    min[i] = count == 1 ? v : std::min(min[i], v);
    max[i] = count == 1 ? v : std::max(max[i], v);
    const double old_mean = static_cast<double>(mean[i]);
    const double delta = static_cast<double>(v) - old_mean;
    const double new_mean = old_mean + delta / count;
    squares[i] = static_cast<float>(static_cast<double>(squares[i]) +
                                    delta * (static_cast<double>(v) - new_mean));
    mean[i] = static_cast<float>(new_mean);
  }
  gpus = static_cast<std::uint16_t>(gpus | gpu_bit(x.gpu));
}

void Normalizer::encode(const PaperFeatures& x, bool gpu_labels, std::span<float> out) const {
  LODESTAR_CHECK(out.size() >= paper_inputs(gpu_labels));
  std::fill(out.begin(), out.end(), 0.0f);
  constexpr std::size_t kBeforeGpu = 8;
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    const std::size_t at = i < kBeforeGpu || !gpu_labels ? i : i + kPaperGpuClasses;
    const float deviation = statistics_.deviation[i];
    out[at] = deviation > 0 ? (x.numeric[i] - statistics_.mean[i]) / deviation : 0.0f;
  }
  if (gpu_labels && x.gpu >= 0) out[kBeforeGpu + static_cast<std::size_t>(x.gpu)] = 1.0f;
}

bool Normalizer::in_range(const PaperFeatures& x, bool gpu_labels, double margin) const {
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    const double low = static_cast<double>(statistics_.min[i]);
    const double high = static_cast<double>(statistics_.max[i]);
    const double slack = margin * (high - low);
    const double v = static_cast<double>(x.numeric[i]);
    if (!(v >= low - slack && v <= high + slack)) return false;
  }
  return !gpu_labels || (statistics_.gpus & gpu_bit(x.gpu)) != 0;
}

void NormalizerBuilder::add(const FeatureMoments& m) {
  if (m.count <= 0) return;
  const bool first = count_ == 0;
  const double total = count_ + m.count;
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    const double delta = static_cast<double>(m.mean[i]) - mean_[i];
    mean_[i] += delta * m.count / total;
    squares_[i] += static_cast<double>(m.squares[i]) + delta * delta * count_ * m.count / total;
    bounds_.min[i] = first ? m.min[i] : std::min(bounds_.min[i], m.min[i]);
    bounds_.max[i] = first ? m.max[i] : std::max(bounds_.max[i], m.max[i]);
  }
  count_ = total;
  bounds_.gpus = static_cast<std::uint16_t>(bounds_.gpus | m.gpus);
}

Normalizer NormalizerBuilder::build() const {
  Normalizer::Statistics s = bounds_;
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    s.mean[i] = static_cast<float>(mean_[i]);
    // A constant has deviation 0 exactly, whatever rounding left in the squares.
    const bool varies = s.max[i] > s.min[i];
    s.deviation[i] =
        varies && count_ > 0 ? static_cast<float>(std::sqrt(squares_[i] / count_)) : 0.0f;
  }
  return Normalizer(s);
}

}  // namespace lodestar::learn
