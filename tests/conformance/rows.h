// SPDX-License-Identifier: Apache-2.0
// The rows under test: the whole catalog, the learned policy with rounds so short
// that it learns within a test, and the two test-only policies.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "conformance/test_policies.h"
#include "policies/catalog.h"

namespace lodestar::testing {

inline constexpr std::string_view kLearning =
    "lodestar-paper:theta=40,min_rows=20,epochs=2,range_check=0";

inline std::vector<std::string> all_rows() {
  std::vector<std::string> names;
  for (const CatalogRow& row : catalog()) names.emplace_back(row.name);
  names.emplace_back(kLearning);
  names.emplace_back(kHoldReorder);
  names.emplace_back(kPair);
  return names;
}

// Null for the test-only policies.
inline const CatalogRow* catalog_row(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  for (const CatalogRow& row : catalog())
    if (row.name == name) return &row;
  return nullptr;
}

// "prefix-cache-16-2" -> "prefix_cache_16_2": gtest allows letters and digits.
inline std::string row_test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param == kLearning ? "lodestar-paper-learning" : info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace lodestar::testing
