// SPDX-License-Identifier: Apache-2.0
// Events that report what happened. Decisions are in router_decide.cc.
#include "routing/router.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lodestar {

Router::Router(RouterConfig config, PolicyFactory factory)
    : config_(std::move(config)),
      factory_(std::move(factory)),
      prefix_(config_.prefix),
      belief_(config_.prefix_block_tokens) {}

Result<std::unique_ptr<Router>> Router::create(RouterConfig config, PolicyFactory factory) {
  std::unique_ptr<Router> router(new Router(std::move(config), std::move(factory)));
  if (auto made = router->factory_(router->config_.policy); !made)
    return std::unexpected(made.error());
  for (const auto& [served_model, name] : router->config_.policy_by_model) {
    if (auto made = router->factory_(name); !made) return std::unexpected(made.error());
  }
  return router;
}

Effects Router::handle(TimeNs now, const Event& event) {
  Effects out;
  std::visit([&](const auto& e) { on(now, e, out); }, event);
  if (config_.sink != nullptr) config_.sink->record(now, event, out);
  return out;
}

Effects Router::handle(TimeNs now, Event&& event) {
  if (config_.sink != nullptr) return handle(now, std::as_const(event));
  Effects out;
  std::visit([&](auto&& e) { on(now, std::forward<decltype(e)>(e), out); }, std::move(event));
  return out;
}

void Router::on(TimeNs now, const AttemptFailed& e, Effects& out) {
  const auto it = requests_.find(e.request);
  // A late report about an attempt that was replaced must not fail the new one.
  if (it == requests_.end() || std::find(it->second.leases.begin(), it->second.leases.end(),
                                         e.lease) == it->second.leases.end()) {
    ++counters_.ignored_reports;
    return;
  }
  ActiveRequest& request = it->second;
  // Settling the last lease would end the request: take the list away first.
  const std::vector<LeaseId> leases = std::exchange(request.leases, {});
  for (LeaseId id : leases) {
    const auto lease = leases_.find(id);
    if (lease == leases_.end()) continue;
    if (id == e.lease)
      request.tried.emplace_back(lease->second.instance, lease->second.incarnation);
    if (id != e.lease) out.push_back(Cancel{e.request, id});
    settle(now, id, id == e.lease ? Disposition::kPunish : Disposition::kIgnore, nullptr, out);
  }
  ++counters_.failed;
  if (request.attempts >= config_.max_attempts) {
    reject(e.request, RejectReason::kAttemptsExhausted, kSecond, out);
    return;
  }
  ++counters_.retried;
  route(now, e.request, request, /*reconsidered=*/false, out);
}

void Router::on(TimeNs, const TokenProgress& e, Effects&) {
  for (const Progress& item : e.items) {
    const auto it = leases_.find(item.lease);
    if (it == leases_.end() || !it->second.decoding) {
      ++counters_.ignored_reports;
      continue;
    }
    Lease& lease = it->second;
    lease.generated += item.tokens;
    if (InstanceState* state = state_of(lease)) {
      state->own.decode_generated_tokens += static_cast<double>(item.tokens);
      state->own.decode_context_tokens += static_cast<double>(item.tokens);
    }
  }
}

void Router::on(TimeNs now, const FirstToken& e, Effects& out) {
  const auto it = leases_.find(e.lease);
  if (it == leases_.end() || it->second.decoding) {
    ++counters_.ignored_reports;
    return;
  }
  Lease& lease = it->second;
  lease.decoding = true;
  lease.first_token_at = now;
  lease.generated += 1;
  if (InstanceState* state = state_of(lease)) {
    belief_.computed(now, lease.slot, e.lease, lease.claim, /*answered=*/true);
    OwnLoad& own = state->own;
    own.inflight_prefill -= 1;
    own.inflight_decode += 1;
    own.pending_prompt_tokens -= lease.prompt_tokens;
    own.pending_uncached_tokens -= lease.uncached_tokens;
    own.decode_generated_tokens += static_cast<double>(lease.generated);
    own.decode_context_tokens += lease.prompt_tokens + static_cast<double>(lease.generated);
  }
  const auto request = requests_.find(lease.request);
  if (request == requests_.end()) return;
  PolicyActions actions;
  const PolicyId policy = request->second.policy;
  policies_[policy].policy->on_first_token(now, outcome_of(e.lease, lease), actions);
  apply(now, policy, actions, out);
}

