// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "policies/hash_ring.h"
#include "policies/lodestar_paper_policy.h"
#include "policies/lodestar_paper_testing.h"

namespace lodestar {
namespace {

using paper_testing::Bench;
using paper_testing::handmade_predictor;

std::unique_ptr<LodestarPaperPolicy> paper(const PolicyParams& params = {}, bool labels = false) {
  auto made = make_lodestar_paper(params, labels);
  auto* policy = dynamic_cast<LodestarPaperPolicy*>(made.release());
  EXPECT_NE(policy, nullptr);
  return std::unique_ptr<LodestarPaperPolicy>(policy);
}

void publish(Policy& policy, std::shared_ptr<const Predictor> predictor,
             PolicyActions* actions = nullptr) {
  PolicyActions own;
  policy.on_predictor(0, std::move(predictor), actions != nullptr ? *actions : own);
}

// A small world with a truth to learn: instance 0 is four times as slow as the
// others, and everyone's TTFT grows with the tokens before it.
class SlowInstanceWorld {
 public:
  explicit SlowInstanceWorld(Policy& policy) : policy_(policy) {}

  // One request among random loads; trains at once when asked to.
  std::size_t step() {
    bench.request.prompt_tokens = 200 + 1800 * rng.uniform();
    for (std::size_t i = 0; i < bench.rows.size(); ++i) {
      FeatureRow& row = bench.rows[i];
      row.prompt_tokens = bench.request.prompt_tokens;
      row.running =
          i == 0 ? 30 + static_cast<double>(rng.below(3)) : static_cast<double>(rng.below(10));
      row.inflight = row.inflight_prefill = static_cast<double>(rng.below(4));
      row.pending_prompt_tokens = 1000 * row.inflight_prefill;
      row.kv_usage = 0.3 * rng.uniform();
    }
    const Decision d = bench.decide(policy_);
    const std::size_t i = d.choices.at(0).candidate;
    last_fallback = d.fallback;
    Outcome o = bench.placed(policy_, d);
    const FeatureRow& row = bench.rows[i];
    o.ttft_ms = (row.prompt_tokens + row.pending_prompt_tokens) / 10 * (row.running > 20 ? 4 : 1);
    PolicyActions actions;
    policy_.on_first_token(bench.now, o, actions);
    PolicyActions ignored;
    policy_.on_settled(bench.now, o, ignored);
    if (actions.train) jobs.push_back(actions.train);
    return i;
  }

