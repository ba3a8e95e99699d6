// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper_policy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/hash.h"
#include "policies/hash_ring.h"
#include "policies/picker.h"

namespace lodestar {
namespace {

constexpr double kNoPrediction = std::numeric_limits<double>::quiet_NaN();
constexpr double kNotAllowed = std::numeric_limits<double>::quiet_NaN();
constexpr double kRecentWeight = 1.0 / 500;

}  // namespace

LodestarPaperPolicy::LodestarPaperPolicy(LodestarPaperOptions options,
                                         std::unique_ptr<Policy> fallback)
    : options_(options),
      fallback_(std::move(fallback)),
      groups_(options.group_tokens),
      training_(options.pools) {
  LODESTAR_CHECK(fallback_ != nullptr);
}

// ---- deciding ---------------------------------------------------------------

void LodestarPaperPolicy::read_features(const DecisionContext& context) {
  const std::size_t n = context.candidates.size();
  features_.resize(n);
  moments_ = {};
  for (std::size_t i = 0; i < n; ++i) {
    learn::GpuClass gpu = -1;
    if (options_.trainer.gpu_labels) {
      const Fleet::Slot slot = context.candidates[i];
      if (gpu_labels_.size() <= slot) gpu_labels_.resize(slot + 1);
      GpuLabel& label = gpu_labels_[slot];
      const std::string& hardware = context.instance(i).info.hardware;
      if (label.hardware != hardware) label = {hardware, learn::paper_gpu_class(hardware)};
      gpu = label.gpu;
    }
    FeatureRow row = context.rows[i];
    row.hit_age_s *= options_.time_scale;
    features_[i] = learn::paper_features(row, gpu);
    if (features_[i].usable()) moments_.add(features_[i]);
  }
}

LodestarPaperPolicy::Why LodestarPaperPolicy::assess() {
  if (predictor_ == nullptr) return Why::kCold;
  for (const auto& x : features_)
    if (!x.usable()) return Why::kNan;
  if (options_.range_rule == RangeRule::kEveryCandidate)
    for (const auto& x : features_)
      if (!predictor_->in_range(x, options_.range_margin)) return Why::kOutOfRange;
  reward_.resize(features_.size());
  predictor_->predict(features_, reward_, scratch_);
  for (float r : reward_)
    if (!std::isfinite(r)) return Why::kNan;
  return Why::kPredict;
}

bool LodestarPaperPolicy::filter(const DecisionContext& context) {
  const std::size_t n = context.candidates.size();
  if (options_.k == 0 || options_.k >= n) return false;
  const std::uint64_t group = groups_.group(context.request);
  if (group == 0) return false;
  double usage = 0, best_hit = 0;
  for (const FeatureRow& row : context.rows) {
    usage += row.kv_usage;
    best_hit = std::max(best_hit, row.hit_tokens);
  }
  const bool full = usage / static_cast<double>(n) > options_.kv_threshold;
  if (!full || !(best_hit > options_.min_hit_tokens)) return false;
  chosen_.resize(options_.k);
  rendezvous_top(group, context, chosen_);
  return true;
}

LodestarPaperPolicy::Why LodestarPaperPolicy::predicted_choice(const DecisionContext& context,
                                                               Decision& out) {
  const std::size_t n = context.candidates.size();
  cost_.resize(n);
  load_.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    cost_[i] = -static_cast<double>(reward_[i]);
    load_[i] = context.rows[i].inflight;
  }
  const std::size_t freely =
      static_cast<std::size_t>(std::min_element(cost_.begin(), cost_.end()) - cost_.begin());
  const double least = cost_[freely];
  const bool filtered = filter(context);
  if (filtered) {
    ++stats_.filter_active;
    for (std::size_t i = 0; i < n; ++i)
      if (std::find(chosen_.begin(), chosen_.end(), i) == chosen_.end()) cost_[i] = kNotAllowed;
  }
  const Pick pick = pick_least(cost_, load_, context.rng);
  LODESTAR_CHECK(pick.index != kNoPick);
  if (options_.range_rule == RangeRule::kChosen &&
      !predictor_->in_range(features_[pick.index], options_.range_margin))
    return Why::kOutOfRange;
  if (filtered && cost_[pick.index] > least) ++stats_.filter_moved;
  out.place(pick.index, filtered ? "least predicted TTFT of the prefix group's instances"
                                 : "least predicted TTFT");
  out.propensity = pick.propensity;
  return Why::kPredict;
}

