// SPDX-License-Identifier: Apache-2.0
#include "app/learn_metrics.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "routing/learn_stats.h"
#include "telemetry/metrics.h"

namespace lodestar::app {
namespace {

using telemetry::Kind;
using telemetry::Labels;

struct Learner {
  std::string name;
  Labels labels;
  LearnStats stats;
};

std::vector<Learner> learners_of(const Router& router) {
  std::vector<Learner> out;
  for (const Router::LearnReport& r : router.learning())
    out.push_back({r.policy + "\n" + r.served_model,
                   {{"policy", r.policy}, {"served_model", r.served_model}},
                   r.stats});
  return out;
}

template <class Value>
void family(telemetry::TextWriter& w, const std::vector<Learner>& learners, std::string_view name,
            std::string_view help, Kind kind, Value LearnStats::* field) {
  w.family(name, help, kind);
  for (const Learner& l : learners) {
    if constexpr (std::is_same_v<Value, std::uint64_t>) {
      w.sample(l.stats.*field, l.labels);
    } else {
      w.sample(static_cast<double>(l.stats.*field), l.labels);
    }
  }
}

void append_fallbacks(telemetry::TextWriter& w, const std::vector<Learner>& learners) {
  w.family("lodestar_learn_fallbacks_total",
           "Decisions that the predictor left to the fallback policy, by reason.", Kind::kCounter);
  for (const Learner& l : learners) {
    const std::pair<const char*, std::uint64_t> reasons[] = {
        {"cold", l.stats.fallback_cold},
        {"out_of_range", l.stats.fallback_out_of_range},
        {"nan", l.stats.fallback_nan}};
    for (const auto& [reason, count] : reasons) {
      Labels labels = l.labels;
      labels.emplace_back("reason", reason);
      w.sample(count, labels);
    }
  }
}

// A sum, so that a mean over any window can be had from two scrapes.
void append_prediction_error(telemetry::TextWriter& w, const std::vector<Learner>& learners) {
  family(w, learners, "lodestar_predictions_total", "Predicted TTFTs that were then observed.",
         Kind::kCounter, &LearnStats::predictions);
  family(w, learners, "lodestar_prediction_relative_error_total",
         "Sum of |predicted - observed| / observed TTFT; divide by lodestar_predictions_total.",
         Kind::kCounter, &LearnStats::relative_error_sum);
  family(w, learners, "lodestar_prediction_recent_error_ratio",
         "Mean relative error of about the last 500 predictions.", Kind::kGauge,
         &LearnStats::recent_mape);
}

}  // namespace

void PredictionErrors::update(const Router& router) {
  for (const Learner& l : learners_of(router)) {
    Seen& seen = seen_[l.name];
    if (seen.histogram == nullptr)
      seen.histogram = &registry_.histogram("lodestar_prediction_error_seconds",
                                            "|predicted - observed| TTFT of one request.",
                                            telemetry::latency_bounds(), l.labels);
    const std::uint64_t fresh = l.stats.predictions - seen.predictions;
    const double error_ms = l.stats.absolute_error_ms_sum - seen.error_ms_sum;
    for (std::uint64_t i = 0; i < fresh; ++i)
      seen.histogram->observe(error_ms * 1e-3 / static_cast<double>(fresh));
    seen.predictions = l.stats.predictions;
    seen.error_ms_sum = l.stats.absolute_error_ms_sum;
  }
}

void append_learn_metrics(std::string& page, const Router& router) {
  const auto learners = learners_of(router);
  if (learners.empty()) return;
  telemetry::TextWriter w(page);
  family(w, learners, "lodestar_learn_trained", "1: a predictor is in use.", Kind::kGauge,
         &LearnStats::trained);
  family(w, learners, "lodestar_learn_training", "1: a training round is in flight.", Kind::kGauge,
         &LearnStats::training);
  family(w, learners, "lodestar_learn_rounds_started_total", "Training rounds begun.",
         Kind::kCounter, &LearnStats::rounds_started);
  family(w, learners, "lodestar_learn_rounds_published_total", "Predictors published.",
         Kind::kCounter, &LearnStats::rounds_published);
  family(w, learners, "lodestar_learn_rounds_failed_total", "Training rounds without a predictor.",
         Kind::kCounter, &LearnStats::rounds_failed);
  family(w, learners, "lodestar_learn_samples_total", "Labelled decisions.", Kind::kCounter,
         &LearnStats::samples);
  family(w, learners, "lodestar_learn_samples_unusable_total",
         "Labelled decisions with a feature that was not finite.", Kind::kCounter,
         &LearnStats::samples_unusable);
  family(w, learners, "lodestar_learn_decisions_total", "Decisions of the learning policy.",
         Kind::kCounter, &LearnStats::decisions);
  append_fallbacks(w, learners);
  append_prediction_error(w, learners);
}

}  // namespace lodestar::app