  Policy& policy_;
  Bench bench{4};
  Rng rng{7};
  bool last_fallback = false;
  std::vector<std::shared_ptr<const TrainJob>> jobs;
};

TEST(LodestarPaper, ColdFallsBackThenTheTrainedPredictorAvoidsTheSlowInstance) {
  auto policy = paper({{"theta", 600}, {"range_margin", 0.5}});
  SlowInstanceWorld world(*policy);
  for (int i = 0; i < 600; ++i) {
    world.step();
    EXPECT_TRUE(world.last_fallback);
  }
  ASSERT_EQ(world.jobs.size(), 1u);
  EXPECT_EQ(world.jobs[0]->simulated_duration(), 600 * 20 * 14 * kMicrosecond);
  EXPECT_TRUE(policy->learn_stats().training);
  publish(*policy, world.jobs[0]->run());
  EXPECT_TRUE(policy->learn_stats().trained);
  int slow = 0, fallback = 0;
  for (int i = 0; i < 500; ++i) {
    slow += world.step() == 0;
    fallback += world.last_fallback;
  }
  EXPECT_LT(slow, 25);  // prefix-cache would send it a quarter: 125
  EXPECT_LT(fallback, 25);
  const LearnStats s = policy->learn_stats();
  EXPECT_EQ(s.fallback_cold, 600u);
  EXPECT_EQ(s.predictions + static_cast<std::uint64_t>(fallback), 500u);
  EXPECT_LT(s.recent_mape, 0.8);  // 40 steps of training see no short TTFT precisely
  EXPECT_GT(s.recent_mape, 0);
  EXPECT_EQ(s.training_rows, 600u);
  EXPECT_GT(s.holdout_mse_s2, 0);
  EXPECT_EQ(s.decisions, 1100u);
}

TEST(LodestarPaper, OneRoundAtATimeAndRowsThatArriveMeanwhileCountAsNew) {
  auto policy = paper({{"theta", 300}, {"epochs", 1}});
  SlowInstanceWorld world(*policy);
  for (int i = 0; i < 300; ++i) world.step();
  ASSERT_EQ(world.jobs.size(), 1u);
  for (int i = 0; i < 450; ++i) world.step();  // while the first round trains
  EXPECT_EQ(world.jobs.size(), 1u);
  PolicyActions actions;
  publish(*policy, world.jobs[0]->run(), &actions);
  ASSERT_NE(actions.train, nullptr);           // 450 new ones are enough for the next
  const auto* job = dynamic_cast<const learn::PaperTrainJob*>(actions.train.get());
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(job->set().size(), 750u);          // 450 new + 300 of the fifo
  EXPECT_EQ(job->round(), 2u);
}

TEST(LodestarPaper, AFailedTrainingKeepsTheOldPredictorAndIsCounted) {
  auto policy = paper({{"theta", 300}, {"epochs", 1}});
  SlowInstanceWorld world(*policy);
  for (int i = 0; i < 300; ++i) world.step();
  const auto first = world.jobs.at(0)->run();
  publish(*policy, first);
  for (int i = 0; i < 300; ++i) world.step();
  ASSERT_EQ(world.jobs.size(), 2u);
  publish(*policy, nullptr);
  EXPECT_EQ(policy->predictor(), first);
  EXPECT_EQ(policy->learn_stats().rounds_failed, 1u);
  EXPECT_FALSE(policy->learn_stats().training);
  for (int i = 0; i < 300; ++i) world.step();  // it tries again, on all rows
  ASSERT_EQ(world.jobs.size(), 3u);
  EXPECT_EQ(dynamic_cast<const learn::PaperTrainJob&>(*world.jobs[2]).set().size(), 900u);
}

TEST(LodestarPaper, LabelsAboveTheLimitAreDroppedButCountOrAreClipped) {
  for (const bool clip : {false, true}) {
    auto policy = paper({{"theta", 300}, {"clip_ttft", clip ? 1 : 0}});
    Bench bench(2);
    PolicyActions last;
    for (int i = 0; i < 300; ++i) last = bench.serve(*policy, i % 10 == 0 ? 20000 : 100);
    ASSERT_NE(last.train, nullptr);
    const auto& set = dynamic_cast<const learn::PaperTrainJob&>(*last.train).set();
    EXPECT_EQ(set.size(), clip ? 300u : 270u);
    float worst = 0;
    for (const auto& s : set) worst = std::min(worst, s.reward);
    EXPECT_FLOAT_EQ(worst, clip ? -15.0f : -0.1f);
    EXPECT_EQ(policy->learn_stats().samples_over_limit, 30u);
    EXPECT_EQ(policy->learn_stats().samples, 300u);
  }
}

TEST(LodestarPaper, ARoundWaitsForUsableRows) {
  auto policy = paper({{"theta", 10}, {"min_rows", 20}});
  Bench bench(2);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(bench.serve(*policy, 16000).train, nullptr);
  for (int i = 0; i < 19; ++i) EXPECT_EQ(bench.serve(*policy, 100).train, nullptr);
  EXPECT_NE(bench.serve(*policy, 100).train, nullptr);
}

TEST(LodestarPaper, OutcomesWithoutAFirstTokenTeachNothing) {
  auto policy = paper();
  Bench bench(2);
  for (const Disposition how : {Disposition::kLearn, Disposition::kPunish, Disposition::kIgnore}) {
    Outcome o = bench.placed(*policy, bench.decide(*policy));
    o.disposition = how;
    PolicyActions actions;
    policy->on_settled(bench.now, o, actions);
    o.ttft_ms = 5;
    policy->on_first_token(bench.now, o, actions);  // a late report of a settled lease
  }
  EXPECT_EQ(policy->learn_stats().samples, 0u);
  EXPECT_EQ(policy->learn_stats().unlabelled, 1u);
}

TEST(LodestarPaper, GaugesThatAreNotNumbersFallBackAndAreNotLearned) {
  auto policy = paper({{"theta", 300}});
  publish(*policy, handmade_predictor());
  Bench bench(3);
  EXPECT_FALSE(bench.decide(*policy).fallback);
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity(), 1e300, -1e300}) {
    for (FeatureRow& row : bench.rows) row.waiting = bad;
    const Decision d = bench.decide(*policy);
    EXPECT_TRUE(d.fallback);
    EXPECT_EQ(d.reason, "nan");
    ASSERT_EQ(d.choices.size(), 1u);
    bench.serve(*policy, 50);
  }
  EXPECT_EQ(policy->learn_stats().samples_unusable, 4u);
  EXPECT_EQ(policy->learn_stats().fallback_nan, 8u);
}

TEST(LodestarPaper, APredictionThatIsNotANumberFallsBack) {
  auto policy = paper();
  publish(*policy, handmade_predictor(std::nanf("")));
  Bench bench(3);
  const Decision d = bench.decide(*policy);
  EXPECT_TRUE(d.fallback);
  EXPECT_EQ(d.reason, "nan");
}

