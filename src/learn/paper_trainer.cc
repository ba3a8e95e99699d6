// SPDX-License-Identifier: Apache-2.0
#include "learn/paper_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "learn/mlp_gradient.h"

namespace lodestar::learn {
namespace {

void shuffle(std::vector<std::uint32_t>& order, Rng rng) {
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
}

std::vector<std::uint32_t> counted(std::size_t n) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

}  // namespace

PaperTrainJob::PaperTrainJob(PaperTrainerOptions options, std::uint64_t round, Round data,
                             std::shared_ptr<const PaperPredictor> previous)
    : options_(options), round_(round), data_(std::move(data)), previous_(std::move(previous)) {
  LODESTAR_CHECK(data_.set != nullptr && options_.batch_rows > 0);
}

DurationNs PaperTrainJob::simulated_duration() const {
  const double rows = static_cast<double>(data_.set->size());
  return from_ms(rows * static_cast<double>(options_.epochs) * options_.us_per_row_epoch * 1e-3);
}

std::shared_ptr<const Predictor> PaperTrainJob::run() const {
  const std::size_t rows = data_.set->size();
  const Rng rng(options_.seed);
  const std::size_t held_out =
      static_cast<std::size_t>(static_cast<double>(rows) * options_.holdout);
  if (rows <= held_out) return nullptr;
  NormalizerBuilder builder;
  for (const Sample& sample : *data_.set) builder.add(sample.candidates);
  const Normalizer normalizer = builder.build();

  std::vector<std::uint32_t> order = counted(rows);
  shuffle(order, rng.fork("split"));
  MlpWeights weights(paper_inputs(options_.gpu_labels));
  weights.initialise(rng.fork("weights"));
  const std::size_t width = weights.layout().padded_inputs;
  const std::vector<std::uint32_t> test(order.begin(),
                                        order.begin() + static_cast<std::ptrdiff_t>(held_out));
  order.erase(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(held_out));

  TrainingRecord record;
  record.round = round_;
  record.rows = rows;
  record.trained = order.size();
  record.epochs = options_.epochs;
  if (!train(encode(normalizer, width, order), weights, record)) return nullptr;

  const Mlp mlp(std::move(weights));
  const Encoded check = encode(normalizer, width, test);
  std::vector<float> predicted(test.size());
  Mlp::Scratch scratch;
  mlp.predict(check.x, test.size(), predicted, scratch);
  double square = 0, absolute = 0;
  for (std::size_t i = 0; i < test.size(); ++i) {
    const double error = static_cast<double>(predicted[i]) - static_cast<double>(check.y[i]);
    square += error * error;
    absolute += std::fabs(error);
  }
  const double tested = static_cast<double>(std::max<std::size_t>(test.size(), 1));
  record.holdout_mse = square / tested;
  record.holdout_mae_ms = absolute / tested * 1e3;
  if (!std::isfinite(record.holdout_mse)) return nullptr;

  auto predictor = std::make_shared<PaperPredictor>(mlp, normalizer, options_.gpu_labels, record);
  predictor->set_replay(choose_replay());
  return predictor;
}

PaperTrainJob::Encoded PaperTrainJob::encode(const Normalizer& normalizer, std::size_t width,
                                             const std::vector<std::uint32_t>& order) const {
  Encoded out;
  out.width = width;
  out.x.resize(order.size() * width);
  out.y.resize(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Sample& sample = (*data_.set)[order[i]];
    normalizer.encode(sample.x, options_.gpu_labels, std::span(out.x).subspan(i * width, width));
    out.y[i] = sample.reward;
  }
  return out;
}

// False if a loss or a weight stops being finite.
bool PaperTrainJob::train(const Encoded& data, MlpWeights& weights, TrainingRecord& record) const {
  const std::size_t rows = data.y.size();
  const std::size_t batch = std::min(options_.batch_rows, rows);
  const Rng rng(options_.seed);
  Rng dropout_rng = rng.fork("dropout");
  MlpGradient gradient(weights.layout().inputs, batch);
  Adam adam(options_.adam, weights.layout().size);
  std::vector<float> x(batch * data.width), y(batch);
  std::vector<std::uint32_t> order = counted(rows);
  for (std::size_t epoch = 0; epoch < options_.epochs; ++epoch) {
    shuffle(order, rng.fork("epoch", epoch));
    double sum = 0;
    for (std::size_t from = 0; from < rows; from += batch) {
      const std::size_t n = std::min(batch, rows - from);
      for (std::size_t i = 0; i < n; ++i) {
        std::copy_n(data.x.begin() + static_cast<std::ptrdiff_t>(order[from + i] * data.width),
                    data.width, x.begin() + static_cast<std::ptrdiff_t>(i * data.width));
        y[i] = data.y[order[from + i]];
      }
      const double loss = gradient.compute(weights, x, y, n, Dropout{}, dropout_rng);
      if (!std::isfinite(loss)) return false;
      sum += loss * static_cast<double>(n);
      clip_norm(gradient.gradient(), options_.clip_norm);
      adam.step(weights.values(), gradient.gradient());
    }
    adam.end_epoch();
    record.training_mse = sum / static_cast<double>(rows);
  }
  return weights.finite();
}

// The published code scores the rows with the old weights on the new statistics;
// here old weights go with their own statistics, as they do everywhere.
std::vector<std::uint32_t> PaperTrainJob::choose_replay() const {
  const std::size_t rows = data_.set->size();
  const std::size_t k = data_.replay_rows;
  if (previous_ == nullptr) return select_uniform(rows, k, Rng(options_.seed).fork("replay"));
  if (k >= rows) return counted(rows);
  std::vector<PaperFeatures> x;
  x.reserve(rows);
  for (const Sample& sample : *data_.set) x.push_back(sample.x);
  std::vector<float> error(rows);
  PaperPredictor::Scratch scratch;
  previous_->predict(x, error, scratch);
  for (std::size_t i = 0; i < rows; ++i) error[i] = std::fabs(error[i] - (*data_.set)[i].reward);
  return select_coreset(Mlp::last_hidden(scratch.mlp, rows), error, kHidden, k, options_.coreset);
}

}  // namespace lodestar::learn
