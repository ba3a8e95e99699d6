// SPDX-License-Identifier: Apache-2.0
// Checked access to JSON values of trace rows. Templates, so that this header
// does not need the JSON library: Json is nlohmann::json.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

namespace lodestar::sim {

// An integer in [low, high] (also when written 7.0), else nothing.
template <class Json>
std::optional<std::int64_t> json_integer(const Json& value, std::int64_t low, std::int64_t high) {
  std::int64_t out = 0;
  if (value.is_number_unsigned()) {
    const auto u = value.template get<std::uint64_t>();
    if (u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
    out = static_cast<std::int64_t>(u);
  } else if (value.is_number_integer()) {
    out = value.template get<std::int64_t>();
  } else if (value.is_number_float()) {
    const double d = value.template get<double>();
    if (!(std::fabs(d) <= 9007199254740992.0) || std::floor(d) != d) return {};
    out = static_cast<std::int64_t>(d);
  } else {
    return {};
  }
  if (out < low || out > high) return {};
  return out;
}

// A finite number in [low, high], else nothing.
template <class Json>
std::optional<double> json_number(const Json& value, double low, double high) {
  if (!value.is_number()) return {};
  const double d = value.template get<double>();
  if (!(d >= low && d <= high)) return {};
  return d;
}

}  // namespace lodestar::sim
