// SPDX-License-Identifier: Apache-2.0
// The rows under test: the whole catalog and the two test-only policies.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "conformance/test_policies.h"
#include "policies/catalog.h"

namespace lodestar::testing {

inline std::vector<std::string> all_rows() {
  std::vector<std::string> names;
  for (const CatalogRow& row : catalog()) names.emplace_back(row.name);
  names.emplace_back(kHoldReorder);
  names.emplace_back(kPair);
  return names;
}

// Null for the test-only policies.
inline const CatalogRow* catalog_row(std::string_view name) {
  for (const CatalogRow& row : catalog())
    if (row.name == name) return &row;
  return nullptr;
}

// "prefix-cache-16-2" -> "prefix_cache_16_2": gtest allows no dashes.
inline std::string row_test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace lodestar::testing
