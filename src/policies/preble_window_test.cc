// SPDX-License-Identifier: Apache-2.0
#include "policies/preble_window.h"

#include <gtest/gtest.h>

namespace lodestar {
namespace {

constexpr DurationNs kWindow = 180 * kSecond;

TEST(PrebleWindow, SlidesInParts) {
  PrebleWindow w;
  w.add(0, kWindow, {2, 100, 40, 1});
  w.add(90 * kSecond, kWindow, {3, 200, 0, 1});
  const auto both = w.sums(100 * kSecond, kWindow);
  EXPECT_EQ(both.work_s, 5);
  EXPECT_EQ(both.prompt_tokens, 300);
  EXPECT_EQ(both.hit_tokens, 40);
  EXPECT_EQ(both.requests, 2);
  EXPECT_EQ(w.sums(179 * kSecond, kWindow).work_s, 5);
  EXPECT_EQ(w.sums(181 * kSecond, kWindow).work_s, 3) << "the part of 0..5 s is out";
  EXPECT_EQ(w.sums(1000 * kSecond, kWindow).requests, 0);
  w.add(1000 * kSecond, kWindow, {7, 1, 0, 1});  // over the old parts
  EXPECT_EQ(w.sums(1000 * kSecond, kWindow).work_s, 7);
}

TEST(PrebleAnswers, DefaultsThenMeanAndMedian) {
  PrebleAnswers a(45, 0.15);
  EXPECT_EQ(a.mean_tokens(), 45);
  EXPECT_EQ(a.median_tpot_s(), 0.15);
  for (double tpot : {0.03, 0.01, 5.0}) a.add(100, tpot);
  EXPECT_EQ(a.mean_tokens(), 100);
  EXPECT_EQ(a.median_tpot_s(), 0.03) << "a median shrugs one stall off";
  for (int i = 0; i < 127; ++i) a.add(7, 0.02);
  EXPECT_EQ(a.mean_tokens(), 7) << "only the last 127 count";
}

TEST(PreblePrefill, IsPositiveAndRising) {
  EXPECT_EQ(preble_prefill_s(0, 100), 0);
  EXPECT_NEAR(preble_prefill_s(1000, 0), 0.255179129, 1e-9);
  // n = 4096: + 7.141e-3 n + 3.996e-6 n^2 - 13.6345 = 82.65679 ms before the 0.9
  EXPECT_NEAR(preble_prefill_s(4096, 0), (0.22064632 * 4096 + 8.56689631 + 0.448 + 82.65679) / 900,
              1e-6);
  double last = 0;
  for (double n = 1; n < 20000; n += 7) {
    const double t = preble_prefill_s(n, 0);
    ASSERT_GE(t, last) << n;
    last = t;
  }
}

}  // namespace
}  // namespace lodestar
