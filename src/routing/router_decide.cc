// SPDX-License-Identifier: Apache-2.0
// How one request becomes an effect: candidates, features, decision, lease.
#include <algorithm>
#include <cmath>

#include "routing/filters.h"
#include "routing/router.h"

namespace lodestar {
namespace {
constexpr double kNeverUsedAgeS = 999;  // the age of a hit that never was
constexpr std::size_t kKnownPolicies = 16;  // clients may invent names without end
}  // namespace

Result<PolicyId> Router::policy_for(TimeNs now, const std::string& name,
                                    const std::string& served_model) {
  for (const KnownPolicy& known : known_policies_)
    if (known.name == name && known.served_model == served_model) return known.id;
  const auto found = find_policy(now, name, served_model);
  if (found) {
    if (known_policies_.size() == kKnownPolicies) known_policies_.clear();
    known_policies_.push_back({name, served_model, *found});
  }
  return found;
}

Result<PolicyId> Router::find_policy(TimeNs now, const std::string& name,
                                     const std::string& served_model) {
  // One policy object per (policy, served model), but never one per string that
  // a client can invent: only names that an instance or the configuration lists.
  bool listed = config_.policy_by_model.contains(served_model);
  for (Fleet::Slot slot : fleet_.present()) {
    const auto& names = fleet_.at(slot).info.served_models;
    listed = listed || std::find(names.begin(), names.end(), served_model) != names.end();
  }
  const std::string key = listed ? name + "\n" + served_model : name;
  for (PolicyId p = 0; p < policies_.size(); ++p)
    if (policies_[p].name == key) return p;
  auto made = factory_(name);
  if (!made) return std::unexpected(made.error());
  PolicySlot slot{key, std::move(*made), {}, Rng(config_.seed).fork("policy/" + key)};
  slot.needs = slot.policy->needs();
  take_up_state(now, slot);
  policies_.push_back(std::move(slot));
  return static_cast<PolicyId>(policies_.size() - 1);
}

bool Router::has_policy(std::string_view name) { return factory_(name).has_value(); }

bool Router::needs_progress() const {
  return std::any_of(policies_.begin(), policies_.end(),
                     [](const PolicySlot& p) { return p.needs.progress; });
}

bool Router::needs_prefix() const {
  return std::any_of(policies_.begin(), policies_.end(),
                     [](const PolicySlot& p) { return p.needs.prefix; });
}

std::uint64_t Router::state_hash() const {
  std::uint64_t h = decision_hash_;
  for (const PolicySlot& p : policies_) {
    h = hash_combine(h, p.rng.state_hash());
    h = hash_combine(h, p.policy->state_hash());
  }
  return hash_combine(h, belief_.state_hash());
}

void Router::on(TimeNs now, const RequestArrived& e, Effects& out) {
  arrive(now, e.request, e.info, out);
}

void Router::on(TimeNs now, RequestArrived&& e, Effects& out) {
  arrive(now, e.request, std::move(e.info), out);
}

void Router::arrive(TimeNs now, RequestId id, RequestInfo arrived, Effects& out) {
  ++counters_.arrived;
  auto [it, fresh] = requests_.try_emplace(id);
  if (!fresh) {  // the driver reused an id: keep the first, refuse the second
    ++counters_.ignored_reports;
    return;
  }
  ActiveRequest& request = it->second;
  request.info = std::move(arrived);
  RequestInfo& info = request.info;
  if (info.prompt_tokens <= 0) {
    const auto guess = tokens_.estimate(info.served_model, info.prompt_bytes);
    info.prompt_tokens = guess.tokens;
    info.prompt_tokens_error = guess.error;
  }
  route(now, id, request, /*reconsidered=*/false, out);
}

void Router::collect_candidates(const ActiveRequest& request) {
  candidates_.clear();
  for (Fleet::Slot slot : fleet_.present()) {
    const InstanceState& state = fleet_.at(slot);
    const std::pair life{state.info.id, state.info.incarnation};
    const bool tried =
        std::find(request.tried.begin(), request.tried.end(), life) != request.tried.end();
    if (!tried && exclusion(request.info, state) == Exclusion::kNone) candidates_.push_back(slot);
  }
}

void Router::compute_rows(TimeNs now, const RequestInfo& info, bool prefix) {
  rows_.assign(candidates_.size(), FeatureRow{});
  if (prefix) prefix_.match(info.block_hashes, match_);
  const double block_tokens = tokens_per_block(info);
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const InstanceState& state = fleet_.at(candidates_[i]);
    FeatureRow& row = rows_[i];
    row.prompt_tokens = info.prompt_tokens;
    if (prefix && state.info.prefix_caching && !info.block_hashes.empty()) {
      const std::uint32_t depth = match_.depth[candidates_[i]];
      row.hit_tokens = std::min(depth * block_tokens, info.prompt_tokens);
      row.hit_ratio = static_cast<double>(depth) / static_cast<double>(info.block_hashes.size());
      row.hit_correction = belief_.correction(candidates_[i]);
      if (depth > 0)
        row.hit_age_s =
            std::clamp(to_s(now - match_.last_use[candidates_[i]]), 0.0, kNeverUsedAgeS);
    }
    const OwnLoad& own = state.own;
    row.inflight = static_cast<double>(own.inflight);
    row.inflight_prefill = static_cast<double>(own.inflight_prefill);
    row.inflight_decode = static_cast<double>(own.inflight_decode);
    row.pending_prompt_tokens = own.pending_prompt_tokens;
    row.pending_uncached_tokens = own.pending_uncached_tokens;
    row.decode_generated_tokens = own.decode_generated_tokens;
    row.decode_context_tokens = own.decode_context_tokens;
    row.kv_capacity_tokens = static_cast<double>(state.info.kv_capacity_tokens);
    row.told_prefill_tokens_per_s = state.info.told_prefill_tokens_per_s;
    if (state.load && now - state.load->taken_at <= config_.scrape_stale_after) {
      row.running = state.load->running;
      row.waiting = state.load->waiting;
      row.kv_usage = state.load->kv_usage;
      row.scrape_age_s = to_s(now - state.load->taken_at);
      row.scrape_known = 1;
      // One more or less is what was on its way between us when the gauges were read.
      const OwnLoad& then = state.own_at_scrape;
      row.foreign_requests =
          std::max(0.0, row.running + row.waiting - static_cast<double>(then.inflight) - 1);
      row.foreign_waiting =
          std::min(row.foreign_requests,
                   std::max(0.0, row.waiting - static_cast<double>(then.inflight_prefill)));
      if (row.foreign_requests > 0)
        row.foreign_kv_tokens =
            std::max(0.0, row.kv_usage * row.kv_capacity_tokens - then.decode_context_tokens -
                              then.pending_prompt_tokens);
    } else {  // unknown, not zero: our own books are the next best thing
      row.running = row.inflight;
      if (row.kv_capacity_tokens > 0)
        row.kv_usage = std::min(
            1.0, (row.decode_context_tokens + row.pending_prompt_tokens) / row.kv_capacity_tokens);
      row.scrape_age_s = kNeverUsedAgeS;
    }
  }
}

