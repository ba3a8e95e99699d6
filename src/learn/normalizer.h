// SPDX-License-Identifier: Apache-2.0
// Pooled statistics of the features and the z-score made of them (Lodestar's
// data_normalizer.py): one mean and deviation per feature, pooled over all
// instances and all rows, so that scaling favours no instance. The minimum and
// maximum bound what the predictor has seen.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "learn/paper_features.h"

namespace lodestar::learn {

// Moments of the features of all candidates of one decision, or of many.
// Merging is exact enough for counts of tokens in float: deviations are kept
// about the mean (Chan, Golub, LeVeque 1979), not as sums of squares.
struct FeatureMoments {
  double count = 0;
  std::array<float, kPaperNumeric> mean{}, squares{}, min{}, max{};
  std::uint16_t gpus = 0;  // bit c: class c occurred; bit 15: unlabelled hardware did

  void add(const PaperFeatures& x);  // x must be usable
};

class Normalizer {
 public:
  struct Statistics {
    std::array<float, kPaperNumeric> mean{}, deviation{}, min{}, max{};
    std::uint16_t gpus = 0;
  };

  Normalizer() = default;  // scales nothing; everything is out of range
  explicit Normalizer(const Statistics& statistics) : statistics_(statistics) {}

  // x as the network wants it: z-scores (0 for a feature that never varied) and
  // the one-hot as it is, in the published order, zero-padded to out.size().
  void encode(const PaperFeatures& x, bool gpu_labels, std::span<float> out) const;

  // Within [min - m, max + m] of every feature, where m = margin * (max - min);
  // with labels the GPU must have been seen too. NaN is out of range.
  bool in_range(const PaperFeatures& x, bool gpu_labels, double margin) const;

  const Statistics& statistics() const { return statistics_; }

 private:
  Statistics statistics_;
};

// Collects moments in the order of the calls.
class NormalizerBuilder {
 public:
  void add(const FeatureMoments& moments);
  Normalizer build() const;

 private:
  double count_ = 0;
  std::array<double, kPaperNumeric> mean_{}, squares_{};
  Normalizer::Statistics bounds_;
};

}  // namespace lodestar::learn
