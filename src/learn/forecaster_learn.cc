// SPDX-License-Identifier: Apache-2.0
// How a Forecaster learns: what enters the queue, what leaves it, and what the labels
// say. Predictions are in forecaster.cc.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/hash.h"
#include "learn/forecaster.h"

namespace lodestar::learn {
namespace {
constexpr double kOutputGain = 0.01;
constexpr double kGaugeGain = 0.02;
constexpr double kFreshGaugeS = 0.5;

template <std::size_t N>
bool finite(const LeastSquares<N>& s) {
  const auto sane = [](double v) { return std::isfinite(v); };
  return std::all_of(s.xx.begin(), s.xx.end(), sane) && std::all_of(s.xy.begin(), s.xy.end(), sane);
}
template <std::size_t N>
bool finite(const LeastSquares<N>& stats, const Terms<N>& shape) {
  return finite(stats) && std::all_of(shape.begin(), shape.end(),
                                      [](double v) { return std::isfinite(v) && v >= 0; });
}
template <std::size_t N>
bool finite(const PacedInstance<N>& i) {
  return finite(i.stats, i.shape) && std::isfinite(i.pace) && i.pace > 0 &&
         std::isfinite(i.error + i.evidence + i.up + i.down);
}
bool finite(const Forecaster::Snapshot& s) {
  return finite(s.ttft.stats, s.ttft.shape) && finite(s.tpot.stats, s.tpot.shape) &&
         std::isfinite(s.output_tokens) && s.output_tokens >= 0 &&
         std::all_of(s.instances.begin(), s.instances.end(), [](const auto& known) {
           const Forecaster::Remembered& r = known.second;
           return finite(r.ttft) && finite(r.tpot) && std::isfinite(r.e2e_pace) && r.e2e_pace > 0;
         });
}
}  // namespace

void Forecaster::placed(TimeNs now, const Outcome& o, const Forecast& f, bool streamed) {
  Instance& i = at(o.slot);
  flights_[o.lease] = {o.slot, i.life, f, streamed, false};
  if (!f.finite()) return;  // it must not poison the queue that it joins
  drop_assumed(now, i);
  note_gauge(i, o.row);
  computed_tokens_ += kOutputGain * (f.own_tokens - computed_tokens_);
  prompt_tokens_ += kOutputGain * (o.row.prompt_tokens - prompt_tokens_);
  i.backlog_s = std::max(0.0, i.backlog_s - to_s(now - i.backlog_at)) + f.own;
  i.backlog_at = now;
  const TimeNs assumed = streamed ? kNever : now + from_s(std::min(f.ttft, 3600.0));
  i.pending.push_back({o.lease, f.own_tokens, f.own_attention, now, assumed});
  i.tokens += f.own_tokens;
  i.attention += f.own_attention;
}

Forecaster::Instance* Forecaster::instance_of(const Flight& flight) {
  Instance& i = at(flight.slot);
  return i.present && i.life == flight.life ? &i : nullptr;
}

// The engine's own gauge, while it is young and nothing waits for prefill, says how much
// of the decode context is shared between requests.
void Forecaster::note_gauge(Instance& i, const FeatureRow& row) {
  const double context = row.decode_context_tokens;
  if (row.scrape_known <= 0 || row.scrape_age_s > kFreshGaugeS || !i.pending.empty() ||
      context <= 0.2 * row.kv_capacity_tokens || row.foreign_requests > 0 ||
      row.kv_capacity_tokens <= 0)
    return;
  const double seen = row.kv_usage * row.kv_capacity_tokens / context;
  if (!std::isfinite(seen)) return;
  i.kv_ratio += kGaugeGain * (std::clamp(seen, 0.3, 1.2) - i.kv_ratio);
}

void Forecaster::leave_queue(TimeNs now, Instance& i, LeaseId lease) {
  const auto it = std::find_if(i.pending.begin(), i.pending.end(),
                               [&](const Pending& p) { return p.lease == lease; });
  if (it == i.pending.end()) return;
  // Who comes next has been served since now only, whatever made room for it.
  if (it == i.pending.begin()) i.last_first = std::max(i.last_first, now);
  i.tokens -= it->tokens;
  i.attention -= it->attention;
  i.pending.erase(it);
  if (i.pending.empty()) i.tokens = i.attention = 0;  // no dust from rounding
  const double left = seconds_of(i, i.tokens, i.attention, 0);
  i.backlog_s = std::min(std::max(0.0, i.backlog_s - to_s(now - i.backlog_at)), left);
  i.backlog_at = now;
}

// Answers that are not streamed show no first token: they leave when it was predicted.
void Forecaster::drop_assumed(TimeNs now, Instance& i) {
  for (std::size_t k = 0; k < i.pending.size();) {
    const LeaseId lease = i.pending[k].lease;
    if (i.pending[k].assumed_first <= now) {
      leave_queue(now, i, lease);
      i.last_first = now;
    } else {
      ++k;
    }
  }
}

void Forecaster::first_token(TimeNs now, const Outcome& o) {
  const auto it = flights_.find(o.lease);
  if (it == flights_.end() || !o.ttft_ms) return;
  it->second.first_seen = true;
  Instance* i = instance_of(it->second);
  if (i == nullptr) return;
  leave_queue(now, *i, o.lease);
  i->last_first = now;
  learn_ttft(now, *i, it->second.forecast, *o.ttft_ms * 1e-3);
}

void Forecaster::learn_ttft(TimeNs now, Instance& i, const Forecast& f, double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0 || !f.finite()) {
    ++stats_.samples_unusable;
    return;
  }
  ++stats_.samples;
  ++stats_.predictions;
  const double error_s = std::fabs(f.ttft - seconds);
  const double relative = error_s / std::max(seconds, 1e-3);
  stats_.absolute_error_ms_sum += error_s * 1e3;
  stats_.relative_error_sum += relative;
  stats_.recent_mape += (std::min(relative, 10.0) - stats_.recent_mape) / 500;
  // Pinball loss of the 90 % quantile, seconds.
  Calibration& own = f.queued ? i.queued : i.idle;
  const double q90 = f.ttft * own.ratio(Calibration::k90);
  stats_.pinball90_s_sum += seconds > q90 ? 0.9 * (seconds - q90) : 0.1 * (q90 - seconds);
  i.ttft_coverage.count(own.holds(f.ttft, seconds));
  const double log_ratio = det_log(std::max(seconds, 1e-4) / f.ttft);
  recent_error_ += (std::fabs(log_ratio) - recent_error_) / 200;
  if (frozen_) return;
  stats_.last_update = now;
  own.learn(log_ratio);
  (f.queued ? fleet_queued_ : fleet_idle_).learn(log_ratio);
  const std::uint64_t drifts = i.ttft.drifts;
  ttft_.learn(now, i.ttft, f.ttft_terms, seconds);
  stats_.drifts += i.ttft.drifts - drifts;
  check_for_rollback();
}

