// SPDX-License-Identifier: Apache-2.0
// session-affinity (AIBrix): the instance that served the session before, if it
// is a candidate; else rendezvous over the session key; without a key, random.
// AIBrix lets the client carry the instance in a header; here the router
// remembers it, for 2 hours of quiet (vllm-router sticky sessions) and up to
// max_sessions sessions. A new instance therefore takes over no running session,
// and a restarted one (a new incarnation, with a cold cache) owns none.
#include "base/hash.h"
#include "policies/hash_ring.h"
#include "policies/rows.h"
#include "policies/session_table.h"

namespace lodestar {
namespace {

class SessionAffinityPolicy final : public Policy {
 public:
  SessionAffinityPolicy(double max_sessions, double ttl_s)
      : table_(static_cast<std::size_t>(max_sessions)), ttl_(from_s(ttl_s)) {}

  Needs needs() const override { return {}; }

  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    const std::size_t n = context.candidates.size();
    if (context.request.session_key.empty()) {
      out.place(static_cast<std::size_t>(context.rng.below(n)), "no session key: random");
      out.propensity = 1.0 / static_cast<double>(n);
      return;
    }
    const std::uint64_t session = hash_string(context.request.session_key);
    const SessionTable::Home home = table_.find(session, context.now, ttl_);
    for (std::size_t i = 0; home.known && i < n; ++i) {
      const InstanceInfo& info = context.instance(i).info;
      if (info.id == home.instance && info.incarnation == home.incarnation)
        return out.place(i, "same instance as before");
    }
    std::size_t top = 0;
    rendezvous_top(session, context, {&top, 1});
    out.place(top, home.known ? "hash, previous instance is gone" : "hash");
  }

  void on_placed(TimeNs now, const RequestInfo& request, const Outcome& placed,
                 PolicyActions&) override {
    if (request.session_key.empty()) return;
    table_.put(hash_string(request.session_key), placed.instance, placed.incarnation, now);
  }

 private:
  SessionTable table_;
  DurationNs ttl_;
};

constexpr ParamSpec kParams[] = {
    {"max_sessions", 65536, 1, 1e8, "sessions remembered, about 60 bytes each"},
    {"ttl_s", 7200, 0, 1e9, "seconds of quiet after which a session is forgotten"}};

}  // namespace

CatalogRow session_affinity_row() {
  return {.name = "session-affinity",
          .summary = "the instance that served the session before, else by hash",
          .source = "AIBrix `session-affinity`",
          .params = kParams,
          .make = [](const PolicyParams& p) -> std::unique_ptr<Policy> {
            return std::make_unique<SessionAffinityPolicy>(p.at("max_sessions"), p.at("ttl_s"));
          },
          .randomized = false,
          .no_spread = "a session stays where it is, whatever the load"};
}

}  // namespace lodestar
