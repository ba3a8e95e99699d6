// SPDX-License-Identifier: Apache-2.0
// round-robin: the candidates in turn, by stable instance id, so that neither the
// order of a list nor an instance that comes or goes makes one be served twice.
#include "base/hash.h"
#include "policies/rows.h"

namespace lodestar {
namespace {

class RoundRobinPolicy final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext& context, Decision& out, PolicyActions&) override {
    // Candidates come by ascending id: the first beyond the last one served.
    std::size_t next = 0;
    while (next < context.candidates.size() && started_ && context.instance(next).info.id <= last_)
      ++next;
    if (next == context.candidates.size()) next = 0;
    last_ = context.instance(next).info.id;
    started_ = true;
    out.place(next, "next in turn");
  }
  std::uint64_t state_hash() const override { return mix64(started_ ? last_.value + 1ULL : 0); }

 private:
  InstanceId last_;
  bool started_ = false;
};

}  // namespace

CatalogRow round_robin_row() {
  return {.name = "round-robin",
          .summary = "the candidates in turn, by stable id",
          .source = "every load balancer; production-stack `roundrobin`",
          .params = {},
          .make = [](const PolicyParams&) -> std::unique_ptr<Policy> {
            return std::make_unique<RoundRobinPolicy>();
          },
          .randomized = false,
          .no_spread = {}};
}

}  // namespace lodestar
