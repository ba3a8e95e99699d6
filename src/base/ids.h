// SPDX-License-Identifier: Apache-2.0
// Strong identifiers: a lease id cannot be passed where an instance id is meant.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace lodestar {

template <class Tag, class Rep>
struct Id {
  Rep value{};
  constexpr Id() = default;
  constexpr explicit Id(Rep v) : value(v) {}
  friend constexpr auto operator<=>(Id, Id) = default;
};

using RequestId = Id<struct RequestTag, std::uint64_t>;
using LeaseId = Id<struct LeaseTag, std::uint64_t>;
// Stable for as long as the fleet's configuration names the instance, across
// restarts of the engine; the incarnation tells one life of it from the next.
using InstanceId = Id<struct InstanceTag, std::uint32_t>;
using Incarnation = std::uint32_t;

}  // namespace lodestar

template <class Tag, class Rep>
struct std::hash<lodestar::Id<Tag, Rep>> {
  std::size_t operator()(lodestar::Id<Tag, Rep> id) const noexcept {
    return static_cast<std::size_t>(id.value * 0x9e3779b97f4a7c15ULL);
  }
};
