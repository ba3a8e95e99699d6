// SPDX-License-Identifier: Apache-2.0
#include "base/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace lodestar {
namespace {
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2High = 6.93147180369123816490e-01;  // ln 2 with its low 32 bits zero
constexpr double kLn2Low = 1.90821492927058770002e-10;   // ln 2 - kLn2High

double scale(double x, int exponent) {  // x * 2^exponent, exponent in normal range
  return x * std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}
}  // namespace

double det_exp(double x) {
  if (!(x == x)) return x;
  if (x > 709.782712893384) return kInf;
  if (x < -745.2) return 0.0;
  // x = k ln2 + r, |r| <= ln2/2; exp(r) by its Taylor polynomial of degree 13
  // (remainder below 2^-58 on that interval).
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  double p = 1.0 / 6227020800.0;
  constexpr double kInverseFactorial[] = {1.0 / 479001600.0,
                                          1.0 / 39916800.0,
                                          1.0 / 3628800.0,
                                          1.0 / 362880.0,
                                          1.0 / 40320.0,
                                          1.0 / 5040.0,
                                          1.0 / 720.0,
                                          1.0 / 120.0,
                                          1.0 / 24.0,
                                          1.0 / 6.0,
                                          0.5,
                                          1.0,
                                          1.0};
  for (double c : kInverseFactorial) p = p * r + c;
  const int n = static_cast<int>(k);
  if (n > 1000) return scale(scale(p, 1000), n - 1000);
  if (n < -1000) return scale(scale(p, n + 1000), -1000);
  return scale(p, n);
}

double det_log(double x) {
  if (!(x == x)) return x;
  if (x < 0) return kNan;
  if (x == 0) return -kInf;
  if (x == kInf) return kInf;
  int exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent -= 54;
  }
  std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  exponent += static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent += 1;
  }
  // log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.1716: odd series up to s^23.
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 0.0;
  for (int i = 23; i >= 3; i -= 2) p = (p + 1.0 / i) * z;
  const double e = static_cast<double>(exponent);
  return e * kLn2High + (2.0 * s + (2.0 * s * p + e * kLn2Low));
}

double det_pow(double x, double y) {
  if (y == 0) return 1.0;
  if (y == 1) return x;
  if (y == 2) return x * x;
  if (x == 0) return y > 0 ? 0.0 : kInf;
  return det_exp(y * det_log(x));
}

}  // namespace lodestar
