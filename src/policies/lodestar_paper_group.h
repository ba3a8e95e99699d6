// SPDX-License-Identifier: Apache-2.0
// The prefix group of a request, for the consistent-hash filter: the chained hash
// of its prompt at some depth, or the last hash of a shorter prompt. The depth
// should tell conversations apart that share a system prompt only, and no more:
// too shallow and all requests are one group, too deep and each turn is its own.
//
// The published system tunes the depth by hand per workload (10 to 160 tokens).
// Here it follows the traffic: the shallowest of nine depths (32 tokens, doubled)
// at which the largest group among the latest 256 requests holds at most the
// share of load that its instances can carry.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "routing/request.h"

namespace lodestar {

class PrefixGroups {
 public:
  static constexpr std::size_t kDepths = 9;
  static constexpr std::size_t kWindow = 256;
  static constexpr double kShallowestTokens = 32;

  // fixed_tokens > 0: always that depth. 0: data-driven, 512 tokens at first.
  explicit PrefixGroups(double fixed_tokens) : fixed_tokens_(fixed_tokens) {}

  // Counts one request. largest_share: what one group may hold (0..1).
  void observe(const RequestInfo& request, double largest_share);
  // 0: no hashes, so no group.
  std::uint64_t group(const RequestInfo& request) const;
  double depth_tokens() const;

 private:
  void choose_depth(double largest_share);

  double fixed_tokens_;
  std::size_t depth_ = 4;  // 32 * 2^4 = 512
  std::array<std::vector<std::uint64_t>, kDepths> window_;
  std::size_t next_ = 0;
  std::vector<std::uint64_t> sorted_;  // scratch
};

}  // namespace lodestar
