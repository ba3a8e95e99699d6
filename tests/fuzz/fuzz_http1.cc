// SPDX-License-Identifier: Apache-2.0
// HTTP/1 heads and chunked bodies. Cuts must not change what is read; an accepted
// request, written again, must be read as the same request (no smuggling through
// our own writer); a decoder never hands out more than it was given.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http1.h"

namespace {

using namespace lodestar::net;

void request(std::string_view text) {
  std::size_t scanned = 0;
  const std::size_t end = find_head_end(text, scanned);
  // The same, byte by byte.
  std::size_t slow_scanned = 0, slow = 0;
  for (std::size_t n = 1; n <= text.size() && slow == 0; ++n) {
    slow = find_head_end(text.substr(0, n), slow_scanned);
  }
  if (slow != end) std::abort();
  if (end == 0) return;
  RequestHead head;
  Framing framing;
  if (parse_request_head(text.substr(0, end), HeadLimits(), head, framing)) return;
  if (head.headers.count("content-length") + head.headers.count("transfer-encoding") > 1)
    std::abort();
  std::string again;
  write_request_head(again, head);
  again += "\r\n";
  // The writer always says HTTP/1.1, which wants a Host.
  if (head.version_minor == 0) return;
  RequestHead second;
  Framing second_framing;
  scanned = 0;
  if (find_head_end(again, scanned) != again.size()) std::abort();
  if (parse_request_head(again, {again.size(), 128}, second, second_framing)) std::abort();
  if (second.method != head.method || second.target != head.target ||
      second.headers.size() != head.headers.size() || second_framing.kind != framing.kind ||
      second_framing.length != framing.length) {
    std::abort();
  }
}

void response(std::string_view text, bool head_request) {
  std::size_t scanned = 0;
  const std::size_t end = find_head_end(text, scanned);
  if (end == 0) return;
  ResponseHead head;
  Framing framing;
  if (parse_response_head(text.substr(0, end), HeadLimits(), head_request, head, framing)) return;
  if (head.status < 100 || head.status > 599) std::abort();
}

void chunked(std::string_view text, std::uint32_t cuts) {
  ChunkedDecoder whole, cut;
  std::string all(text), want, got;
  const auto piece = whole.decode(all.data(), all.size());
  if (piece.consumed > all.size() || piece.begin + piece.size > all.size()) std::abort();
  want.assign(all, piece.begin, piece.size);
  std::size_t consumed = 0;
  bool done = false, bad = false;
  while (consumed < text.size() && !done && !bad) {
    cuts = cuts * 1664525 + 1013904223;
    std::string part(text.substr(consumed, 1 + (cuts >> 24) % 9));
    const auto p = cut.decode(part.data(), part.size());
    if (!p.done && !p.bad && p.consumed != part.size()) std::abort();
    got.append(part, p.begin, p.size);
    consumed += p.consumed;
    done = p.done;
    bad = p.bad;
  }
  if (want != got || consumed != piece.consumed || done != piece.done || bad != piece.bad)
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  switch (bytes[0] % 4) {
    case 0:
      request(text);
      break;
    case 1:
      response(text, false);
      break;
    case 2:
      response(text, true);
      break;
    default:
      chunked(text, bytes[0]);
  }
  return 0;
}
