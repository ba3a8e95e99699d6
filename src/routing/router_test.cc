// SPDX-License-Identifier: Apache-2.0
// The life of a request through the router, with a policy of the test's own. Every
// catalog policy runs through the same router in tests/conformance.
#include "routing/router.h"

#include <gtest/gtest.h>

#include <limits>

namespace lodestar {
namespace {

// Does as it is told, and writes down what it was shown.
class ToldPolicy final : public Policy {
 public:
  struct Script {
    std::size_t pick = 0;
    std::vector<Decision::Choice> choices;  // instead of pick
    Decision::Kind kind = Decision::Kind::kPlace;
    std::vector<FeatureRow> rows;           // of the last decision
    std::vector<InstanceId> candidates;
    double prompt_tokens = 0;
    std::vector<Outcome> placed, first, settled;
    std::vector<RequestId> forgotten, to_reconsider;
  };
  explicit ToldPolicy(Script* script) : s_(script) {}
  Needs needs() const override { return {.prefix = true, .progress = true}; }
  void decide(const DecisionContext& c, Decision& out, PolicyActions&) override {
    s_->rows.assign(c.rows.begin(), c.rows.end());
    s_->prompt_tokens = c.request.prompt_tokens;
    s_->candidates.clear();
    for (std::size_t i = 0; i < c.candidates.size(); ++i)
      s_->candidates.push_back(c.instance(i).info.id);
    out.kind = c.reconsidered ? Decision::Kind::kPlace : s_->kind;
    out.retry_after = 7;
    if (out.kind != Decision::Kind::kPlace) return;
    out.place(s_->pick, "told");
    if (!s_->choices.empty()) out.choices = s_->choices;
  }
  void on_placed(TimeNs, const RequestInfo&, const Outcome& o, PolicyActions&) override {
    s_->placed.push_back(o);
  }
  void on_first_token(TimeNs, const Outcome& o, PolicyActions&) override { s_->first.push_back(o); }
  void on_settled(TimeNs, const Outcome& o, PolicyActions&) override { s_->settled.push_back(o); }
  void on_forgotten(TimeNs, RequestId r) override { s_->forgotten.push_back(r); }
  void on_timer(TimeNs, const Fleet&, PolicyActions& a) override {
    a.reconsider = s_->to_reconsider;
  }

 private:
  Script* s_;
};

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() { reset({}); }
  void reset(RouterConfig config) {
    config.policy = "told";
    auto made =
        Router::create(config, [this](std::string_view name) -> Result<std::unique_ptr<Policy>> {
          if (name != "told") return fail(ErrorCode::kNotFound, "unknown policy");
          return std::make_unique<ToldPolicy>(&script);
        });
    router = std::move(made.value());
  }
  void up(std::uint32_t id, Incarnation incarnation = 1) {
    InstanceInfo info;
    info.id = InstanceId(id);
    info.incarnation = incarnation;
    info.kv_capacity_tokens = 16000;
    info.max_model_len = 5000;
    info.served_models = {"m"};
    router->handle(now, InstanceUp{info});
  }
  RequestInfo request(double tokens = 1600, std::uint64_t tag = 1, std::size_t blocks = 100) {
    RequestInfo r;
    r.served_model = "m";
    r.prompt_tokens = tokens;
    r.block_tokens = 16;
    for (std::size_t i = 0; i < blocks; ++i) r.block_hashes.push_back(tag * 1000 + i);
    return r;
  }
  template <class E>
  const E* find(const Effects& effects) {
    for (const Effect& e : effects)
      if (const auto* x = std::get_if<E>(&e)) return x;
    return nullptr;
  }
  Dispatch place(std::uint64_t id, RequestInfo info) {
    const Effects effects = router->handle(now, RequestArrived{RequestId(id), std::move(info)});
    const auto* d = find<Dispatch>(effects);
    EXPECT_NE(d, nullptr);
    return d != nullptr ? *d : Dispatch{};
  }
  const OwnLoad& own(std::uint32_t id) {
    return router->fleet().at(router->fleet().find(InstanceId(id))).own;
  }

