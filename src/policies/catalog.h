// SPDX-License-Identifier: Apache-2.0
// The policies by the names that their users know. An explicit table: adding a
// policy means adding a row (docs/dev/add-a-policy.md); nothing registers itself.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policies/policy_params.h"
#include "routing/policy.h"

namespace lodestar {

struct CatalogRow {
  std::string_view name;
  std::string_view summary;  // the rule in one line
  std::string_view source;   // where the rule and its defaults were published
  std::span<const ParamSpec> params;
  // `params` holds a valid value for each name of `params` above.
  std::unique_ptr<Policy> (*make)(const PolicyParams& params);

  // Facts that tests and reports need of a rule; they change nothing.
  bool randomized = false;     // draws even when no two candidates are equal
  std::string_view no_spread;  // why a burst of equal requests may pile up; empty: it spreads
};

// Every row, in the order in which lists print them. Never empty.
std::span<const CatalogRow> catalog();

// Builds a policy from "name" or "name:key=value,key=value". `params` override
// the row's defaults, values in the text override `params`. Errors
// (kInvalidArgument, or kNotFound for the name) list what would be valid.
Result<std::unique_ptr<Policy>> make_policy(std::string_view text, const PolicyParams& params = {});

// "unknown policy "lmetrik"; did you mean "lmetric"? Known: ..." for drivers that
// add rows of their own (`extra`, e.g. the simulator's oracle).
std::string unknown_policy_message(std::string_view name,
                                   std::span<const std::string_view> extra = {});

// A comma separates policies on a command line and parameters within one. Puts what
// was split at every comma together again: "a", "b:x=1", "y=2" -> "a", "b:x=1,y=2".
// (A piece with '=' and no ':' continues the one before; no name contains '='.)
std::vector<std::string> rejoin_policies(std::span<const std::string> pieces);

}  // namespace lodestar