void Router::on(TimeNs now, const Ended& e, Effects& out) {
  const auto it = leases_.find(e.lease);
  if (it == leases_.end()) {
    ++counters_.ignored_reports;
    return;
  }
  ++counters_.ended;
  const RequestId request = it->second.request;
  if (const auto active = requests_.find(request);
      active != requests_.end() && e.usage.prompt_tokens)
    tokens_.learn(active->second.info.served_model, active->second.info.prompt_bytes,
                  *e.usage.prompt_tokens);
  settle(now, e.lease, Disposition::kLearn, &e, out);
  finish_request_if_done(request);
}

void Router::on(TimeNs now, const LeaseFailed& e, Effects& out) {
  const auto it = leases_.find(e.lease);
  if (it == leases_.end()) {
    ++counters_.ignored_reports;
    return;
  }
  ++counters_.failed;
  const RequestId request = it->second.request;
  settle(now, e.lease, Disposition::kPunish, nullptr, out);
  finish_request_if_done(request);
}

void Router::on(TimeNs now, const Aborted& e, Effects& out) {
  const auto it = requests_.find(e.request);
  if (it == requests_.end()) {
    ++counters_.ignored_reports;
    return;
  }
  ++counters_.aborted;
  if (it->second.held) policies_[it->second.policy].policy->on_forgotten(now, e.request);
  const std::vector<LeaseId> leases = std::exchange(it->second.leases, {});
  for (LeaseId id : leases) {
    if (!leases_.contains(id)) continue;
    out.push_back(Cancel{e.request, id});
    settle(now, id, Disposition::kIgnore, nullptr, out);
  }
  requests_.erase(e.request);
}

void Router::on(TimeNs now, const Scraped& e, Effects&) {
  const Fleet::Slot slot = fleet_.find(e.instance);
  if (slot == Fleet::kNoSlot || fleet_.at(slot).info.incarnation != e.incarnation) {
    ++counters_.ignored_reports;
    return;
  }
  fleet_.at(slot).load = e.load;
  fleet_.at(slot).own_at_scrape = fleet_.at(slot).own;
  if (const auto loss = belief_.scraped(now, slot, e.load, prefix_)) forget_cache(now, slot, *loss);
}

void Router::on(TimeNs, const ScrapeFailed& e, Effects&) {
  const Fleet::Slot slot = fleet_.find(e.instance);
  if (slot == Fleet::kNoSlot) {
    ++counters_.ignored_reports;
    return;
  }
  fleet_.at(slot).load.reset();
}

void Router::on(TimeNs now, const InstanceUp& e, Effects& out) {
  known_policies_.clear();
  const Fleet::Slot known = fleet_.find(e.info.id);
  if (known != Fleet::kNoSlot && fleet_.at(known).info.incarnation == e.info.incarnation) {
    fleet_.at(known).info = e.info;  // the same life with better facts: keep load and cache
    fleet_.at(known).health = Health::kUp;
    if (prefix_.holdings(known) == 0) open_prefix_slot(known, /*same_life=*/true);
    return;
  }
  if (known != Fleet::kNoSlot) retire(now, known);
  const Fleet::Slot slot = fleet_.add(e.info);
  open_prefix_slot(slot, /*same_life=*/false);
  for (PolicyId p = 0; p < policies_.size(); ++p) {
    PolicyActions actions;
    policies_[p].policy->on_instance_up(now, slot, fleet_, actions);
    apply(now, p, actions, out);
  }
}

void Router::on(TimeNs, const InstanceChanged& e, Effects&) {
  const Fleet::Slot slot = fleet_.find(e.instance);
  if (slot == Fleet::kNoSlot) {
    ++counters_.ignored_reports;
    return;
  }
  fleet_.at(slot).health = e.health;
}

