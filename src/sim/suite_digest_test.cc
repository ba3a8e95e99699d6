// SPDX-License-Identifier: Apache-2.0
#include "sim/suite_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lodestar::sim {
namespace {

RequestRecord answered(double arrival_s, double ttft_ms, std::uint32_t instance = 0) {
  RequestRecord r;
  r.arrival = from_s(arrival_s);
  r.first_token = r.arrival + from_ms(ttft_ms);
  r.last_token = r.first_token + from_ms(900);
  r.output_tokens = 10;
  r.instance = instance;
  return r;
}

CellResult two_instances(double simulated_s) {
  CellResult result;
  result.instances = {{"A30-0", 0, 0.5}, {"A30-1", 0, std::nullopt}};
  result.simulated_s = simulated_s;
  return result;
}

TEST(SuiteDigest, FailedAndUnfinishedCountAtTheirAge) {
  std::vector<RequestRecord> records{answered(0, 100), answered(1, 300)};
  RequestRecord failed = answered(2, 0);
  failed.first_token = failed.last_token = kNever;
  failed.failed = true;
  failed.failed_at = from_s(4);
  RequestRecord open = failed;  // unfinished: as old as the run
  open.failed = false;
  open.failed_at = kNever;
  RequestRecord cut = answered(3, 200);  // had its first token, failed later
  cut.last_token = kNever;
  cut.failed = true;
  cut.failed_at = from_s(5);
  records.insert(records.end(), {failed, open, cut});
  const RunDigest d = digest_of(two_instances(10), records, {});
  EXPECT_DOUBLE_EQ(d.ttft_mean_ms, (100 + 300 + 2000 + 8000 + 200) / 5.0);
  EXPECT_DOUBLE_EQ(d.e2e_mean_ms, (1000 + 1200 + 2000 + 8000 + 2000) / 5.0);
  EXPECT_DOUBLE_EQ(d.tpot_mean_ms, 100) << "of the answered ones";
  EXPECT_EQ(d.ttft.total(), 5u);
}

TEST(SuiteDigest, WarmUpIsInTheCurveButNotInTheMeans) {
  std::vector<RequestRecord> records;
  for (int i = 0; i < 250; ++i) {
    records.push_back(answered(i * 0.1, i < 100 ? 400 : 50, i % 2 ? 1 : 0));
    records.back().counted = i >= 100;
  }
  const RunDigest d = digest_of(two_instances(30), records, {});
  EXPECT_DOUBLE_EQ(d.ttft_mean_ms, 50);
  EXPECT_EQ(d.window, 100u);
  EXPECT_THAT(d.window_ttft_ms, ::testing::ElementsAre(400, 50)) << "the half window is left out";
  EXPECT_THAT(d.rows, ::testing::ElementsAre("A30-0", "A30-1"));
  double placed = 0;
  for (std::uint32_t n : d.placed) placed += n;
  EXPECT_EQ(placed, 250);
}

TEST(SuiteDigest, LargeFleetsAreGroupedByHardware) {
  CellResult result;
  std::vector<std::string> hardware;
  for (int i = 0; i < 60; ++i) {
    result.instances.push_back({"e", 0, std::nullopt});
    hardware.push_back(i < 20 ? "h100" : "a30");
  }
  std::vector<RequestRecord> records{answered(0, 1, 5), answered(0, 1, 45), answered(0, 1, 59)};
  const RunDigest d = digest_of(result, records, hardware);
  EXPECT_THAT(d.rows, ::testing::ElementsAre("h100", "a30"));
  EXPECT_THAT(d.row_instances, ::testing::ElementsAre(20, 40));
  EXPECT_THAT(d.placed, ::testing::ElementsAre(1, 2));
}

TEST(SuiteDigest, CountsOutcomesByPredictedQuantile) {
  std::vector<RequestRecord> records;
  for (double ttft_ms : {50.0, 90.0, 110.0, 500.0}) {  // below, lower half, upper half, above
    records.push_back(answered(0, ttft_ms, 1));
    records.back().predicted_ttft_ms = 100;
    records.back().predicted_lo_ms = 80;
    records.back().predicted_hi_ms = 120;
  }
  records.push_back(answered(0, 100));  // no prediction
  records.push_back(answered(0, 200));  // without an interval
  records.back().predicted_ttft_ms = 100;
  const PredictionDigest p = digest_of(two_instances(1), records, {}).predictions;
  EXPECT_EQ(p.count, 5u);
  EXPECT_EQ(p.with_interval, 4u);
  EXPECT_EQ(p.below_lo, 1u);
  EXPECT_EQ(p.below_point, 2u);
  EXPECT_EQ(p.below_hi, 3u);
  EXPECT_THAT(p.row_total, ::testing::ElementsAre(0, 4));
  EXPECT_THAT(p.row_inside, ::testing::ElementsAre(0, 2));
  EXPECT_NEAR(p.sum_relative_error, 1.0 + 1.0 / 9 + 1.0 / 11 + 0.8 + 0.5, 1e-9);
}

TEST(SuiteDigest, HistogramKeepsValuesWithinABin) {
  LogHistogram h;
  for (double v : {0.0, 0.5, 123.0, 1e9}) h.add(v);
  h.add(kNotMeasured);
  EXPECT_EQ(h.total(), 4u);
  for (std::size_t b = 0; b < LogHistogram::kBins; ++b) {
    if (h.counts[b] == 0 || b == 0 || b + 1 == LogHistogram::kBins) continue;
    const double high = LogHistogram::upper_edge(b), low = LogHistogram::upper_edge(b - 1);
    EXPECT_TRUE((low <= 0.5 && 0.5 <= high) || (low <= 123 && 123 <= high)) << low << " " << high;
    EXPECT_NEAR(high / low, std::pow(10.0, 1.0 / 48), 1e-9);
  }
}

TEST(SuiteDigest, CodecGivesBackWhatItGot) {
  std::vector<RequestRecord> records;
  for (int i = 0; i < 300; ++i) {
    records.push_back(answered(i * 0.2, 20 + i, i % 2 ? 1 : 0));
    if (i % 3 == 0) records.back().predicted_ttft_ms = 25 + static_cast<float>(i);
  }
  CellResult result = two_instances(70);
  result.decision_hash = 0xfedcba9876543210u;
  result.ttft_ms = {1.0, 2.0, std::nullopt, 4.0};
  const RunDigest d = digest_of(result, records, {});
  const std::string bytes = encode_digest(d);
  const auto back = decode_digest(bytes);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(encode_digest(*back), bytes);
  EXPECT_EQ(back->result.decision_hash, d.result.decision_hash);
  EXPECT_EQ(back->ttft_mean_ms, d.ttft_mean_ms);
  EXPECT_EQ(back->ttft.counts, d.ttft.counts);
  EXPECT_EQ(back->placed, d.placed);
  EXPECT_EQ(back->predictions.pairs.size(), 100u);
  EXPECT_FALSE(decode_digest(bytes.substr(0, bytes.size() / 2)).has_value());
  EXPECT_FALSE(decode_digest("").has_value());
}

}  // namespace
}  // namespace lodestar::sim
