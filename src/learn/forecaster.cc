// SPDX-License-Identifier: Apache-2.0
#include "learn/forecaster.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace lodestar::learn {
namespace {

// Before any sample: an 8-billion-parameter model on a mid-range card. Only the
// proportions matter, and only until the first samples.
PacedPrior<kTtftTerms> ttft_prior() {
  PacedPrior<kTtftTerms> p;
  p.shape = {0.03, 0.12, 0.004, 0.002, 0.004, 0.3, 0.0};
  p.least_spread.fill(0.003);
  return p;
}

PacedPrior<kTpotTerms> tpot_prior() {
  PacedPrior<kTpotTerms> p;
  p.shape = {0.02, 0.002, 0.003, 0.03, 0.005};
  p.least_spread.fill(5e-4);
  p.floor_s = 0.001;
  p.instance_keep = 0.995;
  p.instance_strength = 0.3;
  p.least_gain = 0.02;
  return p;
}

constexpr double kMostServed = 0.95;  // a head without a first token is not quite done
constexpr double kLeastS = 1e-3;
constexpr double kOverdueGraceS = 0.1;
constexpr double kOverdueShare = 0.5;  // what is late stays late by about half as much again

}  // namespace

bool Forecast::finite() const {
  return std::isfinite(ttft) && std::isfinite(tpot) && std::isfinite(e2e) && std::isfinite(own);
}

Forecaster::Forecaster() : ttft_(ttft_prior()), tpot_(tpot_prior()) {}

void Forecaster::up(Slot slot, const std::string& name) {
  if (slot >= instances_.size()) instances_.resize(slot + 1);
  Instance& i = instances_[slot] = Instance{};
  i.present = true;
  i.life = ++lives_;
  i.name = name;
  i.ttft = ttft_.fresh();
  i.tpot = tpot_.fresh();
  i.idle = fleet_idle_;
  i.queued = fleet_queued_;
  const auto known = remembered_.find(name);
  if (known == remembered_.end()) return;
  // It was here before: most likely the same hardware, but a restart may have changed
  // anything, so what it was counts for a few samples only.
  i.ttft = ttft_.resumed(known->second.ttft);
  i.tpot = tpot_.resumed(known->second.tpot);
  i.e2e_pace = known->second.e2e_pace;
}

void Forecaster::down(Slot slot) {
  Instance& i = at(slot);
  constexpr std::size_t kMostRemembered = 4096;
  if (i.present && i.ttft.samples > 0 &&
      (remembered_.size() < kMostRemembered || remembered_.contains(i.name)))
    remembered_[i.name] = {i.ttft, i.tpot, i.e2e_pace};
  i = Instance{};
}

void Forecaster::arrival(TimeNs now, std::size_t candidates) {
  // Shares of n instances need n times as many arrivals for the same precision.
  smoothing_ = 1 / (25.0 * static_cast<double>(std::max<std::size_t>(candidates, 1)));
  if (last_arrival_ != kNever)
    gap_s_ += 0.005 * (std::clamp(to_s(now - last_arrival_), 1e-5, 60.0) - gap_s_);
  last_arrival_ = now;
}

void Forecaster::offered(TimeNs now, Slot slot) {
  Instance& i = at(slot);
  drop_assumed(now, i);
  i.busy += smoothing_ * ((i.pending.empty() ? 0.0 : 1.0) - i.busy);
}

void Forecaster::chosen(Slot slot, std::span<const Slot> candidates) {
  for (const Slot c : candidates) at(c).share -= smoothing_ * at(c).share;
  at(slot).share += smoothing_;
}

double Forecaster::seconds_of(const Instance& i, double tokens, double attention,
                              double context) const {
  const auto& shape = ttft_.shape(i.ttft);
  return ttft_.pace(i.ttft) * (tokens * (shape[kTokens] / 1e3 + shape[kMixed] * context / 1e7) +
                               attention * shape[kAttention] / 1e6);
}

// Share of the queued work that is still to be done.
double Forecaster::part_left(TimeNs now, const Instance& i, double context,
                             double& overdue_s) const {
  const Pending& head = i.pending.front();
  const double served_s = to_s(now - std::max(head.placed_at, i.last_first));
  const double head_s = seconds_of(i, head.tokens, head.attention, context) + kLeastS;
  const double whole_s = seconds_of(i, i.tokens, i.attention, context) + kLeastS;
  const double since_first = whole_s - std::min(served_s, kMostServed * head_s);
  const double draining = std::clamp(i.backlog_s - to_s(now - i.backlog_at), 0.0, whole_s);
  overdue_s = kOverdueShare * std::max(0.0, served_s - head_s - kOverdueGraceS);
  return (since_first + draining) / 2 / whole_s;
}

