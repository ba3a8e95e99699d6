// SPDX-License-Identifier: Apache-2.0
// A duration as a sum of costs, learned online for each instance of a fleet whose
// hardware nobody described:
//
//   predicted = pace_i * sum over k of shape_i[k] * term[k]
//
// pace_i   one number: how many times the fleet's time instance i takes. Learned
//          first (a robust running mean of log ratios), so three samples tell a
//          card five times as fast; followed quickly when it drifts.
// shape_i  what its time is made of. Starts from the fleet's shape and departs from
//          it as its own evidence grows (ridge towards the fleet: hierarchical, with
//          the fleet as prior). The fleet's shape is fitted on all samples at unit pace.
//
// Squared *relative* error, so a 30 ms and a 3 s request weigh the same; samples far
// outside an instance's usual error weigh less (Huber's weights, with the scale learned,
// so that a wrong belief cannot call all contradicting samples outliers).
//
// Evidence ages: after `stale_s` without a sample an instance's pace is believed less,
// and its next samples move it more. A change of pace (CUSUM of standardised log
// residuals, Page 1954) discards most of the evidence at once.
//
// Values only; owned by the brain; deterministic; a microsecond per sample.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/math.h"
#include "base/time.h"
#include "learn/nonneg.h"

namespace lodestar::learn {

template <std::size_t N>
struct PacedPrior {
  Terms<N> shape{};          // what is believed before any sample; seconds per term
  Terms<N> least_spread{};   // departures below this cost nothing much; > 0
  double floor_s = 0.02;     // relative error is taken over floor_s + predicted
  double instance_keep = 0.997;  // memory per sample: about 300
  double fleet_keep = 0.999;
  double instance_strength = 0.2;  // of the fleet's shape as prior, in samples
  double fleet_strength = 1;
  double least_gain = 0.01;  // of the pace, however much evidence there is
  double stale_s = 60;
};

template <std::size_t N>
struct PacedFleet {
  LeastSquares<N> stats;
  Terms<N> shape{};
  double samples = 0;
  double log_pace = 0;  // usual log pace of its instances: where a new one starts
};

template <std::size_t N>
struct PacedInstance {
  LeastSquares<N> stats;
  Terms<N> shape{};
  double pace = 1;
  double evidence = 0;      // samples behind the pace, aged
  double error = 0.3;       // usual |log(actual / predicted)|
  double up = 0, down = 0;  // CUSUM sums
  std::uint64_t samples = 0, drifts = 0;
  TimeNs last_at = kNever;  // of the last sample
  TimeNs drift_at = kNever;
};

template <std::size_t N>
class PacedRegression {
 public:
  explicit PacedRegression(const PacedPrior<N>& prior) : prior_(prior) {
    fleet_.shape = prior.shape;
  }

  // A new instance: the fleet's shape and usual pace, until its own samples say otherwise.
  PacedInstance<N> fresh() const {
    PacedInstance<N> i;
    i.shape = fleet_.shape;
    return i;
  }
  // One that was away: what it was, with the weight of a few samples.
  PacedInstance<N> resumed(const PacedInstance<N>& before) const {
    PacedInstance<N> i = before;
    i.stats.decay(0.05);
    i.evidence = std::min(i.evidence, 3.0);
    i.up = i.down = 0;
    i.last_at = i.drift_at = kNever;
    return i;
  }
  // Seconds. Until its first sample an instance follows the fleet's shape as it is now.
  double predict(const PacedInstance<N>& i, const Terms<N>& x) const {
    return pace(i) * dot(shape(i), x);
  }
  double pace(const PacedInstance<N>& i) const {
    return i.samples == 0 && i.evidence == 0 ? det_exp(fleet_.log_pace) : i.pace;
  }
  const Terms<N>& shape(const PacedInstance<N>& i) const {
    return i.samples == 0 ? fleet_.shape : i.shape;
  }

