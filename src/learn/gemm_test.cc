// SPDX-License-Identifier: Apache-2.0
#include "learn/gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/rng.h"

namespace lodestar::learn {
namespace {

std::vector<float> noise(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(size);
  for (float& v : values) v = static_cast<float>(rng.normal());
  return values;
}

struct Shape {
  std::size_t m, n, k;
};
const Shape kShapes[] = {{1, 16, 1},   {1, 128, 10},   {2, 32, 7},    {5, 48, 33},
                         {8, 128, 16}, {13, 128, 128}, {31, 64, 256}, {256, 128, 128}};

// The definition: sums in order of k, each product rounded before it is added.
std::vector<float> naive(const std::vector<float>& bias, const std::vector<float>& a,
                         const std::vector<float>& b, const Shape& s, bool transposed) {
  std::vector<float> c(s.m * s.n);
  for (std::size_t i = 0; i < s.m; ++i)
    for (std::size_t j = 0; j < s.n; ++j) {
      volatile float sum = bias.empty() ? 0.0f : bias[j];
      for (std::size_t q = 0; q < s.k; ++q) {
        volatile float product = (transposed ? a[q * s.m + i] : a[i * s.k + q]) * b[q * s.n + j];
        sum = sum + product;
      }
      c[i * s.n + j] = sum;
    }
  return c;
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i])) << i;
}

TEST(Gemm, EveryInstructionSetGivesTheBitsOfTheDefinition) {
  int levels = 0;
  for (GemmLevel level : {GemmLevel::kBase, GemmLevel::kAvx2, GemmLevel::kAvx512}) {
    if (!gemm_level_supported(level)) continue;
    ++levels;
    for (const Shape& s : kShapes) {
      for (const bool transposed : {false, true}) {
        const auto a = noise(s.m * s.k, 1), b = noise(s.k * s.n, 2);
        for (const auto& bias : {std::vector<float>{}, noise(s.n, 3)}) {
          std::vector<float> packed(s.k * s.n), c(s.m * s.n, -7.0f);
          gemm_pack(b.data(), s.k, s.n, packed.data());
          const GemmInput in =
              transposed ? GemmInput{a.data(), 1, s.m} : GemmInput{a.data(), s.k, 1};
          gemm(level, bias.empty() ? nullptr : bias.data(), in, packed.data(), c.data(), s.m, s.n,
               s.k);
          expect_same_bits(c, naive(bias, a, b, s, transposed));
        }
      }
    }
  }
  EXPECT_GE(levels, 1);
  EXPECT_TRUE(gemm_level_supported(best_gemm_level()));
}

TEST(Gemm, PackTransposedIsPackOfTheTranspose) {
  const std::size_t k = 24, n = 32;
  const auto source = noise(n * k, 4);
  std::vector<float> transposed(k * n), one(k * n), two(k * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < k; ++j) transposed[j * n + i] = source[i * k + j];
  gemm_pack(transposed.data(), k, n, one.data());
  gemm_pack_transposed(source.data(), k, n, two.data());
  EXPECT_EQ(one, two);
}

TEST(Gemm, Dot8IsCloseToDoubleAndFoldsInTheDocumentedOrder) {
  const auto x = noise(128, 5), y = noise(128, 6);
  double want = 0;
  for (std::size_t i = 0; i < 128; ++i)
    want += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  EXPECT_NEAR(dot8(x.data(), y.data(), 128), want, 1e-4);
  // Lanes 0 and 4 meet first: 2^25 cancels before a 1 could be lost beside it.
  const float big = 33554432.0f;
  const float values[8] = {big, 1, 0, 0, -big, 1, 0, 0};
  const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(dot8(values, ones, 8), 2.0f);
}

}  // namespace
}  // namespace lodestar::learn
