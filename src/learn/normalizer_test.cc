// SPDX-License-Identifier: Apache-2.0
#include "learn/normalizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace lodestar::learn {
namespace {

PaperFeatures constant(float v, GpuClass gpu = -1) {
  PaperFeatures x;
  x.numeric.fill(v);
  x.gpu = gpu;
  return x;
}

TEST(PaperFeatures, AreTheTableInItsOrderAndUnits) {
  FeatureRow row;
  row.inflight_prefill = 3;
  row.inflight_decode = 4;
  row.kv_usage = 0.25;
  row.running = 5;
  row.waiting = 6;
  row.pending_prompt_tokens = 7000;
  row.decode_generated_tokens = 800;
  row.hit_ratio = 0.50999;  // 50.999 % is 50
  row.hit_age_s = 30;       // two half lives
  row.prompt_tokens = 2048;
  row.inflight = 99;        // excluded by the published configuration
  const PaperFeatures f = paper_features(row, 6);
  const std::array<float, kPaperNumeric> want = {3, 4, 0.25f, 5, 6, 7000, 800, 12.5f, 50, 2048};
  EXPECT_EQ(f.numeric, want);
  EXPECT_EQ(f.gpu, 6);
  EXPECT_EQ(paper_feature_names().size(), kPaperNumeric);
  EXPECT_EQ(paper_inputs(false), 10u);
  EXPECT_EQ(paper_inputs(true), 21u);
}

TEST(PaperFeatures, WholePerCentSurvivesTheRoundingOfTheQuotient) {
  for (int blocks : {3, 7, 100, 313, 4096}) {
    for (int depth = 0; depth <= blocks; ++depth) {
      FeatureRow row;
      row.hit_ratio = static_cast<double>(depth) / blocks;
      EXPECT_EQ(paper_features(row, -1).numeric[8], static_cast<float>(100 * depth / blocks));
    }
  }
  FeatureRow never;
  EXPECT_EQ(paper_features(never, -1).numeric[7], 0.0f);
}

TEST(PaperFeatures, WhatAnEngineMadeUpIsNotUsable) {
  EXPECT_TRUE(constant(1e6f).usable());
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e30f, -1e30f}) {
    PaperFeatures x = constant(1);
    x.numeric[4] = bad;
    EXPECT_FALSE(x.usable());
  }
  FeatureRow row;
  row.running = 1e300;
  EXPECT_FALSE(paper_features(row, -1).usable());
}

TEST(PaperFeatures, GpuLabelsMatchTheLongestNameOfTheVocabulary) {
  const auto name = [](std::string_view hardware) {
    const GpuClass c = paper_gpu_class(hardware);
    return c < 0 ? std::string_view("none") : paper_gpu_names()[static_cast<std::size_t>(c)];
  };
  EXPECT_EQ(name("A30"), "A30");
  EXPECT_EQ(name("NVIDIA A10"), "A10");
  EXPECT_EQ(name("A100-80G"), "A100");
  EXPECT_EQ(name("l40s"), "L40S");
  EXPECT_EQ(name("L40"), "L40");
  EXPECT_EQ(name("L4"), "L4");
  EXPECT_EQ(name("V100"), "Tesla-V100");
  EXPECT_EQ(name("Tesla-V100-SXM2"), "Tesla-V100");
  EXPECT_EQ(name("H100-SXM"), "H100");
  EXPECT_EQ(name("RTX 4090"), "none");
  EXPECT_EQ(name(""), "none");
}

TEST(PaperFeatures, HashNamesTheSet) {
  EXPECT_NE(paper_feature_hash(false), paper_feature_hash(true));
  EXPECT_EQ(paper_feature_hash(true), paper_feature_hash(true));
}

