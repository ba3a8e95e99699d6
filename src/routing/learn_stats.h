// SPDX-License-Identifier: Apache-2.0
// What a learning policy can say of itself: for /metrics and for people.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace lodestar {

struct LearnStats {
  bool trained = false;                      // a predictor is in use
  bool training = false;                     // a round is in flight
  std::uint64_t rounds_started = 0;
  std::uint64_t rounds_published = 0;
  std::uint64_t rounds_failed = 0;  // loss or weights not finite, or a foreign predictor
  std::uint64_t training_rows = 0;  // of the latest published round
  double training_mse_s2 = 0;  // of the latest published round
  double holdout_mse_s2 = 0;
  double holdout_mae_ms = 0;

  std::uint64_t samples = 0;  // labelled decisions, including the next three
  std::uint64_t samples_over_limit = 0;  // TTFT above the limit: dropped or clipped
  std::uint64_t samples_unusable = 0;  // a feature was not finite
  std::uint64_t unlabelled = 0;  // finished without a first token seen (not streamed)

  std::uint64_t decisions = 0;
  std::uint64_t fallback_cold = 0;
  std::uint64_t fallback_out_of_range = 0;
  std::uint64_t fallback_nan = 0;
  std::uint64_t filter_active = 0;  // decisions restricted to K consistent instances
  std::uint64_t filter_moved = 0;  // of them: the best prediction was elsewhere

  // Predicted against observed TTFT, of decisions that the predictor made.
  std::uint64_t predictions = 0;
  double absolute_error_ms_sum = 0;
  double relative_error_sum = 0;  // |predicted - actual| / max(actual, 1 ms)
  double recent_mape = 0;  // exponential mean over about 500; 0..

  TimeNs last_update = kNever;  // router time of the last sample learned, or round published

  // Of learners that update with every sample (no rounds).
  std::uint64_t samples_censored = 0;   // cut off before the first token
  std::uint64_t forecasts_not_finite = 0;
  std::uint64_t drifts = 0;             // changes of pace detected
  std::uint64_t rollbacks = 0;
  std::uint64_t residents = 0;          // placed and not settled
  double pinball90_s_sum = 0;           // over `predictions`
  std::uint64_t tpot_predictions = 0, e2e_predictions = 0;
  double tpot_relative_error_sum = 0, e2e_relative_error_sum = 0;
  std::uint64_t explored = 0;
  double explore_regret_s_sum = 0;      // by prediction
  double best_ttft_s_sum = 0;           // predicted TTFT of the best candidates

  struct Instance {
    std::string name;
    std::uint64_t samples = 0, drifts = 0;
    double pace = 1;                    // times the fleet's usual duration
    double error = 0;                   // usual |log(actual / predicted)| of TTFT
    TimeNs last_update = kNever, last_drift = kNever;
    double ttft_coverage = 0.9;         // of the nominal 90 % interval, about 500 samples
    std::uint64_t ttft_samples = 0, ttft_inside = 0;
    std::uint64_t tpot_samples = 0, tpot_inside = 0;
    std::uint64_t e2e_samples = 0, e2e_inside = 0;
  };
  std::vector<Instance> instances;
};

}  // namespace lodestar
