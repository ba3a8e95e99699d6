// SPDX-License-Identifier: Apache-2.0
// What a training round publishes: weights, the statistics they were trained
// with, the range they know and the record of the round, in one immutable object
// behind one pointer. It can never be seen half-made.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "learn/mlp.h"
#include "learn/normalizer.h"
#include "routing/event.h"

namespace lodestar::learn {

struct TrainingRecord {
  std::uint64_t round = 0;     // the job that made it, 1 = first
  std::uint64_t rows = 0;      // in the round's set
  std::uint64_t trained = 0;   // of them; the others were held out
  std::uint64_t epochs = 0;
  double training_mse = 0;     // mean over the last epoch, s^2, with dropout
  double holdout_mse = 0;      // s^2, after the last epoch, no dropout; for the log only
  double holdout_mae_ms = 0;
};

class PaperPredictor final : public Predictor {
 public:
  PaperPredictor(Mlp mlp, Normalizer normalizer, bool gpu_labels, TrainingRecord record);

  struct Scratch {
    std::vector<float> x;
    Mlp::Scratch mlp;
  };
  // Predicted reward (minus TTFT, seconds) of each row. Thread-safe; no
  // allocation once `scratch` is warm.
  void predict(std::span<const PaperFeatures> rows, std::span<float> out, Scratch& scratch) const;

  bool in_range(const PaperFeatures& x, double margin) const {
    return normalizer_.in_range(x, gpu_labels_, margin);
  }
  bool gpu_labels() const { return gpu_labels_; }
  const Mlp& mlp() const { return mlp_; }
  const Normalizer& normalizer() const { return normalizer_; }
  const TrainingRecord& record() const { return record_; }

  // Rows that the next round should replay, best first: indices into the set
  // that this one was trained on. Not part of the file format.
  const std::vector<std::uint32_t>& replay() const { return replay_; }
  void set_replay(std::vector<std::uint32_t> order) {
    replay_ = std::move(order);
  }  // before publishing

  std::uint64_t digest() const;  // of weights and statistics

 private:
  Mlp mlp_;
  Normalizer normalizer_;
  bool gpu_labels_;
  TrainingRecord record_;
  std::vector<std::uint32_t> replay_;
};

}  // namespace lodestar::learn
