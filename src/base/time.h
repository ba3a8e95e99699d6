// SPDX-License-Identifier: Apache-2.0
// Time in the core is an argument: nanoseconds since an epoch that the driver
// chose (simulation start, or the monotonic clock's start for a live router).
#pragma once
#include <cstdint>
#include <limits>

namespace lodestar {

using TimeNs = std::int64_t;      // a point in time, ns since the driver's epoch
using DurationNs = std::int64_t;  // a span of time, ns

inline constexpr TimeNs kNever = std::numeric_limits<TimeNs>::max();
inline constexpr DurationNs kMicrosecond = 1'000;
inline constexpr DurationNs kMillisecond = 1'000'000;
inline constexpr DurationNs kSecond = 1'000'000'000;

// Rounds to the nearest nanosecond (half away from zero).
constexpr DurationNs from_ms(double ms) {
  return static_cast<DurationNs>(ms * 1e6 + (ms >= 0 ? 0.5 : -0.5));
}
constexpr DurationNs from_s(double s) {
  return static_cast<DurationNs>(s * 1e9 + (s >= 0 ? 0.5 : -0.5));
}
constexpr double to_ms(DurationNs ns) { return static_cast<double>(ns) * 1e-6; }
constexpr double to_s(DurationNs ns) { return static_cast<double>(ns) * 1e-9; }

}  // namespace lodestar