void LodestarPaperPolicy::decide(const DecisionContext& context, Decision& out,
                                 PolicyActions& actions) {
  ++stats_.decisions;
  read_features(context);
  // A group may use K instances: it should bring at most half of what K instances
  // of this fleet carry on average.
  const double instances = static_cast<double>(context.candidates.size());
  if (options_.k > 0 && !context.reconsidered)
    groups_.observe(context.request,
                    std::max(0.1, 0.5 * static_cast<double>(options_.k) / instances));
  Why why = assess();
  if (why == Why::kPredict) why = predicted_choice(context, out);
  if (why != Why::kPredict) {
    fallback_->decide(context, out, actions);
    out.fallback = true;
    switch (why) {
      case Why::kCold:
        out.reason = "cold";
        ++stats_.fallback_cold;
        break;
      case Why::kOutOfRange:
        out.reason = "out-of-range";
        ++stats_.fallback_out_of_range;
        break;
      default:
        out.reason = "nan";
        ++stats_.fallback_nan;
        break;
    }
  }
  last_slot_ = Fleet::kNoSlot;
  if (out.kind != Decision::Kind::kPlace || out.choices.empty()) return;
  const std::size_t chosen = out.choices.front().candidate;
  if (chosen >= features_.size()) return;  // the router repairs what a fallback broke
  last_request_ = context.request_id;
  last_slot_ = context.candidates[chosen];
  last_.x = features_[chosen];
  last_.candidates = moments_;
  last_.predicted_ms = why == Why::kPredict
                           ? std::max(0.0, -1e3 * static_cast<double>(reward_[chosen]))
                           : kNoPrediction;
}

// ---- learning ---------------------------------------------------------------

void LodestarPaperPolicy::on_placed(TimeNs now, const RequestInfo& request, const Outcome& outcome,
                                    PolicyActions& actions) {
  fallback_->on_placed(now, request, outcome, actions);
  if (outcome.request == last_request_ && outcome.slot == last_slot_)
    pending_[outcome.lease] = last_;
}

void LodestarPaperPolicy::on_first_token(TimeNs now, const Outcome& outcome,
                                         PolicyActions& actions) {
  fallback_->on_first_token(now, outcome, actions);
  const auto it = pending_.find(outcome.lease);
  if (it == pending_.end() || !outcome.ttft_ms) return;
  const Pending pending = it->second;
  pending_.erase(it);
  learn_label(pending, *outcome.ttft_ms * options_.time_scale, actions);
}

void LodestarPaperPolicy::on_settled(TimeNs now, const Outcome& outcome, PolicyActions& actions) {
  fallback_->on_settled(now, outcome, actions);
  const bool no_first_token = pending_.erase(outcome.lease) > 0;
  if (no_first_token && outcome.disposition == Disposition::kLearn) ++stats_.unlabelled;
}

