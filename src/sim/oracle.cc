// SPDX-License-Identifier: Apache-2.0
#include "sim/oracle.h"

#include "policies/scored_policy.h"
#include "sim/engine_fork.h"
#include "sim/world.h"

namespace lodestar::sim {
namespace {

class Oracle final : public ScoredPolicy {
 public:
  explicit Oracle(const World& world) : ScoredPolicy({}, "least true TTFT"), world_(world) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    const TimeNs reaches = context.now + world_.network_delay();
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const Engine* engine = world_.engine(context.instance(i).info.id);
      const TimeNs first = engine == nullptr ? kNever
                                             : engine->predict_first_token(
                                                   reaches, world_.pending_request(), scratch_);
      cost[i] = first == kNever ? 1e300 : to_ms(first - context.now);
    }
  }

 private:
  const World& world_;
  ForkScratch scratch_;
};

}  // namespace

std::unique_ptr<Policy> make_oracle(const World& world) { return std::make_unique<Oracle>(world); }

}  // namespace lodestar::sim
