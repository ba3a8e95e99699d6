// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper_group.h"

#include <algorithm>

#include "policies/hash_ring.h"

namespace lodestar {
namespace {

double tokens_of(std::size_t depth) {
  return PrefixGroups::kShallowestTokens * static_cast<double>(std::size_t{1} << depth);
}

}  // namespace

double PrefixGroups::depth_tokens() const {
  return fixed_tokens_ > 0 ? fixed_tokens_ : tokens_of(depth_);
}

std::uint64_t PrefixGroups::group(const RequestInfo& request) const {
  return prefix_group(request, depth_tokens());
}

void PrefixGroups::observe(const RequestInfo& request, double largest_share) {
  if (fixed_tokens_ > 0 || request.block_hashes.empty()) return;
  for (std::size_t d = 0; d < kDepths; ++d) {
    if (window_[d].empty()) window_[d].resize(kWindow);
    window_[d][next_] = prefix_group(request, tokens_of(d));
  }
  if (++next_ == kWindow) {
    next_ = 0;
    choose_depth(largest_share);
  }
}

void PrefixGroups::choose_depth(double largest_share) {
  double least = 2;
  for (std::size_t d = 0; d < kDepths; ++d) {
    sorted_ = window_[d];
    std::sort(sorted_.begin(), sorted_.end());
    std::size_t largest = 0, run = 0;
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      run = i > 0 && sorted_[i] == sorted_[i - 1] ? run + 1 : 1;
      largest = std::max(largest, run);
    }
    const double share = static_cast<double>(largest) / static_cast<double>(kWindow);
    if (share < least) {
      least = share;
      depth_ = d;
    }
    if (share <= largest_share) return;
  }
}

}  // namespace lodestar
