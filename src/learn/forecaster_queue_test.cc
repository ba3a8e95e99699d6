// SPDX-License-Identifier: Apache-2.0
// The books of what waits for prefill: what enters, what leaves and when.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "learn/forecaster_testing.h"

namespace lodestar::learn {
namespace {

using testing::Bench;

Bench one() {
  Bench b;
  b.f.up(0, "a");
  return b;
}
double ahead(const Forecast& f) { return f.ttft_terms[kTokens] * 1e3 - f.own_tokens; }

TEST(ForecasterQueue, AnEmptyQueueHasNobodyAhead) {
  Bench b = one();
  const Forecast f = b.predict(0, Bench::row(1000, 400));
  EXPECT_FALSE(f.queued);
  EXPECT_EQ(f.own_tokens, 600);
  EXPECT_EQ(f.own_attention, 600.0 * (400 + 300));
  EXPECT_EQ(ahead(f), 0);
  EXPECT_EQ(f.ttft_terms[kRequests], 0);
  EXPECT_TRUE(b.f.idle(0));
}

// A learned correction of the belief applies; a hit can never exceed the prompt.
TEST(ForecasterQueue, HitsAreCorrectedAndBounded) {
  Bench b = one();
  FeatureRow r = Bench::row(1000, 800);
  r.hit_correction = 0.5;
  EXPECT_EQ(b.predict(0, r).own_tokens, 600);
  r.hit_correction = 1.5;
  EXPECT_EQ(b.predict(0, r).own_tokens, 0);
}

// The rest of the work ahead goes down as time passes, the wait with it, and is never
// below a small rest while the head has no first token.
TEST(ForecasterQueue, WhatIsAheadDrains) {
  Bench b = one();
  b.place(0, Bench::row(3000));
  b.place(0, Bench::row(2000));
  const double whole_s = b.predict(0, Bench::row(1)).wait;
  double last = ahead(b.predict(0, Bench::row(1)));
  EXPECT_NEAR(last, 5000, 10);
  for (int k = 0; k < 6; ++k) {
    b.wait(whole_s / 12);
    const double now = ahead(b.predict(0, Bench::row(1)));
    EXPECT_LT(now, last);
    EXPECT_GT(now, 0);
    last = now;
  }
  EXPECT_NEAR(last, 2500, 300) << "half of the predicted time, half of the work";
}

TEST(ForecasterQueue, AHeadThatIsOverdueRaisesTheWait) {
  Bench b = one();
  b.place(0, Bench::row(1000));
  const double head_s = b.predict(0, Bench::row(1)).wait;
  b.wait(head_s + 0.05);
  const double in_time = b.predict(0, Bench::row(1)).wait;
  b.wait(2);
  const double late = b.predict(0, Bench::row(1)).wait;
  b.wait(2);
  const double later = b.predict(0, Bench::row(1)).wait;
  EXPECT_GT(late, in_time + 0.8);
  EXPECT_NEAR(later - late, 1, 0.01) << "half of what it is late";
}

TEST(ForecasterQueue, FirstTokensMayComeInAnyOrder) {
  Bench b = one();
  Outcome a = b.place(0, Bench::row(3000)), c = b.place(0, Bench::row(500));
  b.wait(0.05);
  b.first(c);
  EXPECT_NEAR(ahead(b.predict(0, Bench::row(1))), 3000, 600);
  EXPECT_EQ(b.predict(0, Bench::row(1)).ttft_terms[kRequests], 1);
  b.wait(0.3);
  b.first(a);
  EXPECT_TRUE(b.f.idle(0));
  EXPECT_EQ(ahead(b.predict(0, Bench::row(1))), 0);
}

// The head's client goes away after ten seconds. Who is next has been served for no time
// at all, so it is not late, and nobody behind it must think so.
TEST(ForecasterQueue, WhoFollowsAnAbortedHeadIsNotLate) {
  Bench b = one();
  Outcome head = b.place(0, Bench::row(100'000));
  b.place(0, Bench::row(1000));
  b.wait(10);
  b.abort(head);
  Bench fresh = one();
  fresh.place(0, Bench::row(1000));
  const double expected = fresh.predict(0, Bench::row(1)).wait;
  EXPECT_LT(b.predict(0, Bench::row(1)).wait, 1.5 * expected);
}

// Whatever happens in whatever order: the sums are those of what is pending, and when
// nothing is, they are exactly 0.
TEST(ForecasterQueue, SumsReturnToExactlyZero) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Bench b = one();
    Rng rng(seed);
    std::vector<Outcome> pending, decoding;
    double tokens = 0;
    const auto take = [&](std::vector<Outcome>& from) {
      const std::size_t k = rng.below(from.size());
      const Outcome o = from[k];
      from.erase(from.begin() + static_cast<std::ptrdiff_t>(k));
      return o;
    };
    for (int step = 0; step < 400; ++step) {
      b.wait(0.02 * rng.uniform());
      const std::uint64_t what = rng.below(step < 300 ? 6 : 2);
      if (what >= 3) {
        const double prompt = 1 + 5000 * rng.uniform() / 3;
        pending.push_back(b.place(0, Bench::row(prompt, prompt * rng.uniform())));
      } else if (what == 0 && !pending.empty()) {
        decoding.push_back(take(pending));
        b.first(decoding.back());
      } else if (what == 1 && !pending.empty()) {
        Outcome o = take(pending);
        b.abort(o, rng.below(2) == 0 ? Disposition::kIgnore : Disposition::kPunish);
      } else if (what == 2 && !decoding.empty()) {
        Outcome o = take(decoding);
        b.end(o, 5);
      }
      tokens = 0;
      for (const Outcome& o : pending) tokens += o.row.prompt_tokens - o.row.hit_tokens;
      const Forecast f = b.predict(0, Bench::row(1));
      ASSERT_LE(ahead(f), tokens * (1 + 1e-9) + 1e-6);
      ASSERT_GE(ahead(f), 0);
      ASSERT_EQ(f.ttft_terms[kRequests], static_cast<double>(pending.size()));
    }
    for (Outcome& o : pending) b.abort(o);
    const Forecast f = b.predict(0, Bench::row(1000));
    EXPECT_EQ(ahead(f), 0);
    EXPECT_EQ(f.ttft_terms[kAttention] * 1e6, f.own_attention);
    EXPECT_FALSE(f.queued);
    for (Outcome& o : decoding) b.abort(o);
    EXPECT_EQ(b.stats().residents, 0u);
  }
}

// ---- answers that are not streamed ------------------------------------------------

TEST(ForecasterQueue, AnAnswerThatIsNotStreamedLeavesWhenItWasPredicted) {
  Bench b = one();
  const Forecast f = b.predict(0, Bench::row(2000));
  Outcome o = b.place(0, Bench::row(2000), f, /*streamed=*/false);
  b.wait(f.ttft * 0.9);
  EXPECT_TRUE(b.predict(0, Bench::row(1)).queued);
  b.wait(f.ttft * 0.2);
  const Forecast after = b.predict(0, Bench::row(1));
  EXPECT_FALSE(after.queued) << "also when nothing else was placed there since";
  EXPECT_EQ(ahead(after), 0);
  b.wait(20);  // it decodes; nothing shows
  EXPECT_LT(b.predict(0, Bench::row(1)).wait, 0.1) << "it is not taken for overdue";
  b.end(o, 300);
  EXPECT_TRUE(b.f.idle(0));
}

// Its E2E is a label, its TTFT is unknown: never set to the E2E.
TEST(ForecasterQueue, AnAnswerThatIsNotStreamedTrainsItsEndOnly) {
  Bench b = one();
  const auto before = b.f.snapshot();
  for (int k = 0; k < 30; ++k) {
    Outcome o = b.place(0, Bench::row(1000), /*streamed=*/false);
    b.wait(30);
    b.end(o, 200);
  }
  const auto after = b.f.snapshot();
  EXPECT_EQ(after.ttft.samples, 0);
  EXPECT_EQ(after.ttft.shape, before.ttft.shape);
  EXPECT_EQ(after.instances.at("a").ttft.samples, 0u);
  EXPECT_EQ(after.instances.at("a").ttft.pace, 1);
  EXPECT_EQ(after.instances.at("a").tpot.samples, 0u);
  EXPECT_GT(after.instances.at("a").e2e_pace, 2) << "30 s for 200 tokens is slow";
  const LearnStats s = b.stats();
  EXPECT_EQ(s.samples, 0u);
  EXPECT_EQ(s.unlabelled, 30u);
  EXPECT_EQ(s.e2e_predictions, 30u);
  EXPECT_NEAR(std::log(b.predict(0, Bench::row(1000)).e2e / 30), 0, 0.4);
}

// A client that gives up after half a minute says nothing of a first token that was never
// to be seen.
TEST(ForecasterQueue, AnAbortedAnswerThatIsNotStreamedIsNoLateFirstToken) {
  Bench b = one();
  const double before = b.predict(0, Bench::row(1000)).ttft;
  for (int k = 0; k < 10; ++k) {
    Outcome o = b.place(0, Bench::row(1000), /*streamed=*/false);
    b.wait(30);
    b.abort(o);
  }
  EXPECT_EQ(b.predict(0, Bench::row(1000)).ttft, before);
  EXPECT_EQ(b.stats().samples_censored, 0u);
}

// ---- what cannot be used ------------------------------------------------------------

TEST(ForecasterQueue, AnEndWithoutUsageTeachesNoLength) {
  Bench b = one();
  const auto before = b.f.snapshot();
  Outcome o = b.place(0, Bench::row(1000));
  b.wait(0.3);
  b.first(o);
  b.wait(2);
  b.end(o, 0);
  const auto after = b.f.snapshot();
  EXPECT_EQ(after.output_tokens, before.output_tokens);
  EXPECT_EQ(after.instances.at("a").tpot.samples, 0u);
  EXPECT_EQ(after.instances.at("a").ttft.samples, 1u);
}

TEST(ForecasterQueue, ARowThatIsNotANumberIsRefusedAndPoisonsNothing) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, inf, -inf}) {
    Bench b = one();
    FeatureRow r = Bench::row(1000, 0, 5000);
    r.prompt_tokens = bad;
    const Forecast f = b.predict(0, r);
    EXPECT_FALSE(f.finite());
    Outcome o = b.place(0, r);                    // the fallback placed it all the same
    Outcome p = b.place(0, r, /*streamed=*/false);
    EXPECT_TRUE(b.predict(0, Bench::row(1000)).finite()) << "while it is in flight";
    b.wait(1);
    b.first(o);
    b.end(o, 20);
    b.end(p, 20);
    const LearnStats s = b.stats();
    EXPECT_EQ(s.samples, 0u);
    EXPECT_EQ(s.samples_unusable, 1u);
    EXPECT_EQ(s.residents, 0u);
    EXPECT_TRUE(b.predict(0, Bench::row(1000)).finite());
  }
}