  ToldPolicy::Script script;
  std::unique_ptr<Router> router;
  TimeNs now = kSecond;
};

TEST_F(RouterTest, UnknownDefaultPolicyIsAnErrorAtTheStart) {
  RouterConfig config;
  config.policy = "nonsense";
  const auto made = Router::create(config, [](std::string_view) -> Result<std::unique_ptr<Policy>> {
    return fail(ErrorCode::kNotFound, "no such policy");
  });
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().message, "no such policy");
}

TEST_F(RouterTest, ALifeFromArrivalToEnd) {
  up(1);
  up(2);
  script.pick = 1;
  const Dispatch d = place(5, request());
  EXPECT_EQ(d.placements[0].instance, InstanceId(2));
  EXPECT_EQ(d.reason, "told");
  EXPECT_EQ(d.fallbacks, std::vector<InstanceId>{InstanceId(1)});
  EXPECT_EQ(own(2).inflight, 1);
  EXPECT_EQ(own(2).pending_prompt_tokens, 1600);
  EXPECT_EQ(own(2).pending_uncached_tokens, 1600);
  const LeaseId lease = d.placements[0].lease;

  now += 200 * kMillisecond;
  router->handle(now, FirstToken{lease});
  EXPECT_EQ(own(2).inflight_prefill, 0);
  EXPECT_EQ(own(2).inflight_decode, 1);
  EXPECT_EQ(own(2).decode_context_tokens, 1601);
  ASSERT_EQ(script.first.size(), 1u);
  EXPECT_DOUBLE_EQ(*script.first[0].ttft_ms, 200);

  router->handle(now, TokenProgress{{{lease, 10}}});
  EXPECT_EQ(own(2).decode_generated_tokens, 11);
  now += 400 * kMillisecond;
  Ended end{lease, 21, {}, 0};
  end.usage.cached_tokens = 0;
  router->handle(now, end);
  ASSERT_EQ(script.settled.size(), 1u);
  const Outcome& o = script.settled[0];
  EXPECT_EQ(o.disposition, Disposition::kLearn);
  EXPECT_DOUBLE_EQ(*o.e2e_ms, 600);
  EXPECT_DOUBLE_EQ(*o.tpot_ms, 20);  // 400 ms over 20 tokens after the first
  EXPECT_EQ(o.output_tokens, 21);
  EXPECT_EQ(o.instance, InstanceId(2));
  EXPECT_EQ(own(2).inflight, 0);
  EXPECT_EQ(router->active_requests(), 0u);
}

// The request itself is never part of its own load features.
TEST_F(RouterTest, TheRowIsWhatWasKnownBeforeTheDecision) {
  up(1);
  place(1, request());
  EXPECT_EQ(script.rows[0].inflight, 0);
  EXPECT_EQ(script.placed[0].row.inflight, 0);
  now += kSecond;
  place(2, request());
  EXPECT_EQ(script.rows[0].inflight, 1);
  EXPECT_EQ(script.rows[0].hit_tokens, 1600);
  EXPECT_EQ(script.rows[0].hit_ratio, 1);
  EXPECT_DOUBLE_EQ(script.rows[0].hit_age_s, 1);
  EXPECT_EQ(own(1).pending_uncached_tokens, 1600) << "the second prompt is believed cached";
  place(3, request(800, 1, 50));
  EXPECT_EQ(script.rows[0].hit_tokens, 800) << "a hit is never longer than the prompt";
}

TEST_F(RouterTest, AStaleScrapeIsUnknownAndOwnBooksStandIn) {
  up(1);
  LoadSnapshot load;
  load.running = 9;
  load.waiting = 4;
  load.kv_usage = 0.5;
  load.taken_at = now;
  router->handle(now, Scraped{InstanceId(1), 1, load});
  place(1, request());
  EXPECT_EQ(script.rows[0].running, 9);
  EXPECT_EQ(script.rows[0].scrape_known, 1);
  now += 6 * kSecond;
  place(2, request(1600, 2));
  EXPECT_EQ(script.rows[0].scrape_known, 0);
  EXPECT_EQ(script.rows[0].running, 1) << "our own request, not the old gauge, not zero";
  EXPECT_DOUBLE_EQ(script.rows[0].kv_usage, 1600.0 / 16000);
  router->handle(now, Scraped{InstanceId(1), 7, load});
  EXPECT_EQ(router->counters().ignored_reports, 1u) << "a scrape of another incarnation";
}

