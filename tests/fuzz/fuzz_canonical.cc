// SPDX-License-Identifier: Apache-2.0
// The canonical hasher: how a text is cut does not matter, and a longer text keeps the
// full blocks of a shorter one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "prefix/canonical.h"

namespace {

std::vector<std::uint64_t> hash(std::string_view text, std::size_t block, std::uint32_t cuts) {
  lodestar::CanonicalHasher h({1, 2}, block);
  h.begin_text("m", "", "");
  while (!text.empty()) {
    cuts = cuts * 1664525 + 1013904223;
    const std::size_t take = std::min<std::size_t>(cuts >> 25, text.size());
    h.text(text.substr(0, take));
    text.remove_prefix(take);
  }
  return h.take_hashes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 3) return 0;
  const std::size_t block = 4 * (1 + bytes[0] % 16);
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 2, size - 2);
  const auto whole = hash(text, block, 1);
  if (whole.size() != text.size() / block) std::abort();
  if (hash(text, block, bytes[1]) != whole) std::abort();
  const auto part = hash(text.substr(0, bytes[1] % (text.size() + 1)), block, 7);
  if (!std::equal(part.begin(), part.end(), whole.begin())) std::abort();
  return 0;
}