TEST(Normalizer, PoolsOverInstancesAndRowsLikeOnePass) {
  // 300 decisions over 1 to 8 candidates; the reference sees all values at once.
  Rng rng(1);
  NormalizerBuilder builder;
  std::array<std::vector<double>, kPaperNumeric> all;
  for (int decision = 0; decision < 300; ++decision) {
    FeatureMoments moments;
    const std::uint64_t candidates = 1 + rng.below(8);
    for (std::uint64_t c = 0; c < candidates; ++c) {
      PaperFeatures x;
      for (std::size_t i = 0; i < kPaperNumeric; ++i) {
        x.numeric[i] = static_cast<float>(1e5 + rng.normal() * (i == 3 ? 0.5 : 2000));
        all[i].push_back(static_cast<double>(x.numeric[i]));
      }
      moments.add(x);
    }
    builder.add(moments);
  }
  const Normalizer::Statistics s = builder.build().statistics();
  for (std::size_t i = 0; i < kPaperNumeric; ++i) {
    double mean = 0, square = 0;
    for (double v : all[i]) mean += v;
    mean /= static_cast<double>(all[i].size());
    for (double v : all[i]) square += (v - mean) * (v - mean);
    const double deviation = std::sqrt(square / static_cast<double>(all[i].size()));
    EXPECT_NEAR(s.mean[i], mean, 0.02);
    EXPECT_NEAR(s.deviation[i], deviation, 0.01 * deviation) << i;
    EXPECT_EQ(s.min[i], static_cast<float>(*std::min_element(all[i].begin(), all[i].end())));
    EXPECT_EQ(s.max[i], static_cast<float>(*std::max_element(all[i].begin(), all[i].end())));
  }
}

TEST(Normalizer, EncodesZScoresPadsAndPlacesTheOneHot) {
  FeatureMoments m;
  m.add(constant(1, 2));
  m.add(constant(3, 10));
  NormalizerBuilder builder;
  builder.add(m);
  const Normalizer n = builder.build();
  std::vector<float> out(32, 9.0f);
  n.encode(constant(4, 10), true, out);
  for (std::size_t i = 0; i < 32; ++i) {
    const bool one_hot = i >= 8 && i < 19;
    const float want = one_hot ? (i == 18 ? 1.0f : 0.0f) : i < 21 ? 2.0f : 0.0f;
    EXPECT_EQ(out[i], want) << i;
  }
  std::vector<float> plain(16, 9.0f);
  n.encode(constant(1), false, plain);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(plain[i], i < 10 ? -1.0f : 0.0f);
}

TEST(Normalizer, AFeatureThatNeverVariedIsZero) {
  FeatureMoments m;
  for (int i = 0; i < 5; ++i) m.add(constant(0.1f));
  NormalizerBuilder builder;
  builder.add(m);
  std::vector<float> out(16);
  builder.build().encode(constant(0.1f), false, out);
  EXPECT_EQ(out, std::vector<float>(16, 0.0f));
}

TEST(Normalizer, RangeHasAMarginAndKnowsTheHardware) {
  FeatureMoments m;
  m.add(constant(0, 2));
  m.add(constant(10, 2));
  NormalizerBuilder builder;
  builder.add(m);
  const Normalizer n = builder.build();
  EXPECT_TRUE(n.in_range(constant(0, 2), true, 0));
  EXPECT_TRUE(n.in_range(constant(10, 2), true, 0));
  EXPECT_FALSE(n.in_range(constant(10.5f, 2), true, 0));
  EXPECT_TRUE(n.in_range(constant(10.5f, 2), true, 0.1));
  EXPECT_FALSE(n.in_range(constant(-1.5f, 2), true, 0.1));
  EXPECT_FALSE(n.in_range(constant(5, 3), true, 0.1));    // hardware without a sample
  EXPECT_FALSE(n.in_range(constant(5, -1), true, 0.1));
  EXPECT_TRUE(n.in_range(constant(5, 3), false, 0.1));    // unless labels are not used
  PaperFeatures one = constant(5);
  one.numeric[9] = std::nanf("");
  EXPECT_FALSE(n.in_range(one, false, 1e9));
  EXPECT_FALSE(Normalizer().in_range(constant(5), false, 0));
}

}  // namespace
}  // namespace lodestar::learn
