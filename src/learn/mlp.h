// SPDX-License-Identifier: Apache-2.0
// The published network: d -> 128 -> 128 -> 128 -> 1, ReLU, float32 (Lodestar,
// arXiv 2606.00946, section 2 of its code: RewardNetwork).
//
// All weights live in one flat array, so that the optimiser, the file and the
// digest need no knowledge of layers. Weights are input-major: w[i * 128 + o].
// Inputs are padded with zeros to a multiple of 16; the padded weights are zero
// and stay zero (their gradient is exactly zero).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "learn/gemm.h"

namespace lodestar::learn {

inline constexpr std::size_t kHidden = 128;

struct MlpLayout {
  std::size_t inputs = 0;         // d, as the features have it
  std::size_t padded_inputs = 0;  // rows of x have this many floats
  std::size_t w1 = 0, b1 = 0, w2 = 0, b2 = 0, w3 = 0, b3 = 0, w4 = 0, b4 = 0;  // offsets
  std::size_t size = 0;           // floats in all; a multiple of 8

  explicit MlpLayout(std::size_t inputs);
};

class MlpWeights {
 public:
  explicit MlpWeights(std::size_t inputs);  // all zero

  // Xavier-uniform weights, biases 0.01. The same generator gives the same bits.
  void initialise(Rng rng);

  const MlpLayout& layout() const { return layout_; }
  std::vector<float>& values() { return values_; }
  const std::vector<float>& values() const { return values_; }
  bool finite() const;
  std::uint64_t digest() const;  // of the exact bits

 private:
  MlpLayout layout_;
  std::vector<float> values_;
};

// A network ready to predict: immutable, may be shared between threads.
class Mlp {
 public:
  explicit Mlp(MlpWeights weights);

  // Scratch of the caller, reused between calls: no allocation once it is warm.
  struct Scratch {
    std::vector<float> h1, h2, h3;
  };
  // x: rows x padded_inputs. out: one value per row. A row's result does not
  // depend on the rows beside it. Dropout is never active here.
  void predict(std::span<const float> x, std::size_t rows, std::span<float> out,
               Scratch& scratch) const;
  // Last hidden activations of the latest predict(): rows x kHidden.
  static std::span<const float> last_hidden(const Scratch& scratch, std::size_t rows) {
    return std::span<const float>(scratch.h3).first(rows * kHidden);
  }

  const MlpWeights& weights() const { return weights_; }

 private:
  MlpWeights weights_;
  GemmLevel level_;
  std::vector<float> packed1_, packed2_, packed3_;
};

}  // namespace lodestar::learn
