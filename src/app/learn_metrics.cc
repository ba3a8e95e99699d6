// SPDX-License-Identifier: Apache-2.0
#include "app/learn_metrics.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "routing/learn_stats.h"
#include "telemetry/metrics.h"

namespace lodestar::app {
namespace {

using telemetry::Kind;
using telemetry::Labels;
using Instance = LearnStats::Instance;

struct Learner {
  Labels labels;
  LearnStats stats;
};

// A page of metrics in the making: families over all learners, or over their instances.
struct Page {
  telemetry::TextWriter w;
  std::vector<Learner> learners;
  TimeNs now, started;

  template <class Value>
  void value(Value v, const Labels& labels) {
    if constexpr (std::is_same_v<Value, std::uint64_t>) {
      w.sample(v, labels);
    } else {
      w.sample(static_cast<double>(v), labels);
    }
  }
  template <class Value>
  void family(std::string_view name, std::string_view help, Kind kind, Value LearnStats::* field) {
    w.family(name, help, kind);
    for (const Learner& l : learners) value(l.stats.*field, l.labels);
  }
  template <class Value>
  void counter(std::string_view name, std::string_view help, Value LearnStats::* field) {
    family(name, help, Kind::kCounter, field);
  }
  template <class Value>
  void gauge(std::string_view name, std::string_view help, Value LearnStats::* field) {
    family(name, help, Kind::kGauge, field);
  }
  // `of(instance, labels)` writes the samples of one.
  template <class Of>
  void per_instance(std::string_view name, std::string_view help, Kind kind, Of of) {
    w.family(name, help, kind);
    for (const Learner& l : learners) {
      for (const Instance& i : l.stats.instances) {
        Labels labels = l.labels;
        labels.emplace_back("instance", i.name);
        of(i, labels);
      }
    }
  }
  double age_s(TimeNs at) const { return to_s(now - (at == kNever ? started : at)); }
};

Labels with(Labels labels, const char* key, const char* value) {
  labels.emplace_back(key, value);
  return labels;
}

void append_rounds(Page& p) {
  p.gauge("lodestar_learn_trained", "1: a predictor is in use.", &LearnStats::trained);
  p.gauge("lodestar_learn_training", "1: a training round is in flight.", &LearnStats::training);
  p.counter("lodestar_learn_rounds_started_total", "Training rounds begun.",
            &LearnStats::rounds_started);
  p.counter("lodestar_learn_rounds_published_total", "Predictors published.",
            &LearnStats::rounds_published);
  p.counter("lodestar_learn_rounds_failed_total", "Training rounds without a predictor.",
            &LearnStats::rounds_failed);
  p.counter("lodestar_learn_rollbacks_total",
            "Times that coefficients went wrong and earlier ones came back.",
            &LearnStats::rollbacks);
}

void append_samples(Page& p) {
  p.counter("lodestar_learn_samples_total", "Labelled decisions.", &LearnStats::samples);
  p.counter("lodestar_learn_samples_unusable_total",
            "Labelled decisions with a feature that was not finite.",
            &LearnStats::samples_unusable);
  p.counter("lodestar_learn_samples_over_limit_total",
            "Labelled decisions whose TTFT is beyond the learner's limit.",
            &LearnStats::samples_over_limit);
  p.counter("lodestar_learn_samples_censored_total",
            "Requests cut off before their first token: their TTFT is known to be longer.",
            &LearnStats::samples_censored);
  p.counter("lodestar_learn_unlabelled_total",
            "Requests that ended without a first token seen (not streamed).",
            &LearnStats::unlabelled);
  p.w.family("lodestar_learn_last_successful_update_age_seconds",
             "Since something was last learned; since the start when nothing was.", Kind::kGauge);
  for (const Learner& l : p.learners) p.w.sample(p.age_s(l.stats.last_update), l.labels);
}

void append_decisions(Page& p) {
  p.counter("lodestar_learn_decisions_total", "Decisions of the learning policy.",
            &LearnStats::decisions);
  p.w.family("lodestar_learn_fallbacks_total",
             "Decisions that the predictor left to the fallback policy, by reason.",
             Kind::kCounter);
  for (const Learner& l : p.learners) {
    p.w.sample(l.stats.fallback_cold, with(l.labels, "reason", "cold"));
    p.w.sample(l.stats.fallback_out_of_range, with(l.labels, "reason", "out_of_range"));
    p.w.sample(l.stats.fallback_nan, with(l.labels, "reason", "nan"));
  }
  p.w.family("lodestar_learn_fallback_share_ratio", "Share of all decisions, by reason.",
             Kind::kGauge);
  for (const Learner& l : p.learners) {
    const auto share = [&](std::uint64_t n) {
      return l.stats.decisions == 0
                 ? 0.0
                 : static_cast<double>(n) / static_cast<double>(l.stats.decisions);
    };
    p.w.sample(share(l.stats.fallback_cold), with(l.labels, "reason", "cold"));
    p.w.sample(share(l.stats.fallback_out_of_range), with(l.labels, "reason", "out_of_range"));
    p.w.sample(share(l.stats.fallback_nan), with(l.labels, "reason", "nan"));
  }
  p.counter("lodestar_learn_forecasts_not_finite_total",
            "Candidates left out of a decision because their forecast was no number.",
            &LearnStats::forecasts_not_finite);
  p.counter("lodestar_learn_explorations_total",
            "Decisions for an instance that was not heard of for long.", &LearnStats::explored);
  p.counter("lodestar_learn_exploration_regret_seconds_total",
            "TTFT that exploration cost, by prediction; bounded by a share of the next metric.",
            &LearnStats::explore_regret_s_sum);
  p.counter("lodestar_learn_best_ttft_seconds_total",
            "Predicted TTFT of the best candidate, summed over decisions.",
            &LearnStats::best_ttft_s_sum);
}

// Sums, so that a mean over any window can be had from two scrapes.
void append_errors(Page& p) {
  p.counter("lodestar_predictions_total", "Predicted TTFTs that were then observed.",
            &LearnStats::predictions);
  p.counter("lodestar_prediction_relative_error_total",
            "Sum of |predicted - observed| / observed TTFT; divide by lodestar_predictions_total.",
            &LearnStats::relative_error_sum);
  p.gauge("lodestar_prediction_recent_error_ratio",
          "Mean relative error of about the last 500 predictions.", &LearnStats::recent_mape);
  p.counter("lodestar_prediction_pinball90_seconds_total",
            "Pinball loss of the 90 % quantile of TTFT; divide by lodestar_predictions_total.",
            &LearnStats::pinball90_s_sum);
  p.counter("lodestar_tpot_predictions_total", "Predicted TPOTs that were then observed.",
            &LearnStats::tpot_predictions);
  p.counter("lodestar_tpot_prediction_relative_error_total",
            "Sum of |predicted - observed| / observed TPOT.", &LearnStats::tpot_relative_error_sum);
  p.counter("lodestar_e2e_predictions_total", "Predicted E2E times that were then observed.",
            &LearnStats::e2e_predictions);
  p.counter("lodestar_e2e_prediction_relative_error_total",
            "Sum of |predicted - observed| / observed E2E time.",
            &LearnStats::e2e_relative_error_sum);
}

void append_coverage(Page& p) {
  p.per_instance("lodestar_learn_coverage90_recent_ratio",
                 "Share of about the last 500 TTFTs inside their announced 90 % interval.",
                 Kind::kGauge,
                 [&](const Instance& i, const Labels& l) { p.w.sample(i.ttft_coverage, l); });
  p.per_instance("lodestar_learn_intervals_total",
                 "Announced 90 % intervals that met their truth, by what was predicted.",
                 Kind::kCounter, [&](const Instance& i, const Labels& l) {
                   p.w.sample(i.ttft_samples, with(l, "of", "ttft"));
                   p.w.sample(i.tpot_samples, with(l, "of", "tpot"));
                   p.w.sample(i.e2e_samples, with(l, "of", "e2e"));
                 });
  p.per_instance("lodestar_learn_intervals_inside_total",
                 "Of lodestar_learn_intervals_total: those that held it.", Kind::kCounter,
                 [&](const Instance& i, const Labels& l) {
                   p.w.sample(i.ttft_inside, with(l, "of", "ttft"));
                   p.w.sample(i.tpot_inside, with(l, "of", "tpot"));
                   p.w.sample(i.e2e_inside, with(l, "of", "e2e"));
                 });
}

void append_instances(Page& p) {
  p.per_instance("lodestar_learn_instance_samples_total",
                 "Samples behind an instance's coefficients, those of earlier lives included.",
                 Kind::kCounter,
                 [&](const Instance& i, const Labels& l) { p.w.sample(i.samples, l); });
  p.per_instance("lodestar_learn_pace_ratio",
                 "Times the fleet's usual duration that the instance takes.", Kind::kGauge,
                 [&](const Instance& i, const Labels& l) { p.w.sample(i.pace, l); });
  p.per_instance("lodestar_learn_error_log_ratio", "Usual |log(observed / predicted)| of TTFT.",
                 Kind::kGauge, [&](const Instance& i, const Labels& l) { p.w.sample(i.error, l); });
  p.per_instance("lodestar_learn_instance_update_age_seconds",
                 "Since something was learned of the instance; since the start when nothing was.",
                 Kind::kGauge, [&](const Instance& i, const Labels& l) {
                   p.w.sample(p.age_s(i.last_update), l);
                 });
  p.per_instance("lodestar_learn_drifts_total", "Changes of an instance's pace that were detected.",
                 Kind::kCounter,
                 [&](const Instance& i, const Labels& l) { p.w.sample(i.drifts, l); });
  p.per_instance("lodestar_learn_last_drift_age_seconds",
                 "Since the last of them; absent when there was none.", Kind::kGauge,
                 [&](const Instance& i, const Labels& l) {
                   if (i.last_drift != kNever) p.w.sample(p.age_s(i.last_drift), l);
                 });
}

}  // namespace

void PredictionErrors::update(const Router& router) {
  router.learning_sums([this](std::string_view key, const LearnStats& sums) {
    auto it = seen_.find(key);
    if (it == seen_.end()) {
      const std::size_t at = std::min(key.find('\n'), key.size());
      it = seen_.emplace(key, Seen{}).first;
      it->second.histogram = &registry_.histogram(
          "lodestar_prediction_error_seconds", "|predicted - observed| TTFT of one request.",
          telemetry::latency_bounds(),
          {{"policy", std::string(key.substr(0, at))},
           {"served_model", std::string(key.substr(std::min(at + 1, key.size())))}});
    }
    Seen& seen = it->second;
    const std::uint64_t fresh = sums.predictions - seen.predictions;
    const double error_ms = sums.absolute_error_ms_sum - seen.error_ms_sum;
    for (std::uint64_t i = 0; i < fresh; ++i)
      seen.histogram->observe(error_ms * 1e-3 / static_cast<double>(fresh));
    seen.predictions = sums.predictions;
    seen.error_ms_sum = sums.absolute_error_ms_sum;
  });
}

void append_learn_metrics(std::string& page, const Router& router, TimeNs now, TimeNs started) {
  Page p{telemetry::TextWriter(page), {}, now, started};
  for (Router::LearnReport& r : router.learning())
    p.learners.push_back(
        {{{"policy", std::move(r.policy)}, {"served_model", std::move(r.served_model)}},
         std::move(r.stats)});
  if (p.learners.empty()) return;
  append_rounds(p);
  append_samples(p);
  append_decisions(p);
  append_errors(p);
  append_coverage(p);
  append_instances(p);
}

}  // namespace lodestar::app
