// SPDX-License-Identifier: Apache-2.0
#include "learn/paper_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "base/hash.h"
#include "learn/predictor_file.h"

namespace lodestar::learn {
namespace {

// TTFT as a queue makes it: uncached prompt tokens and those before them, at a
// rate that falls with the batch. Products and sums of the features.
double true_ttft_s(const PaperFeatures& x) {
  const double uncached =
      static_cast<double>(x.numeric[9]) * (1 - static_cast<double>(x.numeric[8]) / 100);
  return 0.03 + (uncached + static_cast<double>(x.numeric[5])) / 8000 *
                    (1 + 0.02 * static_cast<double>(x.numeric[3]));
}

PaperFeatures random_features(Rng& rng) {
  FeatureRow row;
  row.inflight_prefill = static_cast<double>(rng.below(5));
  row.inflight_decode = static_cast<double>(rng.below(30));
  row.kv_usage = rng.uniform();
  row.running = static_cast<double>(rng.below(40));
  row.waiting = static_cast<double>(rng.below(4));
  row.pending_prompt_tokens = row.inflight_prefill * (500 + 3000 * rng.uniform());
  row.decode_generated_tokens = row.inflight_decode * 100 * rng.uniform();
  row.hit_ratio = rng.uniform();
  row.hit_age_s = 60 * rng.uniform();
  row.prompt_tokens = 100 + 7900 * rng.uniform();
  return paper_features(row, static_cast<GpuClass>(rng.below(2)));
}

std::shared_ptr<std::vector<Sample>> samples(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  auto set = std::make_shared<std::vector<Sample>>(n);
  for (std::size_t i = 0; i < n; ++i) {
    Sample& s = (*set)[i];
    s.sequence = i + 1;
    s.x = random_features(rng);
    s.reward = static_cast<float>(-true_ttft_s(s.x));
    for (int other = 0; other < 3; ++other) s.candidates.add(random_features(rng));
    s.candidates.add(s.x);
  }
  return set;
}

std::shared_ptr<const PaperPredictor> train(const PaperTrainJob& job) {
  return std::dynamic_pointer_cast<const PaperPredictor>(job.run());
}

TEST(PaperTrainer, LearnsSumsAndProductsOfItsInputs) {
  const auto set = samples(6000, 1);
  const auto predictor = train(PaperTrainJob({}, 1, {set, 100}, nullptr));
  ASSERT_NE(predictor, nullptr);
  const TrainingRecord& r = predictor->record();
  EXPECT_EQ(r.round, 1u);
  EXPECT_EQ(r.rows, 6000u);
  EXPECT_EQ(r.trained, 4800u);
  double variance = 0, mean = 0;
  for (const Sample& s : *set) mean += static_cast<double>(s.reward) / 6000;
  for (const Sample& s : *set)
    variance += std::pow(static_cast<double>(s.reward) - mean, 2.0) / 6000;
  EXPECT_LT(r.holdout_mse, 0.04 * variance);
  EXPECT_GT(r.holdout_mae_ms, 0);
  // Fresh rows that no round has seen.
  const auto fresh = samples(500, 2);
  double error = 0;
  PaperPredictor::Scratch scratch;
  for (const Sample& s : *fresh) {
    float out = 0;
    predictor->predict({&s.x, 1}, {&out, 1}, scratch);
    error += std::pow(static_cast<double>(out - s.reward), 2.0) / 500;
  }
  EXPECT_LT(error, 0.04 * variance);
}

// The same bits with g++ and clang, and for every x86-64 level of the build and of
// the machine that runs it. If this changes, every learned result changes.
TEST(PaperTrainer, GoldenWeights) {
  PaperTrainerOptions options;
  options.epochs = 3;
  const auto plain = train(PaperTrainJob(options, 1, {samples(1500, 3), 200}, nullptr));
  ASSERT_NE(plain, nullptr);
  EXPECT_EQ(plain->digest(), 5804668409232460407u);
  options.gpu_labels = true;
  options.coreset = CoresetRule::kAsDescribed;
  const auto first = train(PaperTrainJob(options, 1, {samples(700, 4), 100}, nullptr));
  const auto second = train(PaperTrainJob(options, 2, {samples(700, 5), 100}, first));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->digest(), 16446453453148979894u);
  std::uint64_t replay = 0;
  for (std::uint32_t i : second->replay()) replay = hash_combine(replay, i);
  EXPECT_EQ(replay, 15751464352765022805u);
}

TEST(PaperTrainer, SameDataSameBitsOnAnyThread) {
  PaperTrainerOptions options;
  options.epochs = 2;
  const PaperTrainJob job(options, 1, {samples(600, 6), 50}, nullptr);
  const auto here = train(job);
  std::shared_ptr<const PaperPredictor> there;
  std::thread([&] { there = train(job); }).join();
  EXPECT_EQ(here->digest(), there->digest());
  EXPECT_EQ(here->replay(), there->replay());
  options.seed = 43;
  EXPECT_NE(train(PaperTrainJob(options, 1, {samples(600, 6), 50}, nullptr))->digest(),
            here->digest());
  const auto other = samples(600, 6);
  (*other)[17].reward -= 1e-3f;
  options.seed = 42;
  EXPECT_NE(train(PaperTrainJob(options, 1, {other, 50}, nullptr))->digest(), here->digest());
}

TEST(PaperTrainer, SimulatedDurationIsRowsTimesEpochsTimesPrice) {
  const PaperTrainJob job({}, 1, {samples(1000, 7), 0}, nullptr);
  EXPECT_EQ(job.simulated_duration(), 1000 * 20 * 14 * kMicrosecond);
  PaperTrainerOptions cheap;
  cheap.us_per_row_epoch = 0;
  EXPECT_EQ(PaperTrainJob(cheap, 1, {samples(10, 7), 0}, nullptr).simulated_duration(), 0);
}

TEST(PaperTrainer, ALossThatIsNotANumberFailsTheRound) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -3e38f}) {
    const auto set = samples(400, 8);
    for (Sample& s : *set) s.reward = bad;
    EXPECT_EQ(PaperTrainJob({}, 1, {set, 10}, nullptr).run(), nullptr) << bad;
  }
  EXPECT_EQ(PaperTrainJob({}, 1, {samples(0, 1), 10}, nullptr).run(), nullptr);
}

