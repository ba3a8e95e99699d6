// SPDX-License-Identifier: Apache-2.0
// `oracle`: the simulator-only yardstick for every predictor. It forks each
// candidate engine's true state, runs it to the first token of the new request
// under the assumption that nothing arrives after it, and takes the least TTFT
// (greedy: it does not see what the choice costs others).
#pragma once
#include <memory>

#include "routing/policy.h"

namespace lodestar::sim {

class World;

// `world` must outlive the policy.
std::unique_ptr<Policy> make_oracle(const World& world);

}  // namespace lodestar::sim
