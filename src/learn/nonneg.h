// SPDX-License-Identifier: Apache-2.0
// Weighted least squares with non-negative coefficients, updated sample by sample.
//
// Every coefficient is a cost of some kind of work, so none may be negative: that
// would promise that more work takes less time, and a router would send it there.
//
// Decayed sufficient statistics (X'WX, X'Wy) carry all samples; the solution is
// warm-started projected coordinate descent (Gauss-Seidel on the problem of Lawson &
// Hanson, "Solving Least Squares Problems", 1974, ch. 23), two sweeps per sample:
// well under a microsecond at N = 7.
//
// Values only; deterministic (fixed order of operations); no errors: the caller
// refuses samples that are not finite.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>

namespace lodestar::learn {

template <std::size_t N>
using Terms = std::array<double, N>;

template <std::size_t N>
double dot(const Terms<N>& a, const Terms<N>& b) {
  double sum = 0;
  for (std::size_t k = 0; k < N; ++k) sum += a[k] * b[k];
  return sum;
}

template <std::size_t N>
struct LeastSquares {
  std::array<double, N * N> xx{};
  Terms<N> xy{};

  void add(const Terms<N>& x, double y, double weight) {
    for (std::size_t i = 0; i < N; ++i) {
      const double wx = weight * x[i];
      xy[i] += wx * y;
      for (std::size_t j = 0; j < N; ++j) xx[i * N + j] += wx * x[j];
    }
  }
  void decay(double keep) {
    for (double& v : xx) v *= keep;
    for (double& v : xy) v *= keep;
  }
};

// Improves `theta` towards the minimum over theta >= 0 of
//   sum of weight (y - theta x)^2  +  strength * sum_k ((theta[k] - prior[k]) / spread[k])^2.
// spread[k] > 0 is the size of a departure of theta[k] that costs `strength`.
template <std::size_t N>
void solve_nonneg(const LeastSquares<N>& stats, const Terms<N>& prior, const Terms<N>& spread,
                  double strength, Terms<N>& theta) {
  constexpr int kSweeps = 2;
  for (int s = 0; s < kSweeps; ++s) {
    for (std::size_t i = 0; i < N; ++i) {
      const double ridge = strength / (spread[i] * spread[i]);
      double numerator = stats.xy[i] + ridge * prior[i];
      for (std::size_t j = 0; j < N; ++j)
        if (j != i) numerator -= stats.xx[i * N + j] * theta[j];
      theta[i] = std::max(0.0, numerator / (stats.xx[i * N + i] + ridge));
    }
  }
}

}  // namespace lodestar::learn
