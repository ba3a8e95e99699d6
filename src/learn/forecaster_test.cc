// SPDX-License-Identifier: Apache-2.0
// What a Forecaster learns from labels, whole and cut off; what it keeps and forgets.
#include "learn/forecaster.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "learn/forecaster_testing.h"

namespace lodestar::learn {
namespace {

using testing::Bench;
using testing::feed;
using testing::prefill_s;

void up(Bench& b, int n) {
  for (int k = 0; k < n; ++k)
    b.f.up(static_cast<Forecaster::Slot>(k), std::string(1, static_cast<char>('a' + k)));
}

TEST(Forecaster, LearnsAQueueAndItsPace) {
  for (const double pace : {0.1, 1.0, 10.0}) {
    Bench b;
    up(b, 1);
    Rng rng(1);
    feed(b, 0, 300, pace, rng);
    EXPECT_LT(feed(b, 0, 300, pace, rng), 0.25) << "pace " << pace;
    EXPECT_NEAR(std::log(b.predict(0, Bench::row(2000)).ttft / prefill_s(2000, pace)), 0, 0.12);
    const LearnStats s = b.stats();
    EXPECT_EQ(s.samples, 600u);
    EXPECT_EQ(s.last_update, b.now);
    EXPECT_TRUE(s.trained);
  }
}

TEST(Forecaster, EachInstanceHasItsOwnPace) {
  Bench b;
  up(b, 3);
  Rng rng(2);
  const double pace[] = {1, 1, 5};
  for (int round = 0; round < 20; ++round)
    for (Forecaster::Slot s = 0; s < 3; ++s) feed(b, s, 10, pace[s], rng);
  for (Forecaster::Slot s = 0; s < 3; ++s)
    EXPECT_NEAR(std::log(b.predict(s, Bench::row(2000)).ttft / prefill_s(2000, pace[s])), 0, 0.15);
  // Part of the difference is in its shape: the pace says the direction.
  EXPECT_GT(b.instance("c").pace / b.instance("a").pace, 2);
}

// The intervals that were announced, as the metric counts them.
TEST(Forecaster, ItsIntervalsHoldWhatTheyPromise) {
  Bench b;
  up(b, 1);
  Rng rng(3);
  feed(b, 0, 300, 1, rng, 0.6, 0.2);
  const auto before = b.instance("a");
  feed(b, 0, 3000, 1, rng, 0.6, 0.2);
  const auto after = b.instance("a");
  const double share = static_cast<double>(after.ttft_inside - before.ttft_inside) /
                       static_cast<double>(after.ttft_samples - before.ttft_samples);
  EXPECT_GE(share, 0.87);
  EXPECT_LE(share, 0.93);
}

// Prequential: coverage and error are of the forecast that the decision used, whatever
// was learned since.
TEST(Forecaster, TheForecastOfTheDecisionIsJudgedAndLearnedFrom) {
  Bench b;
  up(b, 1);
  const Forecast early = b.predict(0, Bench::row(1000));
  Outcome o = b.place(0, Bench::row(1000), early, true);
  b.wait(3);
  b.first(o);
  const LearnStats s = b.stats();
  EXPECT_NEAR(s.absolute_error_ms_sum, (3 - early.ttft) * 1e3, 1e-6);
  EXPECT_NEAR(s.relative_error_sum, (3 - early.ttft) / 3, 1e-9);
}

// ---- cut-off labels ------------------------------------------------------------------

TEST(Forecaster, AnAbortBeforeThePredictionTeachesNothing) {
  Bench b;
  up(b, 1);
  Rng rng(4);
  feed(b, 0, 100, 1, rng);
  const auto before = b.f.snapshot();
  for (int k = 0; k < 50; ++k) {
    Outcome o = b.place(0, Bench::row(3000));
    b.wait(0.1);
    b.abort(o);
    b.wait(5);
  }
  const auto after = b.f.snapshot();
  EXPECT_EQ(after.ttft.shape, before.ttft.shape);
  EXPECT_EQ(after.instances.at("a").ttft.pace, before.instances.at("a").ttft.pace);
  EXPECT_EQ(b.stats().samples_censored, 50u);
  EXPECT_EQ(b.stats().samples, 100u);
}

TEST(Forecaster, AnAbortBeyondThePredictionPushesItUp) {
  Bench b;
  up(b, 1);
  Rng rng(5);
  feed(b, 0, 100, 1, rng);
  double last = b.predict(0, Bench::row(1000)).ttft;
  for (int k = 0; k < 10; ++k) {
    Outcome o = b.place(0, Bench::row(1000));
    b.wait(20 * last);
    b.abort(o, k % 2 == 0 ? Disposition::kIgnore : Disposition::kPunish);
    b.wait(5);
    const double now = b.predict(0, Bench::row(1000)).ttft;
    EXPECT_GT(now, last);
    last = now;
  }
  EXPECT_GT(last, 2 * prefill_s(1000));
}

// An abort after the first token has its label already, and no end.
TEST(Forecaster, AnAbortWhileDecodingIsNotCensoredOnceMore) {
  Bench b;
  up(b, 1);
  Outcome o = b.place(0, Bench::row(1000));
  b.wait(0.2);
  b.first(o);
  const auto before = b.f.snapshot();
  b.wait(100);
  b.abort(o);
  EXPECT_EQ(b.stats().samples_censored, 0u);
  EXPECT_EQ(b.f.snapshot().instances.at("a").ttft.pace, before.instances.at("a").ttft.pace);
}

// ---- leaving and coming back -------------------------------------------------------------

TEST(Forecaster, ANameThatComesBackResumesItsPaceButIsNotTrustedBlindly) {
  Bench b;
  up(b, 2);
  Rng rng(6);
  for (int round = 0; round < 10; ++round) {
    feed(b, 0, 20, 1, rng);
    feed(b, 1, 20, 6, rng);
  }
  b.f.down(1);
  b.f.up(1, "b");
  // The pace comes back; what its shape said beyond that must be learned again.
  EXPECT_NEAR(std::log(b.predict(1, Bench::row(2000)).ttft / prefill_s(2000, 6)), 0, 0.4);
  // It is another machine now: a handful of samples says so.
  feed(b, 1, 6, 1, rng);
  EXPECT_NEAR(std::log(b.predict(1, Bench::row(2000)).ttft / prefill_s(2000, 1)), 0, 0.5);
  b.f.down(1);
  b.f.up(1, "somebody else");
  EXPECT_EQ(b.instance("somebody else").samples, 0u);
}

// Reports about the life before reach the slot's next tenant: they are not about it.
TEST(Forecaster, ReportsOfAnEarlierTenantOfTheSlotTeachTheNextNothing) {
  Bench b;
  up(b, 1);
  Rng rng(7);
  feed(b, 0, 50, 1, rng);
  Outcome first = b.place(0, Bench::row(1000)), failed = b.place(0, Bench::row(1000)),
          ended = b.place(0, Bench::row(1000), /*streamed=*/false);
  b.f.down(0);
  const auto before = b.f.snapshot();
  b.f.up(0, "next");
  b.wait(60);
  b.first(first);
  b.end(first, 100);
  b.abort(failed, Disposition::kPunish);
  b.end(ended, 100);
  const auto after = b.f.snapshot();
  EXPECT_EQ(after.instances.at("next").ttft.samples, 0u);
  EXPECT_EQ(after.instances.at("next").tpot.samples, 0u);
  EXPECT_EQ(after.instances.at("next").e2e_pace, 1);
  EXPECT_EQ(after.ttft.shape, before.ttft.shape);
  EXPECT_EQ(after.output_tokens, before.output_tokens);
  EXPECT_TRUE(b.f.idle(0));
  EXPECT_EQ(b.stats().residents, 0u);
}

// ---- keeping ------------------------------------------------------------------------------

TEST(Forecaster, ASnapshotRestoresWhatWasLearned) {
  Bench b;
  up(b, 2);
  Rng rng(8);
  feed(b, 0, 200, 0.5, rng);
  feed(b, 1, 200, 4, rng);
  const auto snapshot = b.f.snapshot();
  Bench same;  // instances known before the restore
  same.now = b.now;
  up(same, 2);
  same.f.restore(snapshot);
  for (Forecaster::Slot s = 0; s < 2; ++s) {
    const Forecast x = b.predict(s, Bench::row(1500, 200, 3000));
    const Forecast y = same.predict(s, Bench::row(1500, 200, 3000));
    EXPECT_EQ(x.ttft, y.ttft);
    EXPECT_EQ(x.own, y.own);
    EXPECT_EQ(x.output_tokens, y.output_tokens);
  }
  Bench after;  // instances that come up after it
  after.f.restore(snapshot);
  up(after, 2);
  EXPECT_NEAR(std::log(after.predict(1, Bench::row(2000)).ttft / prefill_s(2000, 4)), 0, 0.4);
  EXPECT_NEAR(std::log(after.predict(0, Bench::row(2000)).ttft / prefill_s(2000, 0.5)), 0, 0.4);
}

TEST(Forecaster, APoisonedSnapshotIsNotTaken) {
  Bench b;
  up(b, 1);
  Rng rng(9);
  feed(b, 0, 100, 1, rng);
  const auto good = b.f.snapshot();
  for (int part = 0; part < 4; ++part) {
    auto bad = good;
    if (part == 0) bad.ttft.shape[0] = std::nan("");
    if (part == 1) bad.instances.at("a").ttft.pace = std::numeric_limits<double>::infinity();
    if (part == 2) bad.instances.at("a").tpot.stats.xy[1] = std::nan("");
    if (part == 3) bad.output_tokens = -std::nan("");
    b.f.restore(bad);
    EXPECT_TRUE(b.predict(0, Bench::row(1000)).finite()) << part;
    EXPECT_EQ(b.f.snapshot().ttft.shape, good.ttft.shape) << part;
  }
  EXPECT_EQ(b.stats().rounds_failed, 4u);
}

// Labels of pure noise for a while (a broken clock): what was good before comes back.
TEST(Forecaster, RollsBackWhenItPredictsFarWorseThanBefore) {
  Bench b;
  up(b, 1);
  Rng rng(10);
  feed(b, 0, 1100, 1, rng, 0.3);
  EXPECT_EQ(b.stats().rollbacks, 0u);
  int noise = 0;
  while (b.stats().rollbacks == 0 && noise < 3000) {
    ++noise;
    Outcome o = b.place(0, Bench::row(200 + 3800 * rng.uniform()));
    b.wait(std::exp(16 * rng.uniform() - 8));
    b.first(o);
    b.end(o, 20);
    b.wait(1);
  }
  EXPECT_EQ(b.stats().rollbacks, 1u);
  EXPECT_GT(noise, 200) << "not at the first strange label";
  EXPECT_LT(noise, 600);
  EXPECT_NEAR(std::log(b.predict(0, Bench::row(2000)).ttft / prefill_s(2000)), 0, 0.15);
  feed(b, 0, 50, 1, rng, 0.3);
  EXPECT_EQ(b.stats().rollbacks, 1u);
}

TEST(Forecaster, FrozenItWatchesButLearnsNothing) {
  Bench b;
  up(b, 1);
  Rng rng(11);
  feed(b, 0, 200, 1, rng);
  const TimeNs updated = b.stats().last_update;
  const auto before = b.f.snapshot();
  b.f.freeze(true);
  b.wait(60);
  const double high = b.f.ttft_quantile(0, b.predict(0, Bench::row(1000)), 5);
  feed(b, 0, 200, 8, rng);
  b.wait(600);
  const auto after = b.f.snapshot();
  EXPECT_EQ(after.ttft.shape, before.ttft.shape);
  EXPECT_EQ(after.instances.at("a").ttft.pace, before.instances.at("a").ttft.pace);
  EXPECT_EQ(after.instances.at("a").e2e_pace, before.instances.at("a").e2e_pace);
  EXPECT_EQ(after.output_tokens, before.output_tokens);
  EXPECT_EQ(b.f.ttft_quantile(0, b.predict(0, Bench::row(1000)), 5), high);
  EXPECT_EQ(b.stats().last_update, updated) << "its age is what an alarm looks at";
  EXPECT_GT(b.stats().recent_mape, 0.2) << "and the error shows that it went stale";
  b.f.freeze(false);
  feed(b, 0, 30, 8, rng);
  EXPECT_GT(b.stats().last_update, updated);
}

TEST(Forecaster, TheSameReportsGiveTheSameBits) {
  const auto run = [](std::uint64_t seed) {
    Bench b;
    up(b, 2);
    Rng rng(seed);
    for (int k = 0; k < 5; ++k) feed(b, static_cast<Forecaster::Slot>(k % 2), 50, 1 + k, rng);
    return b.f.state_hash();
  };
  EXPECT_EQ(run(12), run(12));
  EXPECT_NE(run(12), run(13));
}

}  // namespace
}  // namespace lodestar::learn