TEST_F(RouterTest, CandidatesAreFilteredAndRejectionsSayWhy) {
  up(1);
  const auto reason = [&](RequestInfo info, std::uint64_t id) {
    const Effects effects = router->handle(now, RequestArrived{RequestId(id), std::move(info)});
    const auto* r = find<Reject>(effects);
    EXPECT_NE(r, nullptr);
    return r != nullptr ? r->reason : RejectReason::kPolicy;
  };
  RequestInfo other = request();
  other.served_model = "unknown";
  EXPECT_EQ(reason(other, 1), RejectReason::kUnknownModel);
  EXPECT_EQ(reason(request(6000), 2), RejectReason::kTooLong);
  router->handle(now, InstanceChanged{InstanceId(1), Health::kDraining});
  EXPECT_EQ(reason(request(), 3), RejectReason::kNoInstance);
  RequestInfo bad = request();
  bad.policy = "nonsense";
  router->handle(now, InstanceChanged{InstanceId(1), Health::kUp});
  EXPECT_EQ(reason(bad, 4), RejectReason::kPolicy);
  script.kind = Decision::Kind::kReject;
  EXPECT_EQ(reason(request(), 5), RejectReason::kPolicy);
  EXPECT_EQ(router->counters().rejected, 5u);
  EXPECT_EQ(router->active_requests(), 0u);
}

TEST_F(RouterTest, BytesBecomeTokensByWhatUsageTaught) {
  up(1);
  RequestInfo live;
  live.served_model = "m";
  live.prompt_bytes = 8000;
  live.block_bytes = 256;
  live.block_hashes = {1, 2, 3};
  const Dispatch d = place(1, live);
  EXPECT_EQ(script.prompt_tokens, 2000);
  Ended end{d.placements[0].lease, 5, {}, 0};
  end.usage.prompt_tokens = 4000;  // two bytes per token
  router->handle(now, end);
  place(2, live);
  EXPECT_NEAR(script.prompt_tokens, 4000, 1e-9);
  EXPECT_NEAR(script.rows[0].hit_tokens, 3 * 128, 1e-9) << "three blocks of 256 bytes";
}

TEST_F(RouterTest, ADepartedIncarnationOwnsNothing) {
  up(1);
  const Dispatch d = place(1, request());
  up(1, 2);
  EXPECT_EQ(own(1).inflight, 0);
  router->handle(now, FirstToken{d.placements[0].lease});
  router->handle(now, Ended{d.placements[0].lease, 3, {}, 0});
  EXPECT_EQ(own(1).inflight, 0) << "the end of an old lease is not the new life's";
  EXPECT_EQ(script.settled.size(), 1u) << "yet it settles";
  place(2, request());
  EXPECT_EQ(script.rows[0].hit_tokens, 0);
}

TEST_F(RouterTest, TheSameIncarnationUpAgainKeepsLoadAndCache) {
  up(1);
  place(1, request());
  router->handle(now, InstanceChanged{InstanceId(1), Health::kUnhealthy});
  up(1);
  EXPECT_EQ(own(1).inflight, 1);
  place(2, request());
  EXPECT_EQ(script.rows[0].hit_tokens, 1600);
}

TEST_F(RouterTest, EvictionEventsShortenTheMatch) {
  up(1);
  place(1, request());
  router->handle(now, KvEvicted{InstanceId(1), {1050, 999999}});
  place(2, request());
  EXPECT_EQ(script.rows[0].hit_tokens, 50 * 16);
}

TEST_F(RouterTest, AnInvalidDecisionLosesNoRequest) {
  up(1);
  up(2);
  place(1, request());
  script.pick = 99;
  const Dispatch d = place(2, request());
  EXPECT_EQ(d.placements[0].instance, InstanceId(2)) << "the least loaded";
  EXPECT_TRUE(d.fallback);
  EXPECT_EQ(router->counters().invalid_decisions, 1u);
}