TEST(LodestarPaper, AnyCandidateOutsideTheTrainingRangeFallsBack) {
  Bench bench(3);
  auto strict = paper({{"range_margin", 0}});
  auto loose = paper({{"range_margin", 0.1}});
  auto unchecked = paper({{"range_check", 0}});
  for (Policy* p : {static_cast<Policy*>(strict.get()), static_cast<Policy*>(loose.get()),
                    static_cast<Policy*>(unchecked.get())})
    publish(*p, handmade_predictor());
  bench.rows[2].waiting = 50;
  EXPECT_FALSE(bench.decide(*strict).fallback);
  bench.rows[2].waiting = 51;  // the trained maximum is 50
  EXPECT_EQ(bench.decide(*strict).reason, "out-of-range");
  EXPECT_FALSE(bench.decide(*loose).fallback);
  bench.rows[2].waiting = 56;  // 10 % of the range is 5
  EXPECT_TRUE(bench.decide(*loose).fallback);
  EXPECT_FALSE(bench.decide(*unchecked).fallback);
  EXPECT_EQ(strict->learn_stats().fallback_out_of_range, 1u);
}

TEST(LodestarPaper, TheRangeTestCanBeLimitedToTheChosenInstance) {
  auto policy = paper({{"range_check", 2}, {"range_margin", 0}});
  publish(*policy, handmade_predictor());
  Bench bench(2);
  bench.rows[1].waiting = 51;  // out of range, and predicted to be slow: not chosen
  EXPECT_FALSE(bench.decide(*policy).fallback);
  bench.rows[0].inflight_decode = 101;  // out of range, and chosen
  const Decision d = bench.decide(*policy);
  EXPECT_EQ(d.reason, "out-of-range");
  EXPECT_TRUE(d.fallback);
  EXPECT_EQ(d.choices.size(), 1u);
}

TEST(LodestarPaper, EqualPredictionsAreSettledByLoadAndThenByChance) {
  auto policy = paper();
  publish(*policy, handmade_predictor());
  Bench bench(4);
  for (FeatureRow& row : bench.rows) row.inflight = 2;  // not an input of the predictor
  bench.rows[3].inflight = 1;
  EXPECT_EQ(bench.pick(*policy), 3u);
  bench.rows[3].inflight = 2;
  std::map<std::size_t, int> picks;
  for (int i = 0; i < 400; ++i) ++picks[bench.pick(*policy)];
  EXPECT_EQ(picks.size(), 4u);
  for (const auto& [candidate, n] : picks) EXPECT_NEAR(n, 100, 45) << candidate;
  EXPECT_DOUBLE_EQ(bench.decide(*policy).propensity, 0.25);
}

// ---- the consistent-hash filter ------------------------------------------------

class FilterBench {
 public:
  explicit FilterBench(std::size_t n, double usage = 0.85, double hit_tokens = 500) : bench(n) {
    bench.request.block_tokens = 16;
    for (FeatureRow& row : bench.rows) {
      row.kv_usage = usage;
      row.hit_tokens = hit_tokens;
    }
  }
  std::size_t pick(LodestarPaperPolicy& policy, std::uint64_t group) {
    bench.request.block_hashes.assign(64, group);
    return bench.pick(policy);
  }
  Bench bench;
};

TEST(LodestarPaper, FilterActsOnFullCachesAndAWorthwhileHitOnly) {
  auto policy = paper();
  publish(*policy, handmade_predictor());
  const auto active = [&](double usage, double hit) {
    const auto before = policy->learn_stats().filter_active;
    FilterBench f(8, usage, hit);
    f.pick(*policy, 77);
    return policy->learn_stats().filter_active > before;
  };
  EXPECT_TRUE(active(0.85, 500));
  EXPECT_FALSE(active(0.8, 500));
  EXPECT_FALSE(active(0.85, 100));
  FilterBench no_hashes(8);
  no_hashes.bench.pick(*policy);
  EXPECT_EQ(policy->learn_stats().filter_active, 1u);
  FilterBench two(2);  // K >= n: nothing to restrict
  two.pick(*policy, 77);
  EXPECT_EQ(policy->learn_stats().filter_active, 1u);
  auto off = paper({{"k", 0}});
  publish(*off, handmade_predictor());
  FilterBench f(8);
  f.pick(*off, 77);
  EXPECT_EQ(off->learn_stats().filter_active, 0u);
}