// Cut off before its first token: it would have taken at least so long. Below the
// prediction that says nothing; above it, the prediction was too small.
void Forecaster::learn_at_least(TimeNs now, Instance& i, const Forecast& f, double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0 || !f.finite()) return;
  ++stats_.samples_censored;
  if (frozen_) return;
  (f.queued ? i.queued : i.idle).learn_at_least(det_log(std::max(seconds, 1e-4) / f.ttft));
  if (seconds > f.ttft) ttft_.learn(now, i.ttft, f.ttft_terms, seconds);
}

void Forecaster::settled(TimeNs now, const Outcome& o) {
  const auto it = flights_.find(o.lease);
  if (it == flights_.end()) return;
  const Flight& flight = it->second;
  if (Instance* i = instance_of(flight)) {
    leave_queue(now, *i, o.lease);
    if (o.disposition == Disposition::kLearn && o.e2e_ms) {
      learn_end(now, *i, flight, o);
    } else if (!flight.first_seen && flight.streamed) {
      learn_at_least(now, *i, flight.forecast, to_s(now - o.placed_at));
    }
  }
  flights_.erase(it);
}

void Forecaster::learn_end(TimeNs now, Instance& i, const Flight& flight, const Outcome& o) {
  const Forecast& f = flight.forecast;
  const double n = static_cast<double>(o.output_tokens);
  const double e2e_s = *o.e2e_ms * 1e-3;
  if (!flight.first_seen) ++stats_.unlabelled;
  if (!std::isfinite(e2e_s) || e2e_s <= 0 || !f.finite() || n < 1) return;
  if (o.ttft_ms) i.residence_s += 0.02 * (e2e_s - *o.ttft_ms * 1e-3 - i.residence_s);
  const double e2e_ratio = det_log(e2e_s / f.e2e);
  i.e2e_coverage.count(i.e2e_calibration.holds(f.e2e, e2e_s));
  stats_.e2e_relative_error_sum += std::fabs(f.e2e - e2e_s) / e2e_s;
  ++stats_.e2e_predictions;
  if (frozen_) return;
  output_tokens_ += kOutputGain * (n - output_tokens_);
  i.e2e_calibration.learn(e2e_ratio);
  // Given the true length, what the parts leave over.
  const double parts = f.ttft + (n - 1) * f.tpot;
  i.e2e_evidence = std::min(i.e2e_evidence + 1, 50.0);
  i.e2e_pace *=
      det_exp(std::clamp(det_log(e2e_s / (i.e2e_pace * parts)), -1.0, 1.0) / (i.e2e_evidence + 1));
  if (!o.tpot_ms || o.output_tokens <= 4) return;
  const double tpot_s = *o.tpot_ms * 1e-3;
  if (!std::isfinite(tpot_s) || tpot_s <= 0) return;
  i.tpot_coverage.count(i.tpot_calibration.holds(f.tpot, tpot_s));
  stats_.tpot_relative_error_sum += std::fabs(f.tpot - tpot_s) / tpot_s;
  ++stats_.tpot_predictions;
  i.tpot_calibration.learn(det_log(tpot_s / f.tpot));
  tpot_.learn(now, i.tpot, f.tpot_terms, tpot_s);
}

