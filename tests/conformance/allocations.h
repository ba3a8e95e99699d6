// SPDX-License-Identifier: Apache-2.0
// Counts calls of operator new in this program (defined in allocations.cc).
#pragma once
#include <cstdint>

namespace lodestar::testing {

std::uint64_t allocation_count();

}  // namespace lodestar::testing