void Router::route(TimeNs now, RequestId id, ActiveRequest& request, bool reconsidered,
                   Effects& out) {
  const RequestInfo& info = request.info;
  collect_candidates(request);
  if (candidates_.empty()) {
    bool served = false, fits = false;
    for (Fleet::Slot slot : fleet_.present()) {
      if (!fleet_.at(slot).serves(info.served_model)) continue;
      served = true;
      fits = fits || exclusion(info, fleet_.at(slot)) != Exclusion::kTooLong;
    }
    const RejectReason why = !served                  ? RejectReason::kUnknownModel
                             : !fits                  ? RejectReason::kTooLong
                             : !request.tried.empty() ? RejectReason::kAttemptsExhausted
                                                      : RejectReason::kNoInstance;
    const bool again = why == RejectReason::kNoInstance || why == RejectReason::kAttemptsExhausted;
    reject(id, why, again ? kSecond : 0, out);
    return;
  }
  const std::string* name = &info.policy;
  if (name->empty()) {
    const auto own = config_.policy_by_model.find(info.served_model);
    name = own != config_.policy_by_model.end() ? &own->second : &config_.policy;
  }
  const auto policy_id = policy_for(now, *name, info.served_model);
  if (!policy_id) {
    reject(id, RejectReason::kPolicy, 0, out);
    return;
  }
  request.policy = *policy_id;
  PolicySlot& slot = policies_[*policy_id];
  compute_rows(now, info, slot.needs.prefix);
  decision_.clear();
  PolicyActions actions;
  const DecisionContext context{now, info, id, candidates_, rows_, fleet_, slot.rng, reconsidered};
  slot.policy->decide(context, decision_, actions);
  switch (decision_.kind) {
    case Decision::Kind::kHold:
      request.held = true;
      ++counters_.held;
      decision_hash_ = hash_combine(decision_hash_, id.value ^ 0x401dULL);
      out.push_back(Hold{id});
      break;
    case Decision::Kind::kReject:
      reject(id, RejectReason::kPolicy, decision_.retry_after, out);
      break;
    case Decision::Kind::kPlace:
      repair_decision(decision_);
      request.held = false;
      dispatch(now, id, request, decision_, out);
      break;
  }
  apply(now, *policy_id, actions, out);
}

// A policy that chose nothing, or something that does not exist, must not lose
// the request: the least-loaded candidate takes it, and a counter says so.
void Router::repair_decision(Decision& decision) {
  const bool valid = !decision.choices.empty() &&
                     std::all_of(decision.choices.begin(), decision.choices.end(),
                                 [&](const auto& c) { return c.candidate < candidates_.size(); });
  if (valid) return;
  ++counters_.invalid_decisions;
  std::size_t best = 0;
  for (std::size_t i = 1; i < rows_.size(); ++i)
    if (rows_[i].inflight < rows_[best].inflight) best = i;
  decision.place(best, "invalid decision");
  decision.fallback = true;
}