void Router::on(TimeNs now, const InstanceDown& e, Effects&) {
  const Fleet::Slot slot = fleet_.find(e.instance);
  if (slot == Fleet::kNoSlot) {
    ++counters_.ignored_reports;
    return;
  }
  retire(now, slot);
}

void Router::on(TimeNs, const KvEvicted& e, Effects&) {
  const Fleet::Slot slot = fleet_.find(e.instance);
  if (slot == Fleet::kNoSlot) {
    ++counters_.ignored_reports;
    return;
  }
  for (std::uint64_t hash : e.hashes) prefix_.erase(slot, hash);
}

void Router::on(TimeNs now, const PredictorPublished& e, Effects& out) {
  if (e.policy >= policies_.size()) {
    ++counters_.ignored_reports;
    return;
  }
  PolicyActions actions;
  policies_[e.policy].policy->on_predictor(now, e.predictor, actions);
  apply(now, e.policy, actions, out);
}

void Router::on(TimeNs now, const Timer&, Effects& out) {
  for (PolicyId p = 0; p < policies_.size(); ++p) {
    PolicyActions actions;
    policies_[p].policy->on_timer(now, fleet_, actions);
    apply(now, p, actions, out);
  }
}

// ---- leases -----------------------------------------------------------------

// Null when the incarnation that holds the lease has left: it owns nothing now.
InstanceState* Router::state_of(const Lease& lease) {
  if (lease.departed) return nullptr;
  InstanceState& state = fleet_.at(lease.slot);
  const bool same = state.present && state.info.id == lease.instance &&
                    state.info.incarnation == lease.incarnation;
  return same ? &state : nullptr;
}

Outcome Router::outcome_of(LeaseId id, const Lease& lease) const {
  Outcome o;
  o.request = lease.request;
  o.lease = id;
  o.instance = lease.instance;
  o.incarnation = lease.incarnation;
  o.slot = lease.slot;
  o.row = lease.row;
  o.propensity = lease.propensity;
  o.placed_at = lease.placed_at;
  if (lease.decoding) o.ttft_ms = to_ms(lease.first_token_at - lease.placed_at);
  o.output_tokens = lease.generated;
  return o;
}

void Router::release_load(LeaseId id, Lease& lease) {
  InstanceState* state = state_of(lease);
  if (state == nullptr) return;
  OwnLoad& own = state->own;
  own.inflight -= 1;
  if (lease.decoding) {
    own.inflight_decode -= 1;
    own.decode_generated_tokens -= static_cast<double>(lease.generated);
    own.decode_context_tokens -= lease.prompt_tokens + static_cast<double>(lease.generated);
  } else {
    own.inflight_prefill -= 1;
    own.pending_prompt_tokens -= lease.prompt_tokens;
    own.pending_uncached_tokens -= lease.uncached_tokens;
  }
  std::erase(state->residents, id);
  if (own.inflight == 0) {  // sums of estimates drift by rounding: an idle instance is at zero
    const std::uint64_t placed = own.placed_total;
    own = OwnLoad{};
    own.placed_total = placed;
  }
}

void Router::settle(TimeNs now, LeaseId id, Disposition disposition, const Ended* end,
                    Effects& out) {
  const auto it = leases_.find(id);
  LODESTAR_CHECK(it != leases_.end());
  Lease& lease = it->second;
  release_load(id, lease);
  Outcome outcome = outcome_of(id, lease);
  outcome.disposition = disposition;
  if (end != nullptr) {
    const TimeNs last = end->last_token_at != 0 ? end->last_token_at : now;
    outcome.output_tokens = end->output_tokens;
    outcome.usage = end->usage;
    outcome.e2e_ms = to_ms(last - lease.placed_at);
    if (lease.decoding && end->output_tokens > 1)
      outcome.tpot_ms =
          to_ms(last - lease.first_token_at) / static_cast<double>(end->output_tokens - 1);
  }
  const RequestId request_id = lease.request;
  const auto request = requests_.find(request_id);
  if (request != requests_.end()) {
    check_belief(now, id, lease, request->second.info, end);
    const InstanceState* state = state_of(lease);
    if (state != nullptr && state->info.prefix_caching && disposition != Disposition::kPunish &&
        policies_[request->second.policy].needs.mirror)
      keep_answer(now, lease, id, request->second.info, outcome.output_tokens);
  }
  leases_.erase(it);
  if (request == requests_.end()) return;
  std::erase(request->second.leases, id);
  const PolicyId policy = request->second.policy;
  PolicyActions actions;
  policies_[policy].policy->on_settled(now, outcome, actions);
  apply(now, policy, actions, out);
}

