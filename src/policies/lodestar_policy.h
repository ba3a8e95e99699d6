// SPDX-License-Identifier: Apache-2.0
// `lodestar`: predicts what every candidate would deliver, adds what the placement costs
// everybody else, and takes the least. Learns from every first token and every end, in
// process, in microseconds. No labels, no thresholds, no training rounds.
//
// Order of a decision: forecast all candidates (learn/forecaster.h) -> own cost + price
// (objective.h) -> of those within a hair of the best, the least price, then chance ->
// now and then, when it is cheap by prediction, an instance that was not heard of for
// long instead (exploration; what it cost by prediction is counted and bounded).
//
// Degraded modes, each counted: a forecast that is not a number -> the candidate is left
// out; none left -> least in flight (Decision::fallback).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "learn/forecaster.h"
#include "policies/lodestar_paper_group.h"
#include "policies/objective.h"
#include "policies/picker.h"
#include "routing/policy.h"

namespace lodestar {

struct LodestarOptions {
  ObjectiveOptions objective;
  double explore = 0.005;       // most of all TTFT, by prediction, spent on exploration
  double explore_after_s = 20;  // an instance without a sample for so long is probed
  double near = 0.03;           // costs within this share of the best are equal
  std::size_t k = 0;            // instances per prefix group; 0: all
  bool mirror = true;           // Needs::mirror
  double freeze_after = 0;      // samples after which nothing is learned any more; 0: never
};

class LodestarPolicy final : public Policy {
 public:
  explicit LodestarPolicy(const LodestarOptions& options);

  Needs needs() const override;
  void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) override;
  void on_placed(TimeNs now, const RequestInfo& request, const Outcome& outcome,
                 PolicyActions& actions) override;
  void on_first_token(TimeNs now, const Outcome& outcome, PolicyActions& actions) override;
  void on_settled(TimeNs now, const Outcome& outcome, PolicyActions& actions) override;
  void on_instance_up(TimeNs now, Fleet::Slot slot, const Fleet& fleet,
                      PolicyActions& actions) override;
  void on_instance_down(TimeNs now, Fleet::Slot slot, const Fleet& fleet) override;
  void on_predictor(TimeNs now, std::shared_ptr<const Predictor> predictor,
                    PolicyActions& actions) override;
  std::shared_ptr<const Predictor> learned() const override;
  std::optional<LearnStats> learning() const override;
  const LearnStats* learning_sums() const override { return &forecaster_.sums(); }
  std::uint64_t state_hash() const override;

 private:
  void meet(TimeNs now, Fleet::Slot slot, const Fleet& fleet);
  void know(const DecisionContext& context);
  Prospect prospect(const DecisionContext& context, std::size_t candidate) const;
  void restrict_to_group(const DecisionContext& context);
  Pick choose(const DecisionContext& context);
  Pick explore(const DecisionContext& context, Pick best);

  LodestarOptions options_;
  learn::Forecaster forecaster_;
  PrefixGroups groups_;
  std::vector<bool> known_;                // slots that the forecaster has
  std::vector<TimeNs> probed_;             // by slot
  std::vector<learn::Forecast> forecasts_; // parallel to candidates
  std::vector<double> cost_, price_, near_, load_;
  std::vector<std::size_t> group_;
  learn::Forecast chosen_;
  double usual_ttft_s_ = 0.1;              // predicted, of recent decisions
  double budget_s_ = 0;                    // left for exploration
  std::uint64_t decisions_ = 0, fallbacks_ = 0, not_finite_ = 0, explored_ = 0;
  std::uint64_t filter_active_ = 0, filter_moved_ = 0;
  double best_s_sum_ = 0, regret_s_sum_ = 0;  // predicted TTFT; spent on exploration
};

// A Forecaster's snapshot as the artefact that events and files carry.
class LodestarPredictor final : public Predictor {
 public:
  explicit LodestarPredictor(learn::Forecaster::Snapshot s) : snapshot(std::move(s)) {}
  learn::Forecaster::Snapshot snapshot;
};

}  // namespace lodestar
