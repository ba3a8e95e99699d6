// SPDX-License-Identifier: Apache-2.0
#include "learn/forecast_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/rng.h"

namespace lodestar::learn {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kVersionAt = 8, kKindAt = 12, kSetAt = 16, kCountAt = 20, kHashAt = 24;

FeatureRow row_of(double tokens, double context) {
  FeatureRow row;
  row.prompt_tokens = tokens;
  row.inflight_decode = 3;
  row.decode_context_tokens = context;
  return row;
}

// Requests one after another on two instances; the second takes three times as long.
void teach(Forecaster& f, int requests) {
  Rng rng(7);
  f.up(0, "fast");
  f.up(1, "slow");
  TimeNs now = 0;
  for (int k = 0; k < requests; ++k) {
    const Fleet::Slot slot = static_cast<Fleet::Slot>(k % 2);
    const double tokens = 200 + 1800 * rng.uniform();
    const double seconds = (0.02 + tokens * 1e-4) * (slot == 0 ? 1 : 3);
    Outcome o;
    o.lease = LeaseId(static_cast<std::uint64_t>(k) + 1);
    o.slot = slot;
    o.row = row_of(tokens, 4000);
    o.placed_at = now;
    f.arrival(now, 2);
    f.placed(now, o, f.forecast(now, slot, o.row, 0), /*streamed=*/true);
    now += from_s(seconds);
    o.ttft_ms = seconds * 1e3;
    f.first_token(now, o);
    o.output_tokens = 50;
    o.tpot_ms = 20;
    o.e2e_ms = seconds * 1e3 + 49 * 20;
    o.disposition = Disposition::kLearn;
    now += kSecond;
    f.settled(now, o);
  }
}

std::string taught(int requests = 200) {
  Forecaster f;
  teach(f, requests);
  const ForecastState states[] = {{"lodestar", "m", f.snapshot()}, {"lodestar", "", {}}};
  return encode_forecasts(states);
}

std::string with_checksum(std::string bytes) {
  const std::uint64_t h = siphash13({}, std::string_view(bytes).substr(0, bytes.size() - 8));
  for (std::size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<char>(h >> (8 * i));
  return bytes;
}

TEST(ForecastFile, APredictionSurvivesTheRoundTrip) {
  Forecaster before;
  teach(before, 200);
  const ForecastState states[] = {{"lodestar", "a/b", before.snapshot()}};
  const std::string bytes = encode_forecasts(states);
  const auto back = decode_forecasts(bytes);
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->size(), 1u);
  EXPECT_EQ(back->front().policy, "lodestar");
  EXPECT_EQ(back->front().served_model, "a/b");
  EXPECT_EQ(encode_forecasts(*back), bytes);  // one state, one file

  Forecaster after;
  after.up(0, "slow");  // another order, and one more
  after.up(1, "fast");
  after.up(2, "new");
  after.restore(back->front().snapshot);
  const FeatureRow row = row_of(1000, 4000);
  const TimeNs now = 1000 * kSecond;
  const double fast_s = before.forecast(now, 0, row, 0).ttft;
  const double slow_s = before.forecast(now, 1, row, 0).ttft;
  EXPECT_GT(slow_s, 2 * fast_s);
  EXPECT_DOUBLE_EQ(after.forecast(now, 0, row, 0).ttft, slow_s);
  EXPECT_DOUBLE_EQ(after.forecast(now, 1, row, 0).ttft, fast_s);
  // The intervals are the fleet's, not those of a learner that saw nothing.
  const Forecast f = after.forecast(now, 2, row, 0);
  EXPECT_EQ(after.ttft_quantile(2, f, Calibration::kHigh) / f.ttft,
            back->front().snapshot.idle.ratio(Calibration::kHigh));
  EXPECT_NE(back->front().snapshot.idle.samples(), 0u);
}

// The next process has another clock: a time of this one would make evidence explode.
TEST(ForecastFile, TimesAndFreshEvidenceStayBehind) {
  const auto back = decode_forecasts(taught());
  ASSERT_TRUE(back);
  for (const auto& [name, known] : back->front().snapshot.instances) {
    EXPECT_EQ(known.ttft.last_at, kNever) << name;
    EXPECT_LE(known.ttft.evidence, 20) << name;
    EXPECT_GT(known.ttft.samples, 50u) << name;
  }
}

TEST(ForecastFile, DamageIsRefused) {
  const std::string bytes = taught();
  for (std::size_t n = 0; n < bytes.size(); n += 1 + n / 16)
    EXPECT_FALSE(decode_forecasts(std::string_view(bytes).substr(0, n))) << n;
  EXPECT_FALSE(decode_forecasts(bytes + "x"));
  for (std::size_t i = 0; i < bytes.size(); i += 1 + i / 16) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x10);
    EXPECT_FALSE(decode_forecasts(broken)) << i;
  }
}

TEST(ForecastFile, TheErrorNamesWhatDiffers) {
  const auto message = [](std::size_t at, char value) {
    std::string bytes = taught();
    bytes[at] = value;
    const auto decoded = decode_forecasts(with_checksum(bytes));
    return decoded ? std::string("accepted") : decoded.error().message;
  };
  EXPECT_THAT(message(0, 'X'), HasSubstr("LODEPRED"));
  EXPECT_THAT(message(kVersionAt, 9), HasSubstr("format version is 9, this build has 1"));
  EXPECT_THAT(message(kKindAt, 1), HasSubstr("kind is 1, this build has 2"));
  EXPECT_THAT(message(kSetAt, 99), HasSubstr("feature set is 99"));
  EXPECT_THAT(message(kHashAt, 0), HasSubstr("its terms are others"));
  EXPECT_THAT(message(kCountAt, 1), HasSubstr("too many"));
  EXPECT_THAT(message(kCountAt, 3), HasSubstr("cut off"));
  EXPECT_THAT(message(kCountAt + 1, 9), HasSubstr("states"));
  std::string damaged = taught();
  damaged[200] = static_cast<char>(damaged[200] ^ 1);
  EXPECT_THAT(decode_forecasts(damaged).error().message, HasSubstr("checksum"));
}

// A correct checksum makes no number true.
TEST(ForecastFile, NumbersThatMakeNoSenseAreRefused) {
  const auto broken = [](auto&& change) {
    Forecaster f;
    teach(f, 50);
    ForecastState state{"lodestar", "m", f.snapshot()};
    change(state.snapshot);
    const auto decoded = decode_forecasts(encode_forecasts({&state, 1}));
    return decoded ? std::string("accepted") : decoded.error().message;
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(broken([](auto&) {}), "accepted");
  EXPECT_THAT(broken([](auto& s) { s.ttft.shape[0] = kNan; }), HasSubstr("no sense"));
  EXPECT_THAT(broken([](auto& s) { s.tpot.shape[1] = -1; }), HasSubstr("no sense"));
  EXPECT_THAT(broken([](auto& s) { s.instances.at("slow").ttft.pace = 0; }), HasSubstr("no sense"));
  EXPECT_THAT(broken([](auto& s) { s.instances.at("slow").tpot.stats.xx[0] = -1; }),
              HasSubstr("no sense"));
  EXPECT_THAT(broken([](auto& s) { s.output_tokens = kNan; }), HasSubstr("no sense"));
}

}  // namespace
}  // namespace lodestar::learn