  // Standard error of its pace, relative: small with many recent samples, its usual error
  // when they are old.
  double uncertainty(TimeNs now, const PacedInstance<N>& i) const {
    double evidence = i.evidence;
    if (i.last_at != kNever && now - i.last_at > from_s(prior_.stale_s / 10))
      evidence *= det_exp(-to_s(now - i.last_at) / prior_.stale_s);
    return i.error / std::sqrt(evidence + 1);
  }

  // One sample: terms x took y seconds (y > 0, all finite). Returns log(y / predicted).
  double learn(TimeNs now, PacedInstance<N>& i, const Terms<N>& x, double y);

  const PacedFleet<N>& fleet() const { return fleet_; }
  PacedFleet<N>& fleet() { return fleet_; }

 private:
  void move_pace(TimeNs now, PacedInstance<N>& i, double log_ratio);

  PacedPrior<N> prior_;
  PacedFleet<N> fleet_;
};

template <std::size_t N>
void PacedRegression<N>::move_pace(TimeNs now, PacedInstance<N>& i, double log_ratio) {
  constexpr double kSlack = 0.75, kAlarm = 10, kOutlier = 3;  // in usual errors
  constexpr double kEvidenceAfterDrift = 2;
  const double z = std::clamp(log_ratio / std::max(i.error, 0.02), -kOutlier, kOutlier);
  i.up = std::max(0.0, i.up + z - kSlack);
  i.down = std::max(0.0, i.down - z - kSlack);
  if (i.samples >= 10 && std::max(i.up, i.down) > kAlarm) {
    i.evidence = std::min(i.evidence, kEvidenceAfterDrift);
    i.stats.decay(0.2);
    i.up = i.down = 0;
    ++i.drifts;
    i.drift_at = now;
  }
  if (i.last_at != kNever) i.evidence *= det_exp(-to_s(now - i.last_at) / prior_.stale_s);
  i.evidence += 1;
  const double gain = std::max(prior_.least_gain, 1 / (i.evidence + 1));
  i.pace *= det_exp(gain * log_ratio);
}

template <std::size_t N>
double PacedRegression<N>::learn(TimeNs now, PacedInstance<N>& i, const Terms<N>& x, double y) {
  constexpr double kFarthest = 1.5;  // log ratio of one sample: no sample says more
  constexpr double kHuber = 0.5;     // of the usual error
  if (i.samples == 0) {
    i.pace = pace(i);
    i.shape = fleet_.shape;
  }
  const double predicted = std::max(1e-4, predict(i, x));
  const double log_ratio = det_log(std::max(y, 1e-4) / predicted);
  const double bounded = std::clamp(log_ratio, -kFarthest, kFarthest);
  move_pace(now, i, bounded);
  ++i.samples;
  i.last_at = now;
  i.error += 0.05 * (std::fabs(bounded) - i.error);
  const double relative = std::fabs(y - predicted) / (prior_.floor_s + predicted);
  const double weight = std::min(1.0, kHuber * i.error / std::max(1e-6, relative)) /
                        ((prior_.floor_s + predicted) * (prior_.floor_s + std::max(predicted, y)));
  // At unit pace the relative error, and so the weight, stays what it is.
  const double unit_weight = weight * i.pace * i.pace;
  i.stats.decay(prior_.instance_keep);
  i.stats.add(x, y / i.pace, unit_weight);
  fleet_.stats.decay(prior_.fleet_keep);
  fleet_.stats.add(x, y / i.pace, unit_weight);
  fleet_.samples += 1;
  fleet_.log_pace += std::max(0.1, 1 / (fleet_.samples + 1)) * (det_log(i.pace) - fleet_.log_pace);
  Terms<N> spread;
  for (std::size_t k = 0; k < N; ++k)
    spread[k] = std::max(prior_.shape[k], 3 * prior_.least_spread[k]);
  solve_nonneg(fleet_.stats, prior_.shape, spread, prior_.fleet_strength, fleet_.shape);
  for (std::size_t k = 0; k < N; ++k) spread[k] = std::max(fleet_.shape[k], prior_.least_spread[k]);
  solve_nonneg(i.stats, fleet_.shape, spread, prior_.instance_strength, i.shape);
  return log_ratio;
}

}  // namespace lodestar::learn
