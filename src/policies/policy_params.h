// SPDX-License-Identifier: Apache-2.0
// Numeric parameters of a policy, by name.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace lodestar {

using PolicyParams = std::map<std::string, double>;

// What a catalog row accepts. Values outside [min, max], and NaN, are errors.
struct ParamSpec {
  std::string_view name;
  double default_value = 0;
  double min = 0;
  double max = 0;
  std::string_view help;  // one line, with the unit
  // Names of the values 0, 1, 2, ...; either form is accepted. Empty: a plain number.
  std::span<const std::string_view> choices = {};
};

}  // namespace lodestar
