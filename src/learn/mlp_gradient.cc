// SPDX-License-Identifier: Apache-2.0
#include "learn/mlp_gradient.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace lodestar::learn {
namespace {

void relu(float* values, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) values[i] = values[i] > 0 ? values[i] : 0.0f;
}

// A dropped unit becomes 0, so that "was it alive" can be read off the
// activation itself when the gradient comes back.
void relu_dropout(float* values, std::size_t size, Rng& rng) {
  for (std::size_t i = 0; i < size; i += 4) {
    std::uint64_t bits = rng.next();
    for (std::size_t j = 0; j < 4; ++j, bits >>= 16) {
      const float v = values[i + j];
      const bool keep = (bits & 0xffff) >= Dropout::kThreshold && v > 0;
      values[i + j] = keep ? v * Dropout::kScale : 0.0f;
    }
  }
}

}  // namespace

MlpGradient::MlpGradient(std::size_t inputs, std::size_t max_rows)
    : layout_(inputs), level_(best_gemm_level()), gradient_(layout_.size, 0.0f) {
  for (std::vector<float>* v : {&h1_, &h2_, &h3_, &d1_, &d2_}) v->resize(max_rows * kHidden);
  error_.resize(max_rows);
  packed_.resize(std::max({max_rows, layout_.padded_inputs, kHidden}) * kHidden);
}

double MlpGradient::compute(const MlpWeights& weights, std::span<const float> x,
                            std::span<const float> y, std::size_t rows, Dropout dropout, Rng& rng) {
  LODESTAR_CHECK(rows > 0 && rows <= error_.size() && y.size() >= rows);
  LODESTAR_CHECK(x.size() >= rows * layout_.padded_inputs);
  LODESTAR_CHECK(weights.values().size() == layout_.size);
  const double loss = forward(weights, x.data(), y.data(), rows, dropout, rng);
  backward(weights, x.data(), rows, dropout);
  return loss;
}

double MlpGradient::forward(const MlpWeights& weights, const float* x, const float* y,
                            std::size_t rows, Dropout dropout, Rng& rng) {
  const MlpLayout& at = layout_;
  const float* v = weights.values().data();
  const auto activate = [&](std::vector<float>& h, bool may_drop) {
    if (may_drop && dropout.active)
      relu_dropout(h.data(), rows * kHidden, rng);
    else
      relu(h.data(), rows * kHidden);
  };
  gemm_pack(v + at.w1, at.padded_inputs, kHidden, packed_.data());
  gemm(level_, v + at.b1, {x, at.padded_inputs, 1}, packed_.data(), h1_.data(), rows, kHidden,
       at.padded_inputs);
  activate(h1_, true);
  gemm_pack(v + at.w2, kHidden, kHidden, packed_.data());
  gemm(level_, v + at.b2, {h1_.data(), kHidden, 1}, packed_.data(), h2_.data(), rows, kHidden,
       kHidden);
  activate(h2_, true);
  gemm_pack(v + at.w3, kHidden, kHidden, packed_.data());
  gemm(level_, v + at.b3, {h2_.data(), kHidden, 1}, packed_.data(), h3_.data(), rows, kHidden,
       kHidden);
  activate(h3_, false);
  double sum = 0;
  const float share = 2.0f / static_cast<float>(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const float prediction = v[at.b4] + dot8(h3_.data() + r * kHidden, v + at.w4, kHidden);
    const float error = prediction - y[r];
    sum += static_cast<double>(error) * static_cast<double>(error);
    error_[r] = error * share;
  }
  return sum / static_cast<double>(rows);
}

void MlpGradient::backward(const MlpWeights& weights, const float* x, std::size_t rows,
                           Dropout dropout) {
  const MlpLayout& at = layout_;
  const float* v = weights.values().data();
  float* g = gradient_.data();
  const float scale = dropout.active ? Dropout::kScale : 1.0f;
  std::fill_n(g + at.w4, at.size - at.w4, 0.0f);
  for (std::size_t r = 0; r < rows; ++r) {
    const float e = error_[r];
    const float* h = h3_.data() + r * kHidden;
    float* d = d1_.data() + r * kHidden;
    const float* w4 = v + at.w4;
    float* g4 = g + at.w4;
    for (std::size_t o = 0; o < kHidden; ++o) {
      g4[o] += e * h[o];
      d[o] = h[o] > 0 ? e * w4[o] : 0.0f;
    }
    g[at.b4] += e;
  }
  weight_gradient(h2_.data(), kHidden, d1_.data(), rows, g + at.w3, g + at.b3);
  input_gradient(v + at.w3, d1_.data(), h2_.data(), rows, scale, d2_.data());
  weight_gradient(h1_.data(), kHidden, d2_.data(), rows, g + at.w2, g + at.b2);
  input_gradient(v + at.w2, d2_.data(), h1_.data(), rows, scale, d1_.data());
  weight_gradient(x, at.padded_inputs, d1_.data(), rows, g + at.w1, g + at.b1);
}

// dW = inputs^T * upstream, db = column sums of upstream; rows in order.
void MlpGradient::weight_gradient(const float* inputs, std::size_t width, const float* upstream,
                                  std::size_t rows, float* weights, float* bias) {
  gemm_pack(upstream, rows, kHidden, packed_.data());
  gemm(level_, nullptr, {inputs, 1, width}, packed_.data(), weights, width, kHidden, rows);
  std::fill_n(bias, kHidden, 0.0f);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t o = 0; o < kHidden; ++o) bias[o] += upstream[r * kHidden + o];
}

// Through the weights, then through dropout and ReLU of the layer below.
void MlpGradient::input_gradient(const float* weights, const float* upstream,
                                 const float* activations, std::size_t rows, float scale,
                                 float* out) {
  gemm_pack_transposed(weights, kHidden, kHidden, packed_.data());
  gemm(level_, nullptr, {upstream, kHidden, 1}, packed_.data(), out, rows, kHidden, kHidden);
  for (std::size_t i = 0; i < rows * kHidden; ++i)
    out[i] = activations[i] > 0 ? out[i] * scale : 0.0f;
}

double clip_norm(std::span<float> gradient, double limit) {
  const double norm =
      std::sqrt(static_cast<double>(dot8(gradient.data(), gradient.data(), gradient.size())));
  const double factor = limit / (norm + 1e-6);
  if (factor < 1) {
    const float f = static_cast<float>(factor);
    for (float& g : gradient) g *= f;
  }
  return norm;
}

}  // namespace lodestar::learn
