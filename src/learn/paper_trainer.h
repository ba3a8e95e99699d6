// SPDX-License-Identifier: Apache-2.0
// One training round of the published learner, from scratch: statistics of the
// set, hold-out split, 20 epochs of Adam on the squared error of -TTFT, and the
// replay selection for the next round (made with the previous predictor).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "learn/adam.h"
#include "learn/paper_predictor.h"
#include "learn/replay.h"
#include "learn/sample.h"
#include "learn/training_set.h"
#include "routing/event.h"

namespace lodestar::learn {

struct PaperTrainerOptions {
  bool gpu_labels = false;
  std::size_t epochs = 20;
  std::size_t batch_rows = 256;
  double holdout = 0.2;          // share of the set that is only measured
  std::uint64_t seed = 42;       // every round starts from the same weights, as published
  double clip_norm = 1.0;
  AdamOptions adam;
  CoresetRule coreset = CoresetRule::kAsCoded;
  double us_per_row_epoch = 14;  // what the simulator charges
};

class PaperTrainJob final : public TrainJob {
 public:
  // `previous` may be null (the first round).
  PaperTrainJob(PaperTrainerOptions options, std::uint64_t round, Round data,
                std::shared_ptr<const PaperPredictor> previous);

  // A PaperPredictor; null when the loss or a weight is not finite, or when there
  // is nothing to train on. A pure function: any thread, the same bits each time.
  std::shared_ptr<const Predictor> run() const override;
  // rows * epochs * us_per_row_epoch
  DurationNs simulated_duration() const override;

  const std::vector<Sample>& set() const { return *data_.set; }
  std::uint64_t round() const { return round_; }

 private:
  struct Encoded {
    std::vector<float> x, y;
    std::size_t width = 0;
  };
  Encoded encode(const Normalizer& normalizer, std::size_t width,
                 const std::vector<std::uint32_t>& order) const;
  bool train(const Encoded& data, MlpWeights& weights, TrainingRecord& record) const;
  std::vector<std::uint32_t> choose_replay() const;

  PaperTrainerOptions options_;
  std::uint64_t round_;
  Round data_;
  std::shared_ptr<const PaperPredictor> previous_;
};

}  // namespace lodestar::learn
