// SPDX-License-Identifier: Apache-2.0
// URLs: what is accepted must survive a round trip, and must be unable to put
// anything into a request line or a Host header.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/url.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto url = lodestar::net::parse_url(text);
  if (!url) {
    if (url.error().message.empty()) std::abort();
    return 0;
  }
  const std::string again = url->scheme + "://" + url->authority() + url->base_path;
  for (const char c : again) {
    if (c <= 0x20 || c >= 0x7f) std::abort();
  }
  const auto second = lodestar::net::parse_url(again);
  if (!second || second->authority() != url->authority() || second->base_path != url->base_path) {
    std::abort();
  }
  return 0;
}