// Seconds until the KV cache has room for so many tokens more than now. Room comes back
// as answers end: decode context / usual time in decode, per second. The edge is soft, 2 %
// of the cache: our books are not the engine's.
double Forecaster::room_wait(const Instance& i, const FeatureRow& row, double context,
                             double tokens) const {
  if (row.kv_capacity_tokens <= 0) return 0;
  const double need =
      context * i.kv_ratio + row.pending_prompt_tokens + tokens - row.kv_capacity_tokens;
  const double width = 0.02 * row.kv_capacity_tokens, z = need / width;
  const double lacking = z > 20 ? need : z < -20 ? 0.0 : width * det_log(1 + det_exp(z));
  return lacking * i.residence_s / std::max(1000.0, context);
}

// What `tokens` more in the KV cache cost the usual requests that come while they stay:
// each waits longer for room, if room is short then.
double Forecaster::crowding(const Instance& i, const FeatureRow& row, double context,
                            double tokens) const {
  const double longer = room_wait(i, row, context, prompt_tokens_ + tokens) -
                        room_wait(i, row, context, prompt_tokens_);
  const double each_s = ttft_.pace(i.ttft) * ttft_.shape(i.ttft)[kMemory] * longer;
  return each_s * i.residence_s * i.share / gap_s_;
}

Forecast Forecaster::forecast(TimeNs now, Slot slot, const FeatureRow& row,
                              double output_cap) const {
  const Instance& i = at(slot);
  Forecast f;
  // What others sent there holds at least what the gauge says, and is else like our own.
  const double foreign_decoding = row.foreign_requests - row.foreign_waiting;
  const double context =
      row.decode_context_tokens +
      std::max(row.foreign_kv_tokens, foreign_decoding * (prompt_tokens_ + output_tokens_ / 2));
  double ahead = 0, ahead_attention = 0, overdue_s = 0;
  if (!i.pending.empty()) {
    const double left = part_left(now, i, context, overdue_s);
    ahead = left * i.tokens;
    ahead_attention = left * i.attention;
    f.queued = true;
  }
  ahead += row.foreign_waiting * computed_tokens_;
  const double hit = std::min(row.hit_tokens * row.hit_correction, row.prompt_tokens);
  f.own_tokens = row.prompt_tokens - hit;
  f.own_attention = f.own_tokens * (hit + f.own_tokens / 2);
  auto& x = f.ttft_terms;
  x[kOne] = 1;
  x[kTokens] = (ahead + f.own_tokens) / 1e3;
  x[kAttention] = (ahead_attention + f.own_attention) / 1e6;
  x[kMixed] = (ahead + f.own_tokens) * context / 1e7;
  x[kDecode] = context / 1e4;
  x[kMemory] = room_wait(i, row, context, f.own_tokens);
  x[kRequests] = static_cast<double>(i.pending.size());
  // In this order max() keeps a NaN: it must show, not turn into the best of all.
  f.ttft = std::max(ttft_.predict(i.ttft, x), kLeastS) + overdue_s;
  f.own = seconds_of(i, f.own_tokens, f.own_attention, context);
  f.wait = std::max(0.0, f.ttft - f.own);
  auto& t = f.tpot_terms;
  t = {1, (row.inflight_decode + foreign_decoding + 1) / 10, context / 1e4, i.busy,
       std::min(10.0, ahead / 1e3)};
  f.tpot = std::max(tpot_.predict(i.tpot, t), 1e-4);
  f.output_tokens = output_cap > 0 ? std::min(output_cap, output_tokens_) : output_tokens_;
  f.crowding = crowding(i, row, context, f.own_tokens + f.output_tokens);
  f.e2e = i.e2e_pace * (f.ttft + f.output_tokens * f.tpot);
  return f;
}

double Forecaster::ttft_quantile(Slot slot, const Forecast& f, std::size_t level) const {
  const Instance& i = at(slot);
  return f.ttft * (f.queued ? i.queued : i.idle).ratio(level);
}

double Forecaster::ttft_probability(Slot slot, const Forecast& f, double seconds) const {
  const Instance& i = at(slot);
  return (f.queued ? i.queued : i.idle).probability_below(seconds / f.ttft);
}

double Forecaster::tpot_probability(Slot slot, const Forecast& f, double seconds) const {
  return at(slot).tpot_calibration.probability_below(seconds / f.tpot);
}

}  // namespace lodestar::learn
