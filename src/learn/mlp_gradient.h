// SPDX-License-Identifier: Apache-2.0
// Mean squared error of a batch and its gradient: forward pass with dropout,
// then backpropagation.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "base/rng.h"
#include "learn/mlp.h"

namespace lodestar::learn {

// Drops a unit of the first two hidden layers with this probability and scales
// the survivors by 1 / (1 - p). Drawn as 16-bit fractions: p = 6554 / 65536.
struct Dropout {
  bool active = true;
  static constexpr std::uint32_t kThreshold = 6554;
  static constexpr float kScale = 65536.0f / (65536.0f - 6554.0f);
};

class MlpGradient {
 public:
  MlpGradient(std::size_t inputs, std::size_t max_rows);

  // x: rows x padded_inputs, y: rows; rows <= max_rows. Returns the mean squared
  // error and leaves its gradient in gradient(). `rng` is drawn from only when
  // dropout is active.
  double compute(const MlpWeights& weights, std::span<const float> x, std::span<const float> y,
                 std::size_t rows, Dropout dropout, Rng& rng);

  std::span<const float> gradient() const { return gradient_; }
  std::span<float> gradient() { return gradient_; }

 private:
  double forward(const MlpWeights& weights, const float* x, const float* y, std::size_t rows,
                 Dropout dropout, Rng& rng);
  void backward(const MlpWeights& weights, const float* x, std::size_t rows, Dropout dropout);
  void weight_gradient(const float* inputs, std::size_t width, const float* upstream,
                       std::size_t rows, float* weights, float* bias);
  void input_gradient(const float* weights, const float* upstream, const float* activations,
                      std::size_t rows, float scale, float* out);

  MlpLayout layout_;
  GemmLevel level_;
  std::vector<float> gradient_;
  std::vector<float> h1_, h2_, h3_;     // activations after ReLU and dropout
  std::vector<float> d1_, d2_;          // gradient at two of the hidden layers, in turn
  std::vector<float> error_;            // d loss / d prediction, per row
  std::vector<float> packed_;
};

// Scales the gradient so that its Euclidean norm is at most `limit`
// (torch.nn.utils.clip_grad_norm_). Returns the norm before.
double clip_norm(std::span<float> gradient, double limit);

}  // namespace lodestar::learn