// ---- keeping ------------------------------------------------------------------

// The coefficients as they are now become what a rollback returns to, unless they
// predict far worse than those before: then these come back.
void Forecaster::check_for_rollback() {
  constexpr std::uint64_t kEvery = 500;
  constexpr double kFarWorse = 3, kBad = 1;  // usual |log ratio|: a factor of e
  bool finite = true;
  for (const double s : ttft_.fleet().shape) finite = finite && std::isfinite(s);
  if (!finite || (good_error_ > 0 && recent_error_ > kBad && ++since_good_ > 200 &&
                  recent_error_ > kFarWorse * good_error_)) {
    ++stats_.rollbacks;
    if (good_error_ > 0) restore(good_);
    recent_error_ = good_error_;
    since_good_ = 0;
    return;
  }
  if (stats_.samples % kEvery != 0 || recent_error_ > kBad) return;
  good_ = snapshot();
  good_error_ = recent_error_;
  since_good_ = 0;
  ++stats_.rounds_published;
}

Forecaster::Snapshot Forecaster::snapshot() const {
  Snapshot s{ttft_.fleet(), tpot_.fleet(), output_tokens_, remembered_, {}, {}};
  for (const Instance& i : instances_)
    if (i.present) s.instances[i.name] = {i.ttft, i.tpot, i.e2e_pace};
  s.idle = fleet_idle_;
  s.queued = fleet_queued_;
  return s;
}

void Forecaster::restore(const Snapshot& s) {
  if (!finite(s)) {  // its forecasts would be NaN, and with these nothing is ever learned
    ++stats_.rounds_failed;
    return;
  }
  ttft_.fleet() = s.ttft;
  tpot_.fleet() = s.tpot;
  output_tokens_ = s.output_tokens;
  remembered_ = s.instances;
  fleet_idle_ = s.idle;
  fleet_queued_ = s.queued;
  for (Instance& i : instances_) {
    if (!i.present) continue;
    if (i.idle.samples() == 0) i.idle = s.idle;
    if (i.queued.samples() == 0) i.queued = s.queued;
    const auto known = s.instances.find(i.name);
    if (known == s.instances.end()) continue;
    i.ttft = known->second.ttft;
    i.tpot = known->second.tpot;
    i.e2e_pace = known->second.e2e_pace;
  }
}

std::uint64_t Forecaster::state_hash() const {
  std::uint64_t h = hash_combine(stats_.samples, std::bit_cast<std::uint64_t>(output_tokens_));
  for (const double s : ttft_.fleet().shape) h = hash_combine(h, std::bit_cast<std::uint64_t>(s));
  std::uint64_t instances = 0;  // a sum: the order of slots must not matter
  for (const Instance& i : instances_) {
    if (!i.present) continue;
    std::uint64_t one = std::bit_cast<std::uint64_t>(i.ttft.pace);
    one = hash_combine(one, std::bit_cast<std::uint64_t>(i.tpot.pace));
    instances += hash_combine(one, i.pending.size());
  }
  return hash_combine(h, instances);
}

void Forecaster::report(LearnStats& out) const {
  const LearnStats& s = stats_;
  out = s;
  out.trained = s.samples > 0;
  out.residents = flights_.size();
  for (std::size_t slot = 0; slot < instances_.size(); ++slot) {
    const Instance& i = instances_[slot];
    if (!i.present) continue;
    LearnStats::Instance r;
    r.name = i.name;
    r.samples = i.ttft.samples;
    r.pace = i.ttft.pace;
    r.error = i.ttft.error;
    r.drifts = i.ttft.drifts;
    r.last_update = i.ttft.last_at;
    r.last_drift = i.ttft.drift_at;
    r.ttft_coverage = i.ttft_coverage.recent;
    r.ttft_samples = i.ttft_coverage.samples;
    r.ttft_inside = i.ttft_coverage.inside;
    r.tpot_samples = i.tpot_coverage.samples;
    r.tpot_inside = i.tpot_coverage.inside;
    r.e2e_samples = i.e2e_coverage.samples;
    r.e2e_inside = i.e2e_coverage.inside;
    out.instances.push_back(r);
  }
}

}  // namespace lodestar::learn