TEST_F(RouterTest, HeldRequestsWaitForThePolicyAndCanBeAborted) {
  up(1);
  script.kind = Decision::Kind::kHold;
  EXPECT_NE(find<Hold>(router->handle(now, RequestArrived{RequestId(1), request()})), nullptr);
  EXPECT_NE(find<Hold>(router->handle(now, RequestArrived{RequestId(2), request()})), nullptr);
  router->handle(now, Aborted{RequestId(1)});
  EXPECT_EQ(script.forgotten, std::vector<RequestId>{RequestId(1)});
  script.to_reconsider = {RequestId(1), RequestId(2), RequestId(77)};
  const Effects effects = router->handle(now, Timer{});
  ASSERT_EQ(effects.size(), 1u);
  EXPECT_EQ(std::get<Dispatch>(effects[0]).request, RequestId(2));
}

TEST_F(RouterTest, AFailedPlacementOfAPairCancelsTheOther) {
  up(1);
  up(2);
  script.choices = {{0, Role::kPrefill, -1}, {1, Role::kDecode, 3}};
  const Dispatch d = place(1, request());
  ASSERT_EQ(d.placements.size(), 2u);
  EXPECT_EQ(d.placements[1].dp_rank, 3);
  const Effects effects = router->handle(
      now, AttemptFailed{RequestId(1), d.placements[1].lease, ErrorCode::kConnection});
  const auto* cancel = find<Cancel>(effects);
  ASSERT_NE(cancel, nullptr);
  EXPECT_EQ(cancel->lease, d.placements[0].lease);
  ASSERT_EQ(script.settled.size(), 2u);
  EXPECT_EQ(script.settled[0].disposition, Disposition::kIgnore);
  EXPECT_EQ(script.settled[1].disposition, Disposition::kPunish);
  EXPECT_NE(find<Dispatch>(effects), nullptr) << "placed again";
}

TEST_F(RouterTest, RetriesAvoidWhoFailedAndEndAfterMaxAttempts) {
  for (std::uint32_t id = 1; id <= 3; ++id) up(id);
  script.pick = 0;
  Dispatch d = place(1, request());
  for (std::uint32_t expected : {2, 3}) {
    const Effects effects = router->handle(
        now, AttemptFailed{RequestId(1), d.placements[0].lease, ErrorCode::kTimeout});
    d = *find<Dispatch>(effects);
    EXPECT_EQ(d.placements[0].instance, InstanceId(expected));
    EXPECT_EQ(d.attempt, expected - 1);
  }
  const Effects last =
      router->handle(now, AttemptFailed{RequestId(1), d.placements[0].lease, ErrorCode::kTimeout});
  ASSERT_NE(find<Reject>(last), nullptr);
  EXPECT_EQ(find<Reject>(last)->reason, RejectReason::kAttemptsExhausted);
}

TEST_F(RouterTest, ReportsAboutNothingAreCountedAndIgnored) {
  up(1);
  router->handle(now, FirstToken{LeaseId(9)});
  router->handle(now, Ended{LeaseId(9), 1, {}, 0});
  router->handle(now, LeaseFailed{LeaseId(9), ErrorCode::kTimeout});
  router->handle(now, AttemptFailed{RequestId(9), LeaseId(9), ErrorCode::kTimeout});
  router->handle(now, TokenProgress{{{LeaseId(9), 1}}});
  router->handle(now, Aborted{RequestId(9)});
  router->handle(now, InstanceDown{InstanceId(9)});
  router->handle(now, InstanceChanged{InstanceId(9), Health::kUp});
  router->handle(now, ScrapeFailed{InstanceId(9)});
  router->handle(now, KvEvicted{InstanceId(9), {1}});
  router->handle(now, PredictorPublished{9, nullptr});
  EXPECT_EQ(router->counters().ignored_reports, 11u);
}

TEST_F(RouterTest, SameEventsSameHash) {
  std::uint64_t hash[2];
  for (std::uint64_t& h : hash) {
    reset({});
    up(1);
    up(2);
    for (std::uint64_t i = 0; i < 50; ++i) {
      script.pick = i % 2;
      place(i, request(100 + static_cast<double>(i), i));
    }
    h = router->state_hash();
  }
  EXPECT_EQ(hash[0], hash[1]);
  reset({});
  up(1);
  up(2);
  script.pick = 1;
  place(0, request(100, 0));
  EXPECT_NE(router->decision_hash(), hash[0]);
}

}  // namespace
}  // namespace lodestar
