// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <bit>
#include <cmath>

#include "base/hash.h"
#include "base/math.h"

namespace lodestar {
namespace {
__extension__ using Wide = unsigned __int128;
}

Rng::Rng(std::uint64_t seed) : seed_(seed) {
  std::uint64_t x = seed;
  for (auto& word : s_) {
    x += 0x9e3779b97f4a7c15ULL;
    word = mix64(x);
  }
}

Rng Rng::fork(std::string_view label) const { return fork(label, 0); }

Rng Rng::fork(std::string_view label, std::uint64_t index) const {
  return Rng(hash_combine(hash_combine(seed_, hash_string(label)), index));
}

std::uint64_t Rng::next() {
  const std::uint64_t result = std::rotl(s_[0] + s_[3], 23) + s_[0];
  const std::uint64_t t = s_[1] << 17;
  s_[2] ^= s_[0];
  s_[3] ^= s_[1];
  s_[1] ^= s_[2];
  s_[0] ^= s_[3];
  s_[2] ^= t;
  s_[3] = std::rotl(s_[3], 45);
  return result;
}

double Rng::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

std::uint64_t Rng::below(std::uint64_t n) {
  // Lemire's multiply-and-reject (2019).
  Wide m = static_cast<Wide>(next()) * n;
  auto low = static_cast<std::uint64_t>(m);
  if (low < n) {
    const std::uint64_t threshold = (0 - n) % n;
    while (low < threshold) {
      m = static_cast<Wide>(next()) * n;
      low = static_cast<std::uint64_t>(m);
    }
  }
  return static_cast<std::uint64_t>(m >> 64);
}

std::int64_t Rng::between(std::int64_t lo, std::int64_t hi) {
  return lo + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(hi - lo) + 1));
}

double Rng::exponential(double mean) { return -mean * det_log(1.0 - uniform()); }

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  for (;;) {  // Marsaglia's polar method
    const double u = 2.0 * uniform() - 1.0;
    const double v = 2.0 * uniform() - 1.0;
    const double q = u * u + v * v;
    if (q >= 1.0 || q == 0.0) continue;
    const double f = std::sqrt(-2.0 * det_log(q) / q);
    spare_ = v * f;
    has_spare_ = true;
    return u * f;
  }
}

double Rng::lognormal(double mu, double sigma) { return det_exp(mu + sigma * normal()); }

double Rng::gamma(double shape, double scale) {
  if (shape < 1.0) {
    const double boost = det_pow(1.0 - uniform(), 1.0 / shape);
    return gamma(shape + 1.0, scale) * boost;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal();
    const double t = 1.0 + c * x;
    if (t <= 0.0) continue;
    const double v = t * t * t;
    if (det_log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * det_log(v)) return d * v * scale;
  }
}

std::uint64_t Rng::state_hash() const {
  std::uint64_t h = has_spare_ ? 1 : 0;
  for (std::uint64_t word : s_) h = hash_combine(h, word);
  return h;
}

}  // namespace lodestar
