// SPDX-License-Identifier: Apache-2.0
// The only source of chance in the core: xoshiro256++ (Blackman, Vigna 2019)
// with labelled child streams. std::*_distribution is banned: it differs
// between standard libraries.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace lodestar {

class Rng {
 public:
  explicit Rng(std::uint64_t seed);

  // A stream that depends only on this generator's seed and the label, not on
  // how many numbers were drawn before.
  Rng fork(std::string_view label) const;
  Rng fork(std::string_view label, std::uint64_t index) const;

  std::uint64_t next();
  double uniform();                        // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t n);    // [0, n), unbiased; n >= 1
  std::int64_t between(std::int64_t lo, std::int64_t hi);  // [lo, hi] inclusive
  double exponential(double mean);
  double normal();                         // mean 0, variance 1
  double lognormal(double mu, double sigma);
  double gamma(double shape, double scale);  // Marsaglia and Tsang 2000

  // Digest of the state: two runs that drew the same numbers agree on it.
  std::uint64_t state_hash() const;

 private:
  std::uint64_t seed_;
  std::array<std::uint64_t, 4> s_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace lodestar
