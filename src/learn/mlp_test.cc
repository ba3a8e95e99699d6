// SPDX-License-Identifier: Apache-2.0
#include "learn/mlp.h"

#include <gtest/gtest.h>

#include <cmath>

#include "learn/adam.h"
#include "learn/mlp_gradient.h"

namespace lodestar::learn {
namespace {

constexpr std::size_t kInputs = 5;

// The network in double precision, written straight from its definition.
double reference(const std::vector<double>& w, const MlpLayout& at, const float* x) {
  const auto layer = [&](const std::vector<double>& in, std::size_t weights, std::size_t bias) {
    std::vector<double> out(kHidden);
    for (std::size_t o = 0; o < kHidden; ++o) {
      double sum = w[bias + o];
      for (std::size_t i = 0; i < in.size(); ++i) sum += in[i] * w[weights + i * kHidden + o];
      out[o] = sum > 0 ? sum : 0;
    }
    return out;
  };
  std::vector<double> h(x, x + at.padded_inputs);
  h = layer(h, at.w1, at.b1);
  h = layer(h, at.w2, at.b2);
  h = layer(h, at.w3, at.b3);
  double out = w[at.b4];
  for (std::size_t i = 0; i < kHidden; ++i) out += h[i] * w[at.w4 + i];
  return out;
}

double reference_loss(const std::vector<double>& w, const MlpLayout& at,
                      const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (std::size_t r = 0; r < y.size(); ++r) {
    const double e = reference(w, at, x.data() + r * at.padded_inputs) - static_cast<double>(y[r]);
    sum += e * e;
  }
  return sum / static_cast<double>(y.size());
}

struct Batch {
  std::vector<float> x, y;
};

Batch random_batch(const MlpLayout& at, std::size_t rows, std::uint64_t seed) {
  Rng rng(seed);
  Batch b;
  b.x.assign(rows * at.padded_inputs, 0.0f);
  b.y.resize(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = 0; i < at.inputs; ++i)
      b.x[r * at.padded_inputs + i] = static_cast<float>(rng.normal());
    b.y[r] = static_cast<float>(rng.normal());
  }
  return b;
}

MlpWeights random_weights(std::uint64_t seed) {
  MlpWeights w(kInputs);
  w.initialise(Rng(seed));
  return w;
}

TEST(Mlp, PredictsAsTheReferenceDoesAndRowsAreIndependent) {
  const MlpWeights w = random_weights(1);
  const std::vector<double> wide(w.values().begin(), w.values().end());
  const Batch b = random_batch(w.layout(), 61, 2);
  const Mlp mlp(w);
  std::vector<float> all(61), one(1);
  Mlp::Scratch scratch;
  mlp.predict(b.x, 61, all, scratch);
  for (std::size_t r = 0; r < 61; ++r) {
    const float* x = b.x.data() + r * w.layout().padded_inputs;
    EXPECT_NEAR(all[r], reference(wide, w.layout(), x), 1e-4);
    Mlp::Scratch other;
    mlp.predict({x, w.layout().padded_inputs}, 1, one, other);
    EXPECT_EQ(one[0], all[r]);  // bit for bit: a decision cannot depend on its neighbours
  }
}

TEST(Mlp, XavierBoundsAndBiases) {
  const MlpWeights w = random_weights(3);
  const MlpLayout& at = w.layout();
  const float bound1 = std::sqrt(6.0f / (kInputs + kHidden)),
              bound2 = std::sqrt(6.0f / (2 * kHidden));
  float largest1 = 0, largest2 = 0;
  for (std::size_t i = 0; i < kInputs * kHidden; ++i)
    largest1 = std::max(largest1, std::fabs(w.values()[at.w1 + i]));
  for (std::size_t i = kInputs * kHidden; i < at.padded_inputs * kHidden; ++i)
    ASSERT_EQ(w.values()[at.w1 + i], 0.0f);
  for (std::size_t i = 0; i < kHidden * kHidden; ++i)
    largest2 = std::max(largest2, std::fabs(w.values()[at.w2 + i]));
  EXPECT_LE(largest1, bound1);
  EXPECT_GT(largest1, 0.95f * bound1);
  EXPECT_LE(largest2, bound2);
  EXPECT_GT(largest2, 0.95f * bound2);
  EXPECT_EQ(w.values()[at.b2 + 17], 0.01f);
  EXPECT_EQ(w.values()[at.b4], 0.01f);
}

TEST(MlpGradient, MatchesFiniteDifferencesOfTheReference) {
  const MlpWeights w = random_weights(4);
  const MlpLayout& at = w.layout();
  const Batch b = random_batch(at, 37, 5);
  MlpGradient gradient(kInputs, 64);
  Rng unused(0);
  const std::uint64_t before = unused.state_hash();
  const double loss = gradient.compute(w, b.x, b.y, 37, {.active = false}, unused);
  EXPECT_EQ(unused.state_hash(), before);
  std::vector<double> wide(w.values().begin(), w.values().end());
  EXPECT_NEAR(loss, reference_loss(wide, at, b.x, b.y), 1e-5 * loss);
  double scale = 0;
  for (float g : gradient.gradient()) scale = std::max(scale, std::fabs(static_cast<double>(g)));
  const std::size_t starts[] = {at.w1, at.b1, at.w2, at.b2, at.w3, at.b3, at.w4, at.b4};
  const std::size_t sizes[] = {kInputs * kHidden, kHidden, kHidden * kHidden, kHidden,
                               kHidden * kHidden, kHidden, kHidden,           1};
  Rng pick(6);
  int nonzero = 0;
  for (std::size_t part = 0; part < 8; ++part) {
    for (int trial = 0; trial < 40; ++trial) {
      const std::size_t i = starts[part] + pick.below(sizes[part]);
      const double kept = wide[i], step = 1e-6;
      wide[i] = kept + step;
      const double up = reference_loss(wide, at, b.x, b.y);
      wide[i] = kept - step;
      const double down = reference_loss(wide, at, b.x, b.y);
      wide[i] = kept;
      const double want = (up - down) / (2 * step);
      nonzero += std::fabs(want) > 1e-6;
      EXPECT_NEAR(gradient.gradient()[i], want, 2e-4 * scale) << "part " << part << " index " << i;
    }
  }
  EXPECT_GT(nonzero, 200);  // the check would be empty on dead units
}

TEST(MlpGradient, DropoutKeepsTheMeanDropsATenthAndIsReproducible) {
  const MlpWeights w = random_weights(7);
  const Batch b = random_batch(w.layout(), 256, 8);
  MlpGradient one(kInputs, 256), two(kInputs, 256);
  Rng a(9), c(9), other(10);
  const double loss = one.compute(w, b.x, b.y, 256, {}, a);
  EXPECT_EQ(loss, two.compute(w, b.x, b.y, 256, {}, c));
  EXPECT_TRUE(std::equal(one.gradient().begin(), one.gradient().end(), two.gradient().begin()));
  EXPECT_EQ(a.state_hash(), c.state_hash());
  EXPECT_NE(loss, two.compute(w, b.x, b.y, 256, {}, other));
  // 2 layers x 256 rows x 128 units, four units per draw.
  Rng counted(9);
  for (int i = 0; i < 2 * 256 * 128 / 4; ++i) counted.next();
  EXPECT_EQ(a.state_hash(), counted.state_hash());
  EXPECT_NEAR(Dropout::kThreshold / 65536.0, 0.1, 1e-4);
  EXPECT_NEAR(Dropout::kScale, 1 / 0.9, 1e-3);
}

TEST(MlpGradient, ClipNormScalesOnlyWhatIsTooLong) {
  std::vector<float> g(16, 0.0f);
  g[0] = 3;
  g[9] = 4;
  EXPECT_DOUBLE_EQ(clip_norm(g, 10), 5);
  EXPECT_EQ(g[0], 3);
  EXPECT_DOUBLE_EQ(clip_norm(g, 1), 5);
  EXPECT_NEAR(g[0], 0.6, 1e-5);
  EXPECT_NEAR(g[9], 0.8, 1e-5);
}

// Two steps worked out by hand from the published update (Kingma, Ba, algorithm
// 1, with L2 decay): weight 1, gradients 0.5 then -0.25, rate 0.1, decay 0.01.
TEST(Adam, TwoStepsByHand) {
  AdamOptions o;
  o.rate = 0.1;
  o.weight_decay = 0.01;
  o.rate_decay_per_epoch = 0.5;
  Adam adam(o, 8);
  std::vector<float> w(8, 0.0f), g(8, 0.0f);
  w[0] = 1;
  g[0] = 0.5f;
  adam.step(w, g);
  // g' = 0.51; m = 0.051, s = 0.0002601; both corrected: 0.51, 0.2601; step = 0.1.
  EXPECT_NEAR(w[0], 0.9, 1e-6);
  g[0] = -0.25f;
  adam.end_epoch();
  EXPECT_DOUBLE_EQ(adam.rate(), 0.05);
  adam.step(w, g);
  // g' = -0.241; m = 0.0459 - 0.0241 = 0.0218, /0.19 = 0.1147368;
  // s = 0.0002598399 + 0.000058081 = 0.0003179209, /0.001999 = 0.1590400;
  // step = 0.05 * 0.1147368 / 0.3987981 = 0.0143853.
  EXPECT_NEAR(w[0], 0.9 - 0.0143853, 1e-5);
  EXPECT_EQ(w[1], 0.0f);  // no gradient, no weight: no step
}

TEST(MlpGradient, NotANumberInGivesNotANumberOutAndNoCrash) {
  const MlpWeights w = random_weights(11);
  Batch b = random_batch(w.layout(), 8, 12);
  b.y[3] = std::nanf("");
  MlpGradient gradient(kInputs, 8);
  Rng rng(1);
  EXPECT_TRUE(std::isnan(gradient.compute(w, b.x, b.y, 8, {.active = false}, rng)));
}

}  // namespace
}  // namespace lodestar::learn