// A gauge of NaN (0 / 0 in somebody's exporter) must not cost an instance its forecasts.
TEST(ForecasterQueue, AGaugeThatIsNotANumberIsIgnored) {
  Bench b = one();
  FeatureRow r = Bench::row(1000, 0, 20'000);
  r.kv_capacity_tokens = 40'000;
  r.scrape_known = 1;
  r.kv_usage = std::nan("");
  Outcome o = b.place(0, r);
  b.wait(0.2);
  b.first(o);
  r.kv_usage = 0.5;
  EXPECT_TRUE(b.predict(0, r).finite());
}

// Whatever is not a number must show as that. (max() can turn a NaN into the smallest
// time there is, which no other candidate beats.)
TEST(ForecasterQueue, NoFeatureThatIsNotANumberLooksFast) {
  double FeatureRow::* const fields[] = {
      &FeatureRow::prompt_tokens,         &FeatureRow::hit_tokens,
      &FeatureRow::hit_correction,        &FeatureRow::pending_prompt_tokens,
      &FeatureRow::decode_context_tokens, &FeatureRow::inflight_decode,
      &FeatureRow::kv_capacity_tokens};
  for (const auto field : fields) {
    Bench b = one();
    FeatureRow r = Bench::row(1000, 0, 5000);
    r.kv_capacity_tokens = 40'000;
    r.*field = std::nan("");
    EXPECT_FALSE(b.predict(0, r).finite()) << "field " << (&(r.*field) - &r.prompt_tokens);
  }
}

TEST(ForecasterQueue, ReportsOfUnknownLeasesAreIgnored) {
  Bench b = one();
  Outcome o;
  o.lease = LeaseId(99);
  o.ttft_ms = 5;
  b.f.first_token(b.now, o);
  b.end(o, 10);
  EXPECT_EQ(b.stats().samples, 0u);
}

// KV cache full by our books: the next prompt waits until answers end.
TEST(ForecasterQueue, AFullCacheIsAWait) {
  Bench b = one();
  FeatureRow r = Bench::row(2000, 0, 10'000);
  r.kv_capacity_tokens = 40'000;
  const double roomy = b.predict(0, r).ttft_terms[kMemory];
  r.decode_context_tokens = 39'500;
  const double full = b.predict(0, r).ttft_terms[kMemory];
  EXPECT_LT(roomy, 1e-6);
  EXPECT_NEAR(full, 1500 * 5.0 / 39'500, 0.02) << "1,500 tokens short, 39,500 come back in 5 s";
  r.kv_capacity_tokens = 0;
  EXPECT_EQ(b.predict(0, r).ttft_terms[kMemory], 0) << "unknown capacity: no opinion";
}

}  // namespace
}  // namespace lodestar::learn
