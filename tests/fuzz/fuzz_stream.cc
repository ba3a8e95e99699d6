// SPDX-License-Identifier: Apache-2.0
// Streams of engines: what is observed does not depend on how the network cut the
// bytes, and the usage filter loses nothing but usage chunks.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/stream_observer.h"
#include "proxy/usage_filter.h"

using lodestar::proxy::EventReader;
using lodestar::proxy::StreamObserver;
using lodestar::proxy::UsageFilter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 1) return 0;
  std::uint32_t cuts = bytes[0];
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  static EventReader reader;
  StreamObserver whole(reader, true), cut(reader, true);
  whole.feed(text, 1);
  UsageFilter at_once(reader), in_pieces(reader);
  std::string want(at_once.feed(text));
  want += at_once.end();
  std::string got;
  for (std::size_t at = 0; at < text.size();) {
    cuts = cuts * 1664525 + 1013904223;
    const std::string piece(text.substr(at, 1 + (cuts >> 24) % 9));
    cut.feed(piece, 1);
    got += in_pieces.feed(piece);
    at += piece.size();
  }
  got += in_pieces.end();
  if (got != want || want.size() > text.size()) std::abort();
  if (whole.content_events() != cut.content_events() || whole.finished() != cut.finished() ||
      whole.output_tokens() != cut.output_tokens() || whole.error_event() != cut.error_event())
    std::abort();
  return 0;
}
