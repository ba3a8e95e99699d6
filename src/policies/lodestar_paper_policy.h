// SPDX-License-Identifier: Apache-2.0
// The learned policy of the paper. For each candidate it predicts the reward
// (minus TTFT) from ten features and takes the best; it learns online.
//
//   label      minus TTFT in seconds, at the first token. TTFT above the limit
//              (15 s) is dropped as published, though it counts towards the next
//              round; or clipped to the limit, on demand.
//   round      each `theta` new labels (1000), one at a time, from scratch, on
//              new + FIFO + replay; published as one object (learn/paper_trainer.h).
//   filter     when the KV caches are full (mean usage above 0.8) and the best hit
//              is worth something (more than 100 tokens): only the K = 2 instances
//              to which the prompt's prefix group hashes consistently.
//   fallback   prefix-cache decides, with a reason, when there is no predictor yet
//              ("cold"), any feature of any candidate lies outside the range of the
//              training set ("out-of-range"), or a feature or prediction is not a
//              number ("nan"). The range is taken with a margin: without one, each
//              new record of any load on any instance hands the decision over
//              (5 % of them on 8 equal instances, 20 % on 15 of two kinds), although
//              the published runs had the test off.
//   no exploration (epsilon 0), no hold-out gate, as published. Equal predictions
//   are settled by load, then by chance.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "learn/paper_trainer.h"
#include "learn/training_set.h"
#include "policies/lodestar_paper_group.h"
#include "routing/learn_stats.h"
#include "routing/policy.h"

namespace lodestar {

// Whose features must lie in the range of the training set for a prediction to be
// trusted: nobody's, every candidate's (as published), or only those of the
// instance that the predictor chose.
enum class RangeRule { kOff = 0, kEveryCandidate = 1, kChosen = 2 };

struct LodestarPaperOptions {
  learn::PaperTrainerOptions trainer;
  learn::PoolSizes pools;
  std::size_t theta = 1000;         // new labels per round
  std::size_t min_rows = 256;       // fewer usable rows than this: the round waits
  double ttft_limit_ms = 15000;
  // Engine seconds per second of the router's clock. The label is not normalised, so
  // a router in front of engines at 5x real time would learn from labels a fifth as
  // large, under the same noise of initial weights.
  double time_scale = 1;
  bool clip_ttft = false;           // false: drop what is above the limit
  std::size_t k = 2;                // 0: no filter
  double kv_threshold = 0.8;
  double min_hit_tokens = 100;
  double group_tokens = 0;          // 0: depth follows the traffic
  RangeRule range_rule = RangeRule::kEveryCandidate;
  double range_margin = 0.3;         // of the range, on both sides
};

class LodestarPaperPolicy final : public Policy {
 public:
  // `fallback` decides when the predictor cannot; it sees every hook.
  LodestarPaperPolicy(LodestarPaperOptions options, std::unique_ptr<Policy> fallback);

  Needs needs() const override { return {.prefix = true, .progress = true}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions& actions) override;
  void on_placed(TimeNs now, const RequestInfo& request, const Outcome& o,
                 PolicyActions& a) override;
  void on_first_token(TimeNs now, const Outcome& outcome, PolicyActions& actions) override;
  void on_settled(TimeNs now, const Outcome& outcome, PolicyActions& actions) override;
  void on_forgotten(TimeNs now, RequestId request) override;
  void on_instance_up(TimeNs now, Fleet::Slot slot, const Fleet& f, PolicyActions& a) override;
  void on_instance_down(TimeNs now, Fleet::Slot slot, const Fleet& fleet) override;
  void on_timer(TimeNs now, const Fleet& fleet, PolicyActions& actions) override;
  void on_predictor(TimeNs now, std::shared_ptr<const Predictor> predictor,
                    PolicyActions& actions) override;
  std::uint64_t state_hash() const override;
  LearnStats learn_stats() const;
  std::optional<LearnStats> learning() const override { return learn_stats(); }
  const LearnStats* learning_sums() const override { return &stats_; }

  // Null until the first round is published.
  const std::shared_ptr<const learn::PaperPredictor>& predictor() const { return predictor_; }

 private:
  enum class Why { kPredict, kCold, kOutOfRange, kNan };
  struct Pending {
    learn::PaperFeatures x;
    learn::FeatureMoments candidates;
    double predicted_ms = 0;  // NaN: the fallback decided
  };
  struct GpuLabel {
    std::string hardware;
    learn::GpuClass gpu = -1;
  };

  void read_features(const DecisionContext& context);
  Why assess();
  Why predicted_choice(const DecisionContext& context, Decision& out);
  bool filter(const DecisionContext& context);  // true: chosen_ holds the candidates allowed
  void learn_label(const Pending& pending, double ttft_ms, PolicyActions& actions);
  void train_if_due(PolicyActions& actions);

  LodestarPaperOptions options_;
  std::unique_ptr<Policy> fallback_;
  PrefixGroups groups_;
  learn::TrainingSet training_;
  std::shared_ptr<const learn::PaperPredictor> predictor_;
  std::shared_ptr<const learn::PaperTrainJob> in_flight_;
  std::unordered_map<LeaseId, Pending> pending_;  // placed, no first token yet
  std::vector<GpuLabel> gpu_labels_;              // by slot
  std::size_t new_labels_ = 0;                    // since the last round started
  std::uint64_t next_sequence_ = 1;
  std::uint64_t digest_ = 0;                      // of all that was learned
  LearnStats stats_;

  // the latest decision, and scratch
  std::vector<learn::PaperFeatures> features_;
  std::vector<float> reward_;
  std::vector<double> cost_, load_;
  std::vector<std::size_t> chosen_;                // by the filter
  learn::PaperPredictor::Scratch scratch_;
  learn::FeatureMoments moments_;
  RequestId last_request_;
  Fleet::Slot last_slot_ = Fleet::kNoSlot;
  Pending last_;
};

}  // namespace lodestar
