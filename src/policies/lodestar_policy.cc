// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/hash.h"
#include "policies/hash_ring.h"

namespace lodestar {
namespace {
constexpr double kNoOpinion = std::numeric_limits<double>::quiet_NaN();
constexpr double kMostBudgetS = 20;
}  // namespace

LodestarPolicy::LodestarPolicy(const LodestarOptions& options) : options_(options), groups_(0) {}

Needs LodestarPolicy::needs() const {
  return {.prefix = true, .progress = true, .mirror = options_.mirror};
}

void LodestarPolicy::meet(TimeNs now, Fleet::Slot slot, const Fleet& fleet) {
  if (slot >= known_.size()) {
    known_.resize(slot + 1, false);
    probed_.resize(slot + 1, 0);
  }
  known_[slot] = true;
  probed_[slot] = now;
  forecaster_.up(slot, fleet.at(slot).info.name);
}

// A policy may be made after its instances came up: catch up before the first use.
void LodestarPolicy::know(const DecisionContext& context) {
  for (const Fleet::Slot slot : context.candidates)
    if (slot >= known_.size() || !known_[slot]) meet(context.now, slot, context.fleet);
}

Prospect LodestarPolicy::prospect(const DecisionContext& context, std::size_t c) const {
  const Fleet::Slot slot = context.candidates[c];
  const learn::Forecast& f = forecasts_[c];
  Prospect p{.ttft_s = f.ttft,
             .usual_ttft_s = usual_ttft_s_,
             .wait_s = f.wait,
             .own_s = f.own,
             .decode_s = f.output_tokens * f.tpot,
             .e2e_factor = f.e2e / (f.ttft + f.output_tokens * f.tpot),
             .slo_probability = 1,
             .busy = forecaster_.busy(slot),
             .arrivals_per_s = forecaster_.arrivals_per_s(slot),
             .decoding = context.rows[c].inflight_decode,
             .crowding_s = f.crowding};
  if (options_.objective.reward == Reward::kSlo) {
    const SloTarget& slo = context.request.slo;
    if (slo.ttft_ms > 0)
      p.slo_probability *= forecaster_.ttft_probability(slot, f, slo.ttft_ms * 1e-3);
    if (slo.tpot_ms > 0)
      p.slo_probability *= forecaster_.tpot_probability(slot, f, slo.tpot_ms * 1e-3);
  }
  return p;
}

// The option of the published system: only the K instances that the request's prefix
// group hashes to. The price makes it needless (docs/results/learning.md), so k is 0.
void LodestarPolicy::restrict_to_group(const DecisionContext& context) {
  const std::size_t n = context.candidates.size();
  if (options_.k == 0) return;
  groups_.observe(context.request,
                  static_cast<double>(options_.k) / static_cast<double>(std::max(n, options_.k)));
  const std::uint64_t group = groups_.group(context.request);
  if (group == 0 || options_.k >= n) return;
  group_.resize(options_.k);
  group_.resize(rendezvous_top(group, context, group_));
  ++filter_active_;
  const std::size_t best = static_cast<std::size_t>(
      std::min_element(cost_.begin(), cost_.end(),
                       [](double a, double b) { return a < b || (a == a && b != b); }) -
      cost_.begin());
  if (std::find(group_.begin(), group_.end(), best) == group_.end()) ++filter_moved_;
  for (std::size_t c = 0; c < n; ++c)
    if (std::find(group_.begin(), group_.end(), c) == group_.end()) cost_[c] = kNoOpinion;
}

// Least cost; of those as good as the best, least price; of those, least load, then chance.
// As good: within `near`, or within what is not known of the candidate, so that of equal
// instances none is left out for ever because its last sample was a bad one. Prices that
// differ by less than costs do when they are equal are equal too.
Pick LodestarPolicy::choose(const DecisionContext& context) {
  constexpr double kMostDoubt = 0.3;
  double least = std::numeric_limits<double>::infinity();
  for (const double c : cost_) least = c < least ? c : least;
  if (!(least < std::numeric_limits<double>::infinity())) return {};
  double cheapest = std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; c < cost_.size(); ++c) {
    near_[c] = kNoOpinion;
    if (!(cost_[c] <= least * (1 + std::max(options_.near, kMostDoubt)))) continue;
    const double doubt = forecaster_.uncertainty(context.now, context.candidates[c]);
    const double slack =
        options_.near > 0 ? std::max(options_.near, std::min(doubt, kMostDoubt)) : 0;
    if (cost_[c] > least * (1 + slack)) continue;
    near_[c] = 0;
    cheapest = price_[c] < cheapest ? price_[c] : cheapest;
  }
  for (std::size_t c = 0; c < cost_.size(); ++c)
    if (price_[c] > cheapest + least * options_.near / 3) near_[c] = kNoOpinion;
  return pick_least(near_, load_, context.rng);
}