TEST(LodestarPaper, FilterTakesTheBestOfItsTwoAndSaysWhenItMovedThePick) {
  auto policy = paper();
  publish(*policy, handmade_predictor());
  FilterBench f(8);
  f.bench.rows[0].pending_prompt_tokens = 0;
  for (std::size_t i = 0; i < 8; ++i)
    f.bench.rows[i].pending_prompt_tokens = 1000.0 * static_cast<double>(i);
  std::uint64_t moved = 0;
  for (std::uint64_t group = 1; group <= 200; ++group) {
    const std::size_t picked = f.pick(*policy, group);
    std::vector<std::size_t> allowed(2);
    f.bench.request.block_hashes.assign(64, group);
    Rng rng(1);
    const DecisionContext context{
        0, f.bench.request, RequestId(1), f.bench.candidates, f.bench.rows, f.bench.fleet, rng};
    rendezvous_top(group, context, allowed);
    EXPECT_EQ(picked, std::min(allowed[0], allowed[1]));  // cost rises with the index
    moved += picked != 0;
  }
  EXPECT_EQ(policy->learn_stats().filter_moved, moved);
  EXPECT_GT(moved, 100u);
}

TEST(LodestarPaper, NinthInstanceLeavesMostPicksWhereTheyWere) {
  auto policy = paper();
  publish(*policy, handmade_predictor());
  FilterBench eight(8), nine(9);
  for (auto* f : {&eight, &nine})
    for (std::size_t i = 0; i < f->bench.rows.size(); ++i)
      f->bench.rows[i].pending_prompt_tokens = 500.0 * static_cast<double>(i);  // no ties
  int same = 0;
  for (std::uint64_t group = 1; group <= 1000; ++group)
    same += eight.pick(*policy, group * 7919) == nine.pick(*policy, group * 7919);
  EXPECT_GE(same, 800);
  EXPECT_LE(same, 990);  // the ninth must get its share of groups
}

// ---- labels ----------------------------------------------------------------------

TEST(LodestarPaperLabels, HardwareIsAnInputAndUnseenHardwareFallsBack) {
  auto policy = paper({{"theta", 400}, {"range_margin", 1}}, true);
  Bench bench(2);
  bench.fleet.at(0).info.hardware = "A30";
  bench.fleet.at(1).info.hardware = "V100";
  Rng rng(3);
  std::shared_ptr<const TrainJob> job;
  // Only the name tells them apart: V100 takes three times as long.
  for (int i = 0; i < 400; ++i) {
    for (FeatureRow& row : bench.rows) row.prompt_tokens = 100 + 900 * rng.uniform();
    const Decision d = bench.decide(*policy);
    Outcome o = bench.placed(*policy, d);
    o.ttft_ms = o.row.prompt_tokens * (o.slot == 1 ? 3 : 1);
    PolicyActions actions;
    policy->on_first_token(0, o, actions);
    if (actions.train) job = actions.train;
  }
  ASSERT_NE(job, nullptr);
  publish(*policy, job->run());
  int slow = 0;
  for (int i = 0; i < 100; ++i) {
    for (FeatureRow& row : bench.rows) row.prompt_tokens = 500;
    const Decision d = bench.decide(*policy);
    EXPECT_FALSE(d.fallback);
    slow += d.choices.at(0).candidate == 1;
  }
  EXPECT_EQ(slow, 0);
  bench.fleet.at(1).info.hardware = "T4";
  EXPECT_EQ(bench.decide(*policy).reason, "out-of-range");
  publish(*policy, handmade_predictor());  // has no labels: another feature set
  EXPECT_EQ(policy->learn_stats().rounds_failed, 1u);
}

TEST(LodestarPaper, SameEventsGiveTheSameStateAndOthersDoNot) {
  const auto run = [](double ttft) {
    auto policy = paper({{"theta", 300}, {"epochs", 1}});
    Bench bench(3);
    for (int i = 0; i < 310; ++i) {
      const PolicyActions a = bench.serve(*policy, ttft + i);
      if (a.train) publish(*policy, a.train->run());
    }
    return policy->state_hash();
  };
  EXPECT_EQ(run(100), run(100));
  EXPECT_NE(run(100), run(101));
}

TEST(LodestarPaper, RowsOfTheCatalogNameEveryParameter) {
  for (const CatalogRow& row : {lodestar_paper_row(), lodestar_paper_labels_row()}) {
    PolicyParams params;
    for (const ParamSpec& spec : row.params) {
      EXPECT_GE(spec.default_value, spec.min) << spec.name;
      EXPECT_LE(spec.default_value, spec.max) << spec.name;
      EXPECT_FALSE(spec.help.empty());
      EXPECT_TRUE(params.emplace(spec.name, spec.default_value).second) << "twice: " << spec.name;
    }
    EXPECT_NE(row.make(params), nullptr);
  }
}

}  // namespace
}  // namespace lodestar
