// SPDX-License-Identifier: Apache-2.0
#include "learn/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace lodestar::learn {
namespace {

constexpr std::size_t kWidth = 16;

struct Rows {
  std::vector<float> activations, error;
  std::size_t size() const { return error.size(); }
};

Rows random_rows(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  Rows rows;
  for (std::size_t i = 0; i < n * kWidth; ++i)
    rows.activations.push_back(static_cast<float>(std::max(0.0, rng.normal())));
  for (std::size_t i = 0; i < n; ++i)
    rows.error.push_back(static_cast<float>(rng.uniform() + 0.01));
  return rows;
}

// Greedy k-centre by its definition, in double: at each step the row whose least
// distance to the chosen ones (times |g|, if weighted) is largest.
std::vector<std::uint32_t> brute_force(const Rows& rows, std::size_t k, bool weighted) {
  const auto length = [&](std::size_t r) {
    double sum = 0;
    for (std::size_t i = 0; i < kWidth; ++i) sum += std::pow(rows.activations[r * kWidth + i], 2.0);
    return std::sqrt(sum);
  };
  const auto distance = [&](std::size_t p, std::size_t q) {
    double dot = 0;
    for (std::size_t i = 0; i < kWidth; ++i)
      dot += static_cast<double>(rows.activations[p * kWidth + i]) *
             static_cast<double>(rows.activations[q * kWidth + i]);
    return 1 - dot / std::max(length(p) * length(q), 1e-16);
  };
  std::vector<std::uint32_t> chosen;
  while (chosen.size() < k) {
    std::size_t best = rows.size();
    double best_value = -1;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (std::find(chosen.begin(), chosen.end(), r) != chosen.end()) continue;
      const double g = length(r) * static_cast<double>(rows.error[r]);
      double value = g;
      if (!chosen.empty()) {
        double nearest = 10;
        for (std::uint32_t c : chosen) nearest = std::min(nearest, distance(r, c));
        value = weighted ? g * nearest : nearest;
      }
      if (value > best_value) {
        best = r;
        best_value = value;
      }
    }
    chosen.push_back(static_cast<std::uint32_t>(best));
  }
  return chosen;
}

TEST(Coreset, BothRulesAgreeWithBruteForce) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Rows rows = random_rows(30, seed);
    for (const bool weighted : {false, true}) {
      const auto rule = weighted ? CoresetRule::kAsDescribed : CoresetRule::kAsCoded;
      EXPECT_EQ(select_coreset(rows.activations, rows.error, kWidth, 12, rule),
                brute_force(rows, 12, weighted))
          << "seed " << seed << " weighted " << weighted;
    }
  }
}

TEST(Coreset, AsCodedTheResidualPicksTheFirstRowOnly) {
  Rows rows = random_rows(40, 5);
  const auto before =
      select_coreset(rows.activations, rows.error, kWidth, 10, CoresetRule::kAsCoded);
  Rows scaled = rows;
  for (std::size_t r = 0; r < rows.size(); ++r)
    if (r != before[0]) scaled.error[r] *= 0.001f + 0.5f * static_cast<float>(r % 7) / 7;
  EXPECT_EQ(select_coreset(scaled.activations, scaled.error, kWidth, 10, CoresetRule::kAsCoded),
            before);
  EXPECT_NE(select_coreset(scaled.activations, scaled.error, kWidth, 10, CoresetRule::kAsDescribed),
            select_coreset(rows.activations, rows.error, kWidth, 10, CoresetRule::kAsDescribed));
}

TEST(Coreset, IsNestedAndKeepsEverythingWhenThereIsRoom) {
  const Rows rows = random_rows(50, 6);
  const auto ten = select_coreset(rows.activations, rows.error, kWidth, 10, CoresetRule::kAsCoded);
  const auto thirty =
      select_coreset(rows.activations, rows.error, kWidth, 30, CoresetRule::kAsCoded);
  EXPECT_TRUE(std::equal(ten.begin(), ten.end(), thirty.begin()));
  EXPECT_EQ(std::set<std::uint32_t>(thirty.begin(), thirty.end()).size(), 30u);
  EXPECT_EQ(select_coreset(rows.activations, rows.error, kWidth, 50, CoresetRule::kAsCoded).size(),
            50u);
  EXPECT_TRUE(
      select_coreset(rows.activations, rows.error, kWidth, 0, CoresetRule::kAsCoded).empty());
  EXPECT_TRUE(select_coreset({}, {}, kWidth, 5, CoresetRule::kAsCoded).empty());
}

TEST(Coreset, RowsWithoutDirectionAreFarFromAll) {
  Rows rows = random_rows(20, 7);
  std::fill_n(rows.activations.begin() + 11 * kWidth, kWidth, 0.0f);
  const auto chosen =
      select_coreset(rows.activations, rows.error, kWidth, 2, CoresetRule::kAsCoded);
  EXPECT_EQ(chosen[1], 11u);
}

TEST(Coreset, TwinsAndNotANumberStillGiveKDifferentRows) {
  Rows rows = random_rows(20, 8);
  for (std::size_t r = 1; r < 20; ++r)
    std::copy_n(rows.activations.begin(), kWidth,
                rows.activations.begin() + static_cast<long>(r * kWidth));
  rows.activations[3 * kWidth] = std::nanf("");
  rows.error[5] = std::nanf("");
  for (auto rule : {CoresetRule::kAsCoded, CoresetRule::kAsDescribed}) {
    const auto chosen = select_coreset(rows.activations, rows.error, kWidth, 19, rule);
    EXPECT_EQ(std::set<std::uint32_t>(chosen.begin(), chosen.end()).size(), 19u);
  }
  std::fill(rows.activations.begin(), rows.activations.end(), std::nanf(""));
  const auto chosen =
      select_coreset(rows.activations, rows.error, kWidth, 19, CoresetRule::kAsDescribed);
  EXPECT_EQ(std::set<std::uint32_t>(chosen.begin(), chosen.end()).size(), 19u);
}

TEST(UniformSelection, IsWithoutReplacementAndUniform) {
  std::vector<int> seen(10, 0);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const auto chosen = select_uniform(10, 3, Rng(seed));
    EXPECT_EQ(std::set<std::uint32_t>(chosen.begin(), chosen.end()).size(), 3u);
    for (std::uint32_t i : chosen) ++seen[i];
  }
  for (int n : seen) EXPECT_NEAR(n, 600, 100);  // 5 sigma
  EXPECT_EQ(select_uniform(4, 9, Rng(1)).size(), 4u);
}

}  // namespace
}  // namespace lodestar::learn