void Router::finish_request_if_done(RequestId id) {
  const auto it = requests_.find(id);
  if (it != requests_.end() && !it->second.held && it->second.leases.empty()) requests_.erase(it);
}

void Router::retire(TimeNs now, Fleet::Slot slot) {
  known_policies_.clear();
  for (PolicySlot& p : policies_) p.policy->on_instance_down(now, slot, fleet_);
  // The slot, the id and even the incarnation may come back: what was placed before owns nothing.
  for (LeaseId id : fleet_.at(slot).residents) leases_.at(id).departed = true;
  prefix_.clear_slot(slot);
  belief_.close(slot);
  fleet_.remove(slot);
}

void Router::open_prefix_slot(Fleet::Slot slot, bool same_life) {
  const InstanceInfo& info = fleet_.at(slot).info;
  const double told = static_cast<double>(info.kv_capacity_tokens) / config_.prefix_block_tokens;
  std::size_t blocks = told < 1 ? 0 : static_cast<std::size_t>(told);
  if (same_life) {
    blocks = belief_.retell(slot, blocks);
  } else {
    belief_.open(slot, info.id, blocks);
  }
  prefix_.open_slot(slot, blocks);
}

// ---- what the caches really hold ------------------------------------------------

CacheClaim Router::claim_cache(TimeNs now, Fleet::Slot slot, LeaseId lease, const RequestInfo& info,
                               const FeatureRow& row) {
  const CacheBelief::Look look{
      .chain = info.block_hashes,
      .depth = match_.depth[slot],
      .last_use = match_.last_use[slot],
      .hit_tokens = row.hit_tokens,
      .prompt_tokens = row.prompt_tokens,
      .used_blocks =
          (row.decode_context_tokens + row.pending_prompt_tokens) / config_.prefix_block_tokens};
  return belief_.claim(now, slot, lease, look, prefix_);
}

// A lease is being settled: what it believed of its instance's cache meets the truth.
void Router::check_belief(TimeNs now, LeaseId id, Lease& lease, const RequestInfo& info,
                          const Ended* end) {
  if (!lease.claim.made || state_of(lease) == nullptr) return;
  if (!lease.decoding) belief_.computed(now, lease.slot, id, lease.claim, /*answered=*/false);
  if (end == nullptr) return;
  if (const auto loss =
          belief_.ended(now, lease.slot, lease.claim, end->usage, info.block_hashes, prefix_))
    forget_cache(now, lease.slot, *loss);
}

// The engine's cache is gone, but for what was placed since.
void Router::forget_cache(TimeNs now, Fleet::Slot slot, const CacheBelief::Loss& loss) {
  const std::size_t held = prefix_.holdings(slot);
  prefix_.clear_slot(slot);
  for (const auto& chain : loss.kept) prefix_.insert(slot, chain, now);
  for (LeaseId id : fleet_.at(slot).residents) {
    const Lease& lease = leases_.at(id);
    const auto request = requests_.find(lease.request);
    if (lease.claim.made && lease.placed_at >= loss.since && request != requests_.end())
      prefix_.insert(slot, request->second.info.block_hashes, now);
  }
  const std::size_t left = prefix_.holdings(slot);
  belief_.forgot(now, slot, loss.kind, held > left ? held - left : 0);
}

}  // namespace lodestar