TEST(PaperTrainer, TinyAndConstantSetsTrain) {
  EXPECT_NE(PaperTrainJob({}, 1, {samples(1, 9), 10}, nullptr).run(), nullptr);
  EXPECT_NE(PaperTrainJob({}, 1, {samples(7, 9), 10}, nullptr).run(), nullptr);
  const auto same = samples(300, 9);
  for (Sample& s : *same) {
    s.x = (*same)[0].x;
    s.candidates = {};
    s.candidates.add(s.x);
    s.reward = -0.5f;
  }
  const auto predictor = train(PaperTrainJob({}, 1, {same, 10}, nullptr));
  ASSERT_NE(predictor, nullptr);
  float out = 0;
  PaperPredictor::Scratch scratch;
  predictor->predict({&(*same)[0].x, 1}, {&out, 1}, scratch);
  EXPECT_TRUE(std::isfinite(out));
}

TEST(PaperTrainer, ReplayIsUniformAtFirstAndThenACoresetOfTheOldPredictor) {
  PaperTrainerOptions options;
  options.epochs = 1;
  const auto first = train(PaperTrainJob(options, 1, {samples(300, 10), 40}, nullptr));
  EXPECT_EQ(first->replay(), select_uniform(300, 40, Rng(42).fork("replay")));
  const auto set = samples(300, 11);
  const auto second = train(PaperTrainJob(options, 2, {set, 40}, first));
  std::vector<PaperFeatures> x;
  for (const Sample& s : *set) x.push_back(s.x);
  std::vector<float> error(300);
  PaperPredictor::Scratch scratch;
  first->predict(x, error, scratch);
  for (std::size_t i = 0; i < 300; ++i) error[i] = std::fabs(error[i] - (*set)[i].reward);
  EXPECT_EQ(second->replay(), select_coreset(Mlp::last_hidden(scratch.mlp, 300), error, kHidden, 40,
                                             CoresetRule::kAsCoded));
}

// ---- files --------------------------------------------------------------------

std::shared_ptr<const PaperPredictor> small_predictor(bool labels) {
  PaperTrainerOptions options;
  options.epochs = 1;
  options.gpu_labels = labels;
  return train(PaperTrainJob(options, 3, {samples(200, 12), 10}, nullptr));
}

TEST(PredictorFile, RoundTripKeepsEveryBit) {
  for (const bool labels : {false, true}) {
    const auto predictor = small_predictor(labels);
    const std::string bytes = encode_predictor(*predictor);
    const auto back = decode_predictor(bytes);
    ASSERT_TRUE(back.has_value()) << back.error().message;
    EXPECT_EQ((*back)->digest(), predictor->digest());
    EXPECT_EQ((*back)->record().round, 3u);
    EXPECT_EQ((*back)->record().holdout_mse, predictor->record().holdout_mse);
    EXPECT_EQ(encode_predictor(**back), bytes);
  }
}

TEST(PredictorFile, EveryTruncationAndEveryFlippedByteIsRefused) {
  const std::string bytes = encode_predictor(*small_predictor(false));
  for (std::size_t n = 0; n < bytes.size(); n += n < 300 ? 1 : 997)
    EXPECT_FALSE(decode_predictor(std::string_view(bytes).substr(0, n)).has_value()) << n;
  EXPECT_FALSE(decode_predictor(bytes + "x").has_value());
  for (std::size_t i = 0; i < bytes.size(); i += i < 300 ? 1 : 499) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x20);
    EXPECT_FALSE(decode_predictor(broken).has_value()) << i;
  }
}

TEST(PredictorFile, RefusalsSayWhy) {
  const std::string bytes = encode_predictor(*small_predictor(false));
  const auto message = [](std::string b) { return decode_predictor(b).error().message; };
  EXPECT_NE(message("hello").find("does not start with LODEPRED"), std::string::npos);
  std::string version = bytes;
  version[8] = 9;
  EXPECT_NE(message(version).find("format version is 9, this build has 1"), std::string::npos);
  std::string features = bytes;
  features[16] = 77;
  EXPECT_NE(message(features).find("feature set is 77"), std::string::npos);
  std::string hash = bytes;
  hash[24] = static_cast<char>(hash[24] + 1);
  EXPECT_NE(message(hash).find("its features are others"), std::string::npos);
  std::string damaged = bytes;
  damaged[5000] = static_cast<char>(damaged[5000] + 1);
  EXPECT_NE(message(damaged).find("checksum"), std::string::npos);
  EXPECT_NE(message(bytes.substr(0, 4000)).find("cut off after 4000 bytes"), std::string::npos);
}

}  // namespace
}  // namespace lodestar::learn
