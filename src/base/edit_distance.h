// SPDX-License-Identifier: Apache-2.0
// Levenshtein distance, for "did you mean" in errors. O(|a| x |b|): bound the
// length of what a client sends before asking.
#pragma once
#include <cstddef>
#include <string_view>

namespace lodestar {

std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace lodestar