void LodestarPaperPolicy::learn_label(const Pending& pending, double ttft_ms,
                                      PolicyActions& actions) {
  if (!std::isnan(pending.predicted_ms)) {
    const double error = std::fabs(pending.predicted_ms - ttft_ms);
    const double relative = error / std::max(ttft_ms, 1.0);
    stats_.absolute_error_ms_sum += error;
    stats_.relative_error_sum += relative;
    ++stats_.predictions;
    const double weight = std::max(kRecentWeight, 1.0 / static_cast<double>(stats_.predictions));
    stats_.recent_mape += weight * (relative - stats_.recent_mape);
  }
  ++stats_.samples;
  ++new_labels_;
  const bool over = ttft_ms > options_.ttft_limit_ms;
  if (over) ++stats_.samples_over_limit;
  if (!pending.x.usable()) {
    ++stats_.samples_unusable;
  } else if (!over || options_.clip_ttft) {
    learn::Sample sample;
    sample.sequence = next_sequence_++;
    sample.x = pending.x;
    sample.reward = static_cast<float>(-1e-3 * std::min(ttft_ms, options_.ttft_limit_ms));
    sample.candidates = pending.candidates;
    training_.add(sample);
    digest_ = hash_combine(digest_, std::bit_cast<std::uint32_t>(sample.reward));
  }
  train_if_due(actions);
}

void LodestarPaperPolicy::train_if_due(PolicyActions& actions) {
  if (in_flight_ != nullptr || new_labels_ < options_.theta) return;
  if (training_.stored() < options_.min_rows) return;
  ++stats_.rounds_started;
  new_labels_ = 0;
  in_flight_ = std::make_shared<learn::PaperTrainJob>(
      options_.trainer, stats_.rounds_started, training_.begin_round(Rng(options_.trainer.seed)),
      predictor_);
  actions.train = in_flight_;
}

void LodestarPaperPolicy::on_predictor(TimeNs now, std::shared_ptr<const Predictor> published,
                                       PolicyActions& actions) {
  const auto predictor = std::dynamic_pointer_cast<const learn::PaperPredictor>(published);
  if (predictor == nullptr || predictor->gpu_labels() != options_.trainer.gpu_labels) {
    ++stats_.rounds_failed;  // the old predictor stays; its rows are in the store
    in_flight_ = nullptr;
  } else {
    const bool ours = in_flight_ != nullptr && predictor->record().round == in_flight_->round();
    if (ours) training_.set_replay(in_flight_->set(), predictor->replay());
    if (ours) in_flight_ = nullptr;
    predictor_ = predictor;
    ++stats_.rounds_published;
    stats_.last_update = now;
    stats_.training_rows = predictor->record().rows;
    stats_.training_mse_s2 = predictor->record().training_mse;
    stats_.holdout_mse_s2 = predictor->record().holdout_mse;
    stats_.holdout_mae_ms = predictor->record().holdout_mae_ms;
    digest_ = hash_combine(digest_, predictor->digest());
  }
  train_if_due(actions);
}

// ---- the rest ---------------------------------------------------------------

void LodestarPaperPolicy::on_forgotten(TimeNs now, RequestId request) {
  fallback_->on_forgotten(now, request);
}
void LodestarPaperPolicy::on_instance_up(TimeNs now, Fleet::Slot slot, const Fleet& fleet,
                                         PolicyActions& actions) {
  fallback_->on_instance_up(now, slot, fleet, actions);
}
void LodestarPaperPolicy::on_instance_down(TimeNs now, Fleet::Slot slot, const Fleet& fleet) {
  fallback_->on_instance_down(now, slot, fleet);
}
void LodestarPaperPolicy::on_timer(TimeNs now, const Fleet& fleet, PolicyActions& actions) {
  fallback_->on_timer(now, fleet, actions);
}

std::uint64_t LodestarPaperPolicy::state_hash() const {
  std::uint64_t h = hash_combine(digest_, stats_.samples);
  h = hash_combine(h, stats_.rounds_started * 1000003 + stats_.rounds_published);
  return hash_combine(h, fallback_->state_hash());
}

LearnStats LodestarPaperPolicy::learn_stats() const {
  LearnStats stats = stats_;
  stats.trained = predictor_ != nullptr;
  stats.training = in_flight_ != nullptr;
  return stats;
}

}  // namespace lodestar
