// SPDX-License-Identifier: Apache-2.0
#include "policies/hash_ring.h"

#include <algorithm>

#include "base/hash.h"

namespace lodestar {
namespace {
constexpr double kBytesPerToken = 4;  // only to place a depth; typical of English text
}

std::uint64_t rendezvous_weight(std::uint64_t key, InstanceId instance) {
  return hash_combine(key, instance.value);
}

std::size_t rendezvous_top(std::uint64_t key, const DecisionContext& context,
                           std::span<std::size_t> out) {
  std::size_t filled = 0;
  for (std::size_t i = 0; i < context.candidates.size(); ++i) {
    const std::uint64_t weight = rendezvous_weight(key, context.instance(i).info.id);
    std::size_t at = filled;
    while (at > 0 && rendezvous_weight(key, context.instance(out[at - 1]).info.id) < weight) --at;
    if (at == out.size()) continue;
    const std::size_t last = std::min(filled, out.size() - 1);
    for (std::size_t j = last; j > at; --j) out[j] = out[j - 1];
    out[at] = i;
    filled = std::min(filled + 1, out.size());
  }
  return filled;
}

std::uint64_t prefix_group(const RequestInfo& request, double tokens) {
  if (request.block_hashes.empty()) return 0;
  double block = request.block_tokens;
  if (!(block > 0)) block = static_cast<double>(request.block_bytes) / kBytesPerToken;
  const double depth = block > 0 ? tokens / block : 1;
  const auto blocks = static_cast<double>(request.block_hashes.size());
  const double clamped = std::clamp(depth, 1.0, blocks);
  return request.block_hashes[static_cast<std::size_t>(clamped) - 1];
}

std::uint64_t affinity_key(const RequestInfo& request, double prefix_tokens) {
  if (!request.session_key.empty()) return hash_string(request.session_key);
  return prefix_group(request, prefix_tokens);
}

}  // namespace lodestar
