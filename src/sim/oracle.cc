// SPDX-License-Identifier: Apache-2.0
#include "sim/oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/math.h"
#include "policies/scored_policy.h"
#include "sim/engine_fork.h"
#include "sim/world.h"

namespace lodestar::sim {
namespace {

class Oracle final : public ScoredPolicy {
 public:
  Oracle(const World& world, double noise)
      : ScoredPolicy({}, "least true TTFT"), world_(world), noise_(noise) {}

  void score(const DecisionContext& context, std::span<double> cost) override {
    const TimeNs reaches = context.now + world_.network_delay();
    for (std::size_t i = 0; i < cost.size(); ++i) {
      const Engine* engine = world_.engine(context.instance(i).info.id);
      const TimeNs first = engine == nullptr ? kNever
                                             : engine->predict_first_token(
                                                   reaches, world_.pending_request(), scratch_);
      cost[i] = first == kNever ? 1e300 : to_ms(first - context.now);
      if (noise_ > 0) cost[i] *= det_exp(noise_ * noise_rng_.normal());
    }
  }

 private:
  const World& world_;
  double noise_;
  Rng noise_rng_{0x0dac1e};  // its own stream: score() must not touch the router's
  ForkScratch scratch_;
};

}  // namespace

bool names_oracle(std::string_view policy) {
  return policy == "oracle" || policy.starts_with("oracle:");
}

Result<double> oracle_noise(std::string_view policy) {
  if (policy == "oracle") return 0;
  constexpr std::string_view kStart = "oracle:noise=";
  double noise = 0;
  const std::string_view number = policy.substr(std::min(kStart.size(), policy.size()));
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), noise);
  if (policy.starts_with(kStart) && error == std::errc() && end == number.data() + number.size() &&
      noise >= 0 && noise <= 10)
    return noise;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("policy \"{}\": oracle takes one parameter, noise=0 to 10 (sigma of the "
                          "logarithm of its error)",
                          policy.substr(0, 80)),
              ErrorSource::kDownstream);
}

std::unique_ptr<Policy> make_oracle(const World& world, double noise) {
  return std::make_unique<Oracle>(world, noise);
}

}  // namespace lodestar::sim
