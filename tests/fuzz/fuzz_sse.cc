// SPDX-License-Identifier: Apache-2.0
// The SSE scanner: whatever the bytes and however they are cut, it must find the
// same events as on the whole, and hold nothing of a feed that is gone.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/sse.h"

namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

void drain(lodestar::net::SseScanner& scanner, Events& out) {
  for (lodestar::net::SseEvent e; scanner.next(e);) out.emplace_back(e.name, e.data);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 2) return 0;
  // The first byte is the size limit, the second seeds the cuts.
  const std::size_t limit = bytes[0] < 128 ? bytes[0] : 1 << 20;
  std::uint32_t cuts = bytes[1];
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 2, size - 2);
  lodestar::net::SseScanner whole(limit), cut(limit);
  Events want, got;
  whole.feed(text);
  drain(whole, want);
  for (std::size_t at = 0; at < text.size();) {
    cuts = cuts * 1664525 + 1013904223;
    const std::string piece(text.substr(at, 1 + (cuts >> 24) % 7));
    cut.feed(piece);
    drain(cut, got);
    at += piece.size();
  }
  if (want != got || whole.dropped_events() != cut.dropped_events()) std::abort();
  if (whole.at_boundary() != cut.at_boundary()) std::abort();
  return 0;
}
