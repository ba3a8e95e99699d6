// SPDX-License-Identifier: Apache-2.0
#include "learn/mlp.h"

#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/hash.h"

namespace lodestar::learn {
namespace {

constexpr float kInitialBias = 0.01f;

void xavier(Rng rng, std::size_t fan_in, std::size_t fan_out, float* w) {
  const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  for (std::size_t i = 0; i < fan_in * fan_out; ++i)
    w[i] = static_cast<float>((rng.uniform() * 2 - 1) * bound);
}

void relu(float* values, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) values[i] = values[i] > 0 ? values[i] : 0.0f;
}

}  // namespace

MlpLayout::MlpLayout(std::size_t d)
    : inputs(d), padded_inputs((d + kGemmPanel - 1) / kGemmPanel * kGemmPanel) {
  std::size_t next = 0;
  const auto take = [&next](std::size_t floats) {
    const std::size_t at = next;
    next += floats;
    return at;
  };
  w1 = take(padded_inputs * kHidden);
  b1 = take(kHidden);
  w2 = take(kHidden * kHidden);
  b2 = take(kHidden);
  w3 = take(kHidden * kHidden);
  b3 = take(kHidden);
  w4 = take(kHidden);
  b4 = take(8);  // one value; the rest keeps the size a multiple of 8
  size = next;
}

MlpWeights::MlpWeights(std::size_t inputs) : layout_(inputs), values_(layout_.size, 0.0f) {
  LODESTAR_CHECK(inputs > 0);
}

void MlpWeights::initialise(Rng rng) {
  const MlpLayout& at = layout_;
  std::fill(values_.begin(), values_.end(), 0.0f);
  float* v = values_.data();
  xavier(rng.fork("layer", 1), at.inputs, kHidden, v + at.w1);  // padded rows follow, zero
  xavier(rng.fork("layer", 2), kHidden, kHidden, v + at.w2);
  xavier(rng.fork("layer", 3), kHidden, kHidden, v + at.w3);
  xavier(rng.fork("layer", 4), kHidden, 1, v + at.w4);
  for (std::size_t offset : {at.b1, at.b2, at.b3}) std::fill_n(v + offset, kHidden, kInitialBias);
  v[at.b4] = kInitialBias;
}

bool MlpWeights::finite() const {
  for (float v : values_)
    if (!std::isfinite(v)) return false;
  return true;
}

std::uint64_t MlpWeights::digest() const {
  std::uint64_t h = layout_.inputs;
  for (float v : values_) h = hash_combine(h, std::bit_cast<std::uint32_t>(v));
  return h;
}

Mlp::Mlp(MlpWeights weights) : weights_(std::move(weights)), level_(best_gemm_level()) {
  const MlpLayout& at = weights_.layout();
  const float* v = weights_.values().data();
  packed1_.resize(at.padded_inputs * kHidden);
  packed2_.resize(kHidden * kHidden);
  packed3_.resize(kHidden * kHidden);
  gemm_pack(v + at.w1, at.padded_inputs, kHidden, packed1_.data());
  gemm_pack(v + at.w2, kHidden, kHidden, packed2_.data());
  gemm_pack(v + at.w3, kHidden, kHidden, packed3_.data());
}

void Mlp::predict(std::span<const float> x, std::size_t rows, std::span<float> out,
                  Scratch& s) const {
  const MlpLayout& at = weights_.layout();
  const float* v = weights_.values().data();
  LODESTAR_CHECK(x.size() >= rows * at.padded_inputs && out.size() >= rows);
  for (std::vector<float>* h : {&s.h1, &s.h2, &s.h3})
    if (h->size() < rows * kHidden) h->resize(rows * kHidden);
  // Blocks of rows, so that activations stay in the first-level cache.
  constexpr std::size_t kBlock = 48;
  for (std::size_t from = 0; from < rows; from += kBlock) {
    const std::size_t n = std::min(kBlock, rows - from);
    float* h1 = s.h1.data() + from * kHidden;
    float* h2 = s.h2.data() + from * kHidden;
    float* h3 = s.h3.data() + from * kHidden;
    gemm(level_, v + at.b1, {x.data() + from * at.padded_inputs, at.padded_inputs, 1},
         packed1_.data(), h1, n, kHidden, at.padded_inputs);
    relu(h1, n * kHidden);
    gemm(level_, v + at.b2, {h1, kHidden, 1}, packed2_.data(), h2, n, kHidden, kHidden);
    relu(h2, n * kHidden);
    gemm(level_, v + at.b3, {h2, kHidden, 1}, packed3_.data(), h3, n, kHidden, kHidden);
    relu(h3, n * kHidden);
    for (std::size_t r = 0; r < n; ++r)
      out[from + r] = v[at.b4] + dot8(h3 + r * kHidden, v + at.w4, kHidden);
  }
}

}  // namespace lodestar::learn
