// SPDX-License-Identifier: Apache-2.0
// `oracle`: the simulator-only yardstick for every predictor. It forks each
// candidate engine's true state, runs it to the first token of the new request
// under the assumption that nothing arrives after it, and takes the least TTFT
// (greedy: it does not see what the choice costs others).
#pragma once
#include <memory>
#include <string_view>

#include "base/result.h"
#include "routing/policy.h"

namespace lodestar::sim {

class World;

// "oracle:noise=0.15": each TTFT times a lognormal factor of that sigma, drawn per request
// and candidate. Says what an error of prediction costs, and so what a better predictor
// would be worth.

// True for "oracle" and "oracle:...", which may still be refused.
bool names_oracle(std::string_view policy);
// The noise that the name asks for, or why it is not one.
Result<double> oracle_noise(std::string_view policy);
// `world` must outlive the policy.
std::unique_ptr<Policy> make_oracle(const World& world, double noise);

}  // namespace lodestar::sim
