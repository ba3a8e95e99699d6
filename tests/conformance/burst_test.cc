// SPDX-License-Identifier: Apache-2.0
// 100 requests in the same instant, between two scrapes: load is reserved at the
// decision, so they spread. Over every catalog row and the test-only policies.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "conformance/lab.h"
#include "conformance/rows.h"

namespace lodestar::testing {
namespace {

constexpr std::uint32_t kInstances = 10;
constexpr std::uint64_t kRequests = 100;

class Burst : public ::testing::TestWithParam<std::string> {
 protected:
  // The most loaded instance over the mean of 10. Chance alone (100 balls, 10
  // bins) exceeds 2.2 less than once in 500 runs; a rule that counts does better.
  static double bound(const std::string& name) {
    if (name == "random" || name == "session-affinity") return 2.2;
    if (name == "consistent-hash") return 1.3;  // 1.25, and one for the ceiling
    if (name == "prefix-cache-16-2") return 2.0;  // its own bound: mean + 2 sd
    return 1.5;
  }
  static double worst_over_mean(const Lab& lab) {
    const auto count = lab.placements_by_instance(kInstances);
    const double total = std::accumulate(count.begin(), count.end(), 0.0);
    return static_cast<double>(*std::max_element(count.begin(), count.end())) * kInstances / total;
  }
};

// Nothing cached, nothing scraped or scraped equal: every policy spreads.
TEST_P(Burst, DifferentPromptsSpread) {
  for (const bool scraped : {false, true}) {
    Lab lab(GetParam());
    for (std::uint32_t id = 1; id <= kInstances; ++id) lab.up(id, 1, 400000);
    for (std::uint32_t id = 1; scraped && id <= kInstances; ++id) lab.scrape(id, LoadSnapshot{});
    for (std::uint64_t i = 0; i < kRequests; ++i)
      lab.arrive(1000, blocks_of(i, 62), "session " + std::to_string(i));
    lab.finish_all();
    ASSERT_EQ(lab.picks().size(), kRequests);
    EXPECT_LE(worst_over_mean(lab), bound(GetParam())) << "scraped: " << scraped;
  }
}

// One prompt a hundred times: the hot template. Policies that declare why they
// pile up are exempt, and must say so.
TEST_P(Burst, EqualPromptsSpreadUnlessDeclared) {
  const CatalogRow* row = catalog_row(GetParam());
  if (row != nullptr && !row->no_spread.empty()) GTEST_SKIP() << row->no_spread;
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= kInstances; ++id) lab.up(id, 1, 400000);
  for (std::uint32_t id = 1; id <= kInstances; ++id) lab.scrape(id, LoadSnapshot{});
  for (std::uint64_t i = 0; i < kRequests; ++i) lab.arrive(1000, blocks_of(1, 62));
  lab.finish_all();
  EXPECT_LE(worst_over_mean(lab), bound(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Catalog, Burst, ::testing::ValuesIn(all_rows()), row_test_name);

}  // namespace
}  // namespace lodestar::testing
