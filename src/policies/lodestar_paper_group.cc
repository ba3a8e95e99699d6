// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper_group.h"

#include <algorithm>

#include "base/hash.h"

namespace lodestar {
namespace {

std::uint64_t hash_at(const RequestInfo& request, double depth_tokens) {
  if (request.block_hashes.empty()) return 0;
  double block = request.block_tokens;
  if (!(block > 0)) {  // the live view: blocks of bytes
    constexpr double kBytesPerToken = 4;
    const bool known = request.prompt_bytes > 0 && request.prompt_tokens > 0;
    const double ratio = known ? static_cast<double>(request.prompt_bytes) / request.prompt_tokens
                               : kBytesPerToken;
    block = static_cast<double>(request.block_bytes) / ratio;
  }
  const double last = static_cast<double>(request.block_hashes.size() - 1);
  const double wanted = block > 0 ? depth_tokens / block + 0.5 : 0;  // rounds, as blocks
  if (!(wanted >= 1)) return request.block_hashes.front();
  if (wanted - 1 >= last) return request.block_hashes.back();
  return request.block_hashes[static_cast<std::size_t>(wanted) - 1];
}

double tokens_of(std::size_t depth) {
  return PrefixGroups::kShallowestTokens * static_cast<double>(std::size_t{1} << depth);
}

}  // namespace

double PrefixGroups::depth_tokens() const {
  return fixed_tokens_ > 0 ? fixed_tokens_ : tokens_of(depth_);
}

std::uint64_t PrefixGroups::group(const RequestInfo& request) const {
  return hash_at(request, depth_tokens());
}

void PrefixGroups::observe(const RequestInfo& request, double largest_share) {
  if (fixed_tokens_ > 0 || request.block_hashes.empty()) return;
  for (std::size_t d = 0; d < kDepths; ++d) {
    if (window_[d].empty()) window_[d].resize(kWindow);
    window_[d][next_] = hash_at(request, tokens_of(d));
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

void rendezvous_pick(std::uint64_t group, const std::vector<std::uint64_t>& ids, std::size_t k,
                     std::vector<std::size_t>& chosen) {
  chosen.clear();
  const auto weight = [&](std::size_t i) { return hash_combine(mix64(group), mix64(ids[i] + 1)); };
  for (std::size_t round = 0; round < std::min(k, ids.size()); ++round) {
    std::size_t best = ids.size();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (std::find(chosen.begin(), chosen.end(), i) != chosen.end()) continue;
      if (best == ids.size() || weight(i) > weight(best)) best = i;
    }
    chosen.push_back(best);
  }
}

}  // namespace lodestar
