// SPDX-License-Identifier: Apache-2.0
#include "learn/paper_predictor.h"

#include <bit>

#include "base/check.h"
#include "base/hash.h"

namespace lodestar::learn {

PaperPredictor::PaperPredictor(Mlp mlp, Normalizer normalizer, bool gpu_labels,
                               TrainingRecord record)
    : mlp_(std::move(mlp)), normalizer_(normalizer), gpu_labels_(gpu_labels), record_(record) {
  LODESTAR_CHECK(mlp_.weights().layout().inputs == paper_inputs(gpu_labels));
}

void PaperPredictor::predict(std::span<const PaperFeatures> rows, std::span<float> out,
                             Scratch& scratch) const {
  const std::size_t width = mlp_.weights().layout().padded_inputs;
  if (scratch.x.size() < rows.size() * width) scratch.x.resize(rows.size() * width);
  for (std::size_t r = 0; r < rows.size(); ++r)
    normalizer_.encode(rows[r], gpu_labels_, std::span(scratch.x).subspan(r * width, width));
  mlp_.predict(scratch.x, rows.size(), out, scratch.mlp);
}

std::uint64_t PaperPredictor::digest() const {
  std::uint64_t h = hash_combine(mlp_.weights().digest(), gpu_labels_ ? 1 : 0);
  const Normalizer::Statistics& s = normalizer_.statistics();
  for (const auto* values : {&s.mean, &s.deviation, &s.min, &s.max})
    for (float v : *values) h = hash_combine(h, std::bit_cast<std::uint32_t>(v));
  return hash_combine(h, s.gpus);
}

}  // namespace lodestar::learn
