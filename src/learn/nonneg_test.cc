// SPDX-License-Identifier: Apache-2.0
// The solver against an exhaustive one: on a convex problem with theta >= 0 the optimum
// is an ordinary solution on some set of free coefficients, so trying every set finds it.
#include "learn/nonneg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "base/rng.h"

namespace lodestar::learn {
namespace {

constexpr std::size_t kN = 4;
using Vector = Terms<kN>;

struct Problem {
  LeastSquares<kN> stats;
  Vector prior{}, spread{};
  double strength = 1;
  double yy = 0;  // sum of weight y^2, so that the objective is a sum of squares

  double objective(const Vector& theta) const {
    double f = yy;
    for (std::size_t i = 0; i < kN; ++i) {
      f -= 2 * stats.xy[i] * theta[i];
      for (std::size_t j = 0; j < kN; ++j) f += theta[i] * stats.xx[i * kN + j] * theta[j];
      const double away = (theta[i] - prior[i]) / spread[i];
      f += strength * away * away;
    }
    return f;
  }
};

// Gaussian elimination with pivoting on the free coefficients; the others are 0.
std::optional<Vector> solve_on(const Problem& p, unsigned free) {
  double a[kN][kN + 1] = {};
  std::size_t index[kN], n = 0;
  for (std::size_t i = 0; i < kN; ++i)
    if ((free >> i & 1) != 0) index[n++] = i;
  for (std::size_t r = 0; r < n; ++r) {
    const std::size_t i = index[r];
    const double ridge = p.strength / (p.spread[i] * p.spread[i]);
    for (std::size_t c = 0; c < n; ++c) a[r][c] = p.stats.xx[i * kN + index[c]];
    a[r][r] += ridge;
    a[r][kN] = p.stats.xy[i] + ridge * p.prior[i];
  }
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t r = k + 1; r < n; ++r)
      if (std::fabs(a[r][k]) > std::fabs(a[pivot][k])) pivot = r;
    for (std::size_t c = 0; c <= kN; ++c) std::swap(a[k][c], a[pivot][c]);
    for (std::size_t r = 0; r < n; ++r) {
      if (r == k) continue;
      const double factor = a[r][k] / a[k][k];
      for (std::size_t c = 0; c <= kN; ++c) a[r][c] -= factor * a[k][c];
    }
  }
  Vector theta{};
  for (std::size_t k = 0; k < n; ++k) {
    theta[index[k]] = a[k][kN] / a[k][k];
    if (theta[index[k]] < 0) return std::nullopt;
  }
  return theta;
}

Vector brute_force(const Problem& p) {
  Vector best{};
  double least = std::numeric_limits<double>::infinity();
  for (unsigned free = 0; free < 1u << kN; ++free) {
    const auto theta = solve_on(p, free);
    if (theta && p.objective(*theta) < least) {
      least = p.objective(*theta);
      best = *theta;
    }
  }
  return best;
}

Problem random_problem(Rng& rng) {
  Problem p;
  Vector truth;
  for (std::size_t k = 0; k < kN; ++k) {
    truth[k] = 2 * rng.normal();  // half of the true coefficients are negative
    p.prior[k] = rng.uniform();
    p.spread[k] = 0.2 + rng.uniform();
  }
  p.strength = 0.1 + 2 * rng.uniform();
  const std::size_t samples = 1 + rng.below(30);
  for (std::size_t s = 0; s < samples; ++s) {
    Vector x;
    for (double& v : x) v = rng.uniform() + 0.5;  // all alike: badly conditioned
    const double y = dot(truth, x) + 0.3 * rng.normal(), weight = rng.uniform() + 0.1;
    p.stats.add(x, y, weight);
    p.yy += weight * y * y;
  }
  return p;
}

TEST(NonNegative, RepeatedCallsReachTheOptimum) {
  Rng rng(7);
  int on_the_edge = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const Problem p = random_problem(rng);
    const Vector best = brute_force(p);
    Vector theta{};
    for (int call = 0; call < 3000; ++call)
      solve_nonneg(p.stats, p.prior, p.spread, p.strength, theta);
    EXPECT_NEAR(p.objective(theta), p.objective(best), 1e-6 * (1 + p.objective(best)))
        << "trial " << trial;
    for (std::size_t k = 0; k < kN; ++k) {
      EXPECT_NEAR(theta[k], best[k], 1e-3) << "trial " << trial << " coefficient " << k;
      on_the_edge += best[k] == 0;
    }
  }
  EXPECT_GT(on_the_edge, 200) << "problems must have coefficients that want to be negative";
}

// Each call is warm-started: none may lead away from the optimum, and none may leave
// the cone, wherever it starts.
TEST(NonNegative, EveryCallImprovesAndNothingIsEverNegative) {
  Rng rng(8);
  for (int trial = 0; trial < 300; ++trial) {
    const Problem p = random_problem(rng);
    Vector theta;
    for (double& t : theta) t = 5 * rng.uniform();
    double last = p.objective(theta);
    for (int call = 0; call < 20; ++call) {
      solve_nonneg(p.stats, p.prior, p.spread, p.strength, theta);
      for (const double t : theta) EXPECT_GE(t, 0);
      EXPECT_LE(p.objective(theta), last * (1 + 1e-12) + 1e-12);
      last = p.objective(theta);
    }
  }
}

TEST(NonNegative, WithoutSamplesThePriorIsTheAnswer) {
  const Vector prior = {0.5, 0, 2, 1}, spread = {1, 0.1, 10, 0.5};
  Vector theta = {9, 9, 9, 9};
  solve_nonneg(LeastSquares<kN>{}, prior, spread, 0.3, theta);
  for (std::size_t k = 0; k < kN; ++k) EXPECT_DOUBLE_EQ(theta[k], prior[k]);
}

// One sample x = (1, 0, 0, 0), y = 5, weight 1; prior 1, spread 2, strength 4: ridge
// 4 / 2^2 = 1, so theta = (5 + 1) / (1 + 1) = 3. With strength 400: (5 + 100) / 101.
TEST(NonNegative, ThePriorPullsAsStronglyAsItIsTold) {
  LeastSquares<kN> stats;
  stats.add({1, 0, 0, 0}, 5, 1);
  const Vector prior = {1, 1, 1, 1}, spread = {2, 2, 2, 2};
  Vector theta{};
  solve_nonneg(stats, prior, spread, 4, theta);
  EXPECT_DOUBLE_EQ(theta[0], 3);
  EXPECT_DOUBLE_EQ(theta[1], 1) << "no evidence: the prior";
  solve_nonneg(stats, prior, spread, 400, theta);
  EXPECT_DOUBLE_EQ(theta[0], 105.0 / 101);
}

// (1 + 1) x 0.5 each: a sample before k decays weighs 0.5^k of a new one.
TEST(NonNegative, DecayForgetsOldSamples) {
  LeastSquares<kN> stats;
  stats.add({1, 0, 0, 0}, 10, 1);
  stats.decay(0.5);
  stats.decay(0.5);
  stats.add({1, 0, 0, 0}, 2, 1);
  EXPECT_DOUBLE_EQ(stats.xx[0], 1.25);
  EXPECT_DOUBLE_EQ(stats.xy[0], 4.5);  // 10 / 4 + 2
}

}  // namespace
}  // namespace lodestar::learn
