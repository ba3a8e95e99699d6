// SPDX-License-Identifier: Apache-2.0
// Consistent hashing of keys onto instances by rendezvous (highest random weight:
// Thaler, Ravishankar 1998): each (key, instance) pair has a fixed weight, and a
// key belongs to the heaviest pair. When the (n+1)-th instance joins, exactly the
// keys that it wins move, 1 / (n+1) of them; when one leaves, only its own keys
// move. There is no table: nothing to build, bound, or keep after a departure.
//
// Weights depend on the stable id and the key alone. Pure functions; any thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "routing/policy.h"
#include "routing/request.h"

namespace lodestar {

std::uint64_t rendezvous_weight(std::uint64_t key, InstanceId instance);

// Fills `out` with the candidates that the key prefers, best first; returns how
// many (less than out.size() if there are fewer candidates). O(n * out.size()).
std::size_t rendezvous_top(std::uint64_t key, const DecisionContext& context,
                           std::span<std::size_t> out);

// Hash that names the group of requests sharing a prefix of about `tokens`
// tokens: the chained hash of the block that ends there, or of the last full
// block of a shorter prompt. 0: the prompt has no full block.
std::uint64_t prefix_group(const RequestInfo& request, double tokens);

// The session key if the client gave one, else the prefix group. 0: neither.
std::uint64_t affinity_key(const RequestInfo& request, double prefix_tokens);

}  // namespace lodestar
