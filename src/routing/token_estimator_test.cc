// SPDX-License-Identifier: Apache-2.0
#include "routing/token_estimator.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace lodestar {
namespace {

TEST(TokenEstimator, BeforeTheFirstSample) {
  const TokenEstimator tokens;
  const auto guess = tokens.estimate("llama", 4000);
  EXPECT_EQ(guess.tokens, 1000);
  EXPECT_EQ(guess.error, 0.5);
}

TEST(TokenEstimator, LearnsBytesPerTokenPerServedModel) {
  TokenEstimator tokens;
  for (int i = 0; i < 200; ++i) tokens.learn("chinese", 3000, 1500);
  EXPECT_NEAR(tokens.bytes_per_token("chinese"), 2.0, 1e-9);
  EXPECT_EQ(tokens.bytes_per_token("english"), 4.0) << "what one model taught is not another's";
  const auto guess = tokens.estimate("chinese", 2000);
  EXPECT_NEAR(guess.tokens, 1000, 1e-6);
  EXPECT_LT(guess.error, 0.06) << "exact samples: the error shrinks towards 0";
}

// The error is the relative spread, one sigma.
TEST(TokenEstimator, ErrorReflectsTheSpread) {
  TokenEstimator tokens;
  Rng rng(8);
  for (int i = 0; i < 2000; ++i) {
    const double per_token = 4 * (1 + 0.2 * rng.normal());
    if (per_token < 1) continue;
    tokens.learn("mixed", static_cast<std::int64_t>(1000 * per_token), 1000);
  }
  EXPECT_NEAR(tokens.estimate("mixed", 1000).error, 0.2, 0.06);
}

TEST(TokenEstimator, FollowsAChange) {
  TokenEstimator tokens;
  for (int i = 0; i < 500; ++i) tokens.learn("m", 4000, 1000);
  for (int i = 0; i < 500; ++i) tokens.learn("m", 2000, 1000);
  EXPECT_NEAR(tokens.bytes_per_token("m"), 2.0, 0.05);
}

TEST(TokenEstimator, SamplesWithoutSenseAreIgnored) {
  TokenEstimator tokens;
  tokens.learn("m", 0, 100);
  tokens.learn("m", 100, 0);
  tokens.learn("m", -5, 7);
  tokens.learn("m", 5, -7);
  EXPECT_EQ(tokens.bytes_per_token("m"), 4.0);
  EXPECT_EQ(tokens.estimate("m", 0).tokens, 0);
  tokens.learn("m", INT64_C(1) << 60, 1);
  EXPECT_TRUE(std::isfinite(tokens.estimate("m", 1000).tokens));
}

}  // namespace
}  // namespace lodestar