LeaseId Router::open_lease(TimeNs now, RequestId id, ActiveRequest& request,
                           const Decision& decision, const Decision::Choice& choice) {
  const Fleet::Slot slot = candidates_[choice.candidate];
  InstanceState& state = fleet_.at(slot);
  const LeaseId lease_id{next_lease_++};
  Lease& lease = leases_[lease_id];
  lease.request = id;
  lease.slot = slot;
  lease.instance = state.info.id;
  lease.incarnation = state.info.incarnation;
  lease.role = choice.role;
  lease.placed_at = now;
  lease.row = rows_[choice.candidate];
  lease.prompt_tokens = request.info.prompt_tokens;
  lease.uncached_tokens = lease.row.uncached_tokens();
  lease.propensity = decision.propensity;
  OwnLoad& own = state.own;
  own.inflight += 1;
  own.inflight_prefill += 1;
  own.pending_prompt_tokens += lease.prompt_tokens;
  own.pending_uncached_tokens += lease.uncached_tokens;
  own.placed_total += 1;
  state.residents.push_back(lease_id);
  request.leases.push_back(lease_id);
  if (policies_[request.policy].needs.prefix && state.info.prefix_caching) {
    lease.claim = claim_cache(now, slot, lease_id, request.info, lease.row);
    if (policies_[request.policy].needs.mirror) keep_running(now, slot, lease_id);
    prefix_.insert(slot, request.info.block_hashes, now);
  }
  return lease_id;
}

void Router::dispatch(TimeNs now, RequestId id, ActiveRequest& request, const Decision& decision,
                      Effects& out) {
  Dispatch effect;
  effect.request = id;
  effect.attempt = request.attempts++;
  effect.propensity = decision.propensity;
  effect.fallback = decision.fallback;
  effect.reason = decision.reason;
  effect.prompt_tokens = request.info.prompt_tokens;
  effect.forecast = decision.forecast;
  effect.hit_tokens = rows_[decision.choices[0].candidate].hit_tokens;
  decision_hash_ = hash_combine(decision_hash_, static_cast<std::uint64_t>(now));
  decision_hash_ = hash_combine(decision_hash_, id.value);
  for (const Decision::Choice& choice : decision.choices) {
    const InstanceState& state = fleet_.at(candidates_[choice.candidate]);
    const LeaseId lease = open_lease(now, id, request, decision, choice);
    effect.placements.push_back(
        {choice.role, state.info.id, state.info.incarnation, choice.dp_rank, lease});
    decision_hash_ =
        hash_combine(decision_hash_, state.info.id.value * 4 + static_cast<unsigned>(choice.role));
  }
  ++counters_.dispatched;
  if (decision.fallback) ++counters_.fallback_decisions;
  choose_fallbacks(decision, effect.fallbacks);
  const PolicyId policy = request.policy;
  PolicyActions actions;
  for (const Placement& p : effect.placements)
    policies_[policy].policy->on_placed(now, request.info, outcome_of(p.lease, leases_.at(p.lease)),
                                        actions);
  out.push_back(std::move(effect));
  apply(now, policy, actions, out);
}

// The others by own load, so that a driver which cannot come back still spreads.
void Router::choose_fallbacks(const Decision& decision, std::vector<InstanceId>& out) {
  std::vector<std::size_t>& least = least_loaded_;  // sorted, as many as are wanted
  least.clear();
  const auto less = [&](std::size_t a, std::size_t b) {
    return rows_[a].inflight != rows_[b].inflight ? rows_[a].inflight < rows_[b].inflight : a < b;
  };
  for (std::size_t i = 0; i < candidates_.size() && config_.fallbacks > 0; ++i) {
    const bool full = least.size() == config_.fallbacks;
    if (full && !less(i, least.back())) continue;
    const bool chosen = std::any_of(decision.choices.begin(), decision.choices.end(),
                                    [&](const auto& c) { return c.candidate == i; });
    if (chosen) continue;
    if (full) least.pop_back();
    least.insert(std::upper_bound(least.begin(), least.end(), i, less), i);
  }
  for (std::size_t i : least) out.push_back(fleet_.at(candidates_[i]).info.id);
}

void Router::reject(RequestId id, RejectReason reason, DurationNs retry_after, Effects& out) {
  ++counters_.rejected;
  decision_hash_ = hash_combine(decision_hash_, id.value ^ 0x4e7ec7ULL);
  requests_.erase(id);
  out.push_back(Reject{id, reason, retry_after});
}

void Router::apply(TimeNs now, PolicyId policy, PolicyActions& actions, Effects& out) {
  if (actions.train) out.push_back(Train{policy, actions.train});
  if (actions.wake_at != kNever) out.push_back(WakeAt{std::max(actions.wake_at, now)});
  for (RequestId id : actions.reconsider) {
    const auto it = requests_.find(id);
    if (it == requests_.end() || !it->second.held) continue;  // aborted meanwhile
    it->second.held = false;
    route(now, id, it->second, /*reconsidered=*/true, out);
  }
}

}  // namespace lodestar
