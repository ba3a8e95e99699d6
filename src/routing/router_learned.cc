// SPDX-License-Identifier: Apache-2.0
// What policies have learned: reports of it, and its way out of one life of the router
// and into the next. A policy object is made when its first request comes, so a loaded
// state waits for it.
#include <algorithm>
#include <utility>

#include "routing/router.h"

namespace lodestar {
namespace {

constexpr std::size_t kMostStates = 1024;  // whatever a log of events holds

// A policy object's key is "name:settings\nserved model", or without a served model.
std::pair<std::string, std::string> parts_of(const std::string& key) {
  const std::size_t at = key.find('\n');
  return {key.substr(0, at), at == std::string::npos ? "" : key.substr(at + 1)};
}

std::string state_key(std::string_view policy, std::string_view served_model) {
  return std::string(policy.substr(0, policy.find(':'))) + "\n" + std::string(served_model);
}

}  // namespace

std::vector<Router::LearnReport> Router::learning() const {
  std::vector<LearnReport> reports;
  for (const PolicySlot& p : policies_) {
    auto stats = p.policy->learning();
    if (!stats) continue;
    auto [policy, served_model] = parts_of(p.name);
    reports.push_back({std::move(policy), std::move(served_model), std::move(*stats)});
  }
  return reports;
}

void Router::learning_sums(
    const std::function<void(std::string_view, const LearnStats&)>& see) const {
  for (const PolicySlot& p : policies_)
    if (const LearnStats* sums = p.policy->learning_sums()) see(p.name, *sums);
}

std::vector<Router::LearnedState> Router::learned() const {
  std::vector<LearnedState> states;
  for (const PolicySlot& p : policies_) {
    auto predictor = p.policy->learned();
    if (!predictor) continue;
    auto [policy, served_model] = parts_of(p.name);
    policy.resize(std::min(policy.size(), policy.find(':')));
    // Of two objects that differ in their settings alone, the first one's is kept.
    const bool there = std::any_of(states.begin(), states.end(), [&](const LearnedState& s) {
      return s.policy == policy && s.served_model == served_model;
    });
    if (!there)
      states.push_back({std::move(policy), std::move(served_model), std::move(predictor)});
  }
  for (const auto& [key, predictor] : states_) {  // that nobody has asked for yet
    auto [policy, served_model] = parts_of(key);
    const bool there = std::any_of(states.begin(), states.end(), [&](const LearnedState& s) {
      return s.policy == policy && s.served_model == served_model;
    });
    if (!there) states.push_back({std::move(policy), std::move(served_model), predictor});
  }
  return states;
}

void Router::on(TimeNs now, const StateLoaded& e, Effects& out) {
  if (e.predictor == nullptr) {
    ++counters_.ignored_reports;
    return;
  }
  const std::string key = state_key(e.policy, e.served_model);
  if (states_.contains(key) || states_.size() < kMostStates) states_[key] = e.predictor;
  for (PolicyId p = 0; p < policies_.size(); ++p) {
    const auto [policy, served_model] = parts_of(policies_[p].name);
    if (state_key(policy, served_model) != key) continue;
    PolicyActions actions;
    policies_[p].policy->on_predictor(now, e.predictor, actions);
    apply(now, p, actions, out);
  }
}

// For a policy that was just made. It hears of its instances first: what it knew of each
// goes to them, and not to some that may come one day.
void Router::take_up_state(TimeNs now, PolicySlot& slot) {
  const auto [policy, served_model] = parts_of(slot.name);
  const auto known = states_.find(state_key(policy, served_model));
  if (known == states_.end()) return;
  PolicyActions nothing_yet;  // it has no request that it could ask for
  for (const Fleet::Slot s : fleet_.present())
    slot.policy->on_instance_up(now, s, fleet_, nothing_yet);
  slot.policy->on_predictor(now, known->second, nothing_yet);
}

}  // namespace lodestar