// One candidate that was not heard of for long, when trying it is cheap: what it would
// cost by prediction is paid from a budget that is a small share of all TTFT.
Pick LodestarPolicy::explore(const DecisionContext& context, Pick best) {
  const double best_s = forecasts_[best.index].ttft;
  best_s_sum_ += best_s;
  if (options_.explore <= 0) return best;
  budget_s_ = std::min(budget_s_ + options_.explore * best_s, kMostBudgetS);
  std::size_t oldest = kNoPick;
  TimeNs since = context.now - from_s(options_.explore_after_s);
  for (std::size_t c = 0; c < context.candidates.size(); ++c) {
    const Fleet::Slot slot = context.candidates[c];
    const TimeNs sample = forecaster_.last_sample(slot);
    const TimeNs heard = std::max(probed_[slot], sample == kNever ? 0 : sample);
    if (heard >= since || !forecaster_.idle(slot) || cost_[c] != cost_[c]) continue;
    if (forecasts_[c].ttft - best_s > budget_s_) continue;
    oldest = c;
    since = heard;
  }
  if (oldest == kNoPick || oldest == best.index) return best;
  const double regret_s = std::max(0.0, forecasts_[oldest].ttft - best_s);
  budget_s_ -= regret_s;
  regret_s_sum_ += regret_s;
  probed_[context.candidates[oldest]] = context.now;
  ++explored_;
  return {oldest, 1};
}

void LodestarPolicy::decide(const DecisionContext& context, Decision& out, PolicyActions&) {
  const std::size_t n = context.candidates.size();
  ++decisions_;
  know(context);
  forecaster_.arrival(context.now, n);
  forecasts_.resize(n);
  cost_.resize(n);
  price_.resize(n);
  near_.resize(n);
  load_.resize(n);
  const double cap = static_cast<double>(context.request.max_output_tokens);
  for (std::size_t c = 0; c < n; ++c) {
    const Fleet::Slot slot = context.candidates[c];
    forecaster_.offered(context.now, slot);
    forecasts_[c] = forecaster_.forecast(context.now, slot, context.rows[c], cap);
    load_[c] = context.rows[c].inflight;
    if (!forecasts_[c].finite()) {
      ++not_finite_;
      cost_[c] = price_[c] = kNoOpinion;
      continue;
    }
    const Prospect p = prospect(context, c);
    price_[c] = price(options_.objective, p);
    cost_[c] = own_cost(options_.objective, p) + price_[c];
  }
  restrict_to_group(context);
  Pick pick = choose(context);
  if (pick.index == kNoPick) {
    ++fallbacks_;
    pick = pick_least(load_, load_, context.rng);
    out.place(pick.index, "no forecast is a number: least request");
    out.fallback = true;
  } else {
    const Pick tried = explore(context, pick);
    out.place(tried.index,
              tried.index == pick.index ? "least predicted cost" : "exploration within budget");
    pick = tried;
  }
  out.propensity = pick.propensity;
  chosen_ = forecasts_[pick.index];
  const Fleet::Slot slot = context.candidates[pick.index];
  forecaster_.chosen(slot, context.candidates);
  if (!chosen_.finite()) return;  // no opinion
  usual_ttft_s_ += std::max(0.01, 1 / static_cast<double>(decisions_)) *
                   (std::max(chosen_.ttft, 1e-3) - usual_ttft_s_);
  out.forecast = {
      .ttft_ms = forecaster_.ttft_quantile(slot, chosen_, learn::Calibration::kMedian) * 1e3,
      .ttft_low_ms = forecaster_.ttft_quantile(slot, chosen_, learn::Calibration::kLow) * 1e3,
      .ttft_high_ms = forecaster_.ttft_quantile(slot, chosen_, learn::Calibration::kHigh) * 1e3,
      .tpot_ms = chosen_.tpot * 1e3};
}

void LodestarPolicy::on_placed(TimeNs now, const RequestInfo& request, const Outcome& outcome,
                               PolicyActions&) {
  forecaster_.placed(now, outcome, chosen_, request.stream);
}

void LodestarPolicy::on_first_token(TimeNs now, const Outcome& outcome, PolicyActions&) {
  forecaster_.first_token(now, outcome);
}

void LodestarPolicy::on_settled(TimeNs now, const Outcome& outcome, PolicyActions&) {
  forecaster_.settled(now, outcome);
  if (options_.freeze_after > 0)
    forecaster_.freeze(static_cast<double>(forecaster_.samples()) >= options_.freeze_after);
}

void LodestarPolicy::on_instance_up(TimeNs now, Fleet::Slot slot, const Fleet& fleet,
                                    PolicyActions&) {
  meet(now, slot, fleet);
}

void LodestarPolicy::on_instance_down(TimeNs, Fleet::Slot slot, const Fleet&) {
  if (slot >= known_.size() || !known_[slot]) return;
  known_[slot] = false;
  forecaster_.down(slot);
}

void LodestarPolicy::on_predictor(TimeNs, std::shared_ptr<const Predictor> predictor,
                                  PolicyActions&) {
  const auto* ours = dynamic_cast<const LodestarPredictor*>(predictor.get());
  if (ours == nullptr) return forecaster_.count_refused();
  forecaster_.restore(ours->snapshot);
}

std::shared_ptr<const Predictor> LodestarPolicy::learned() const {
  return std::make_shared<LodestarPredictor>(forecaster_.snapshot());
}

std::optional<LearnStats> LodestarPolicy::learning() const {
  LearnStats s;
  forecaster_.report(s);
  s.decisions = decisions_;
  s.fallback_nan = fallbacks_;
  s.forecasts_not_finite = not_finite_;
  s.explored = explored_;
  s.explore_regret_s_sum = regret_s_sum_;
  s.best_ttft_s_sum = best_s_sum_;
  s.filter_active = filter_active_;
  s.filter_moved = filter_moved_;
  return s;
}

std::uint64_t LodestarPolicy::state_hash() const {
  return hash_combine(forecaster_.state_hash(), hash_combine(decisions_, explored_));
}

}  // namespace lodestar
