// SPDX-License-Identifier: Apache-2.0
// HTTP/1.x on the wire (RFC 9112), as functions over bytes: no sockets, no
// clocks. Strict: lines end by CRLF only, no folded headers, no space before the
// colon, one length at most, "chunked" the only transfer coding. Two parsers that
// read a message differently are how requests are smuggled, so doubt is an error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/http.h"

namespace lodestar::net {

struct HeadLimits {
  std::size_t max_bytes = 32 * 1024;
  std::size_t max_headers = 128;
};

// How the body of a message ends.
enum class BodyKind { kNone, kLength, kChunked, kUntilClose };

struct Framing {
  BodyKind kind = BodyKind::kNone;
  std::uint64_t length = 0;  // of kLength
};

// The position after the blank line that ends a head, or 0 if it has not come.
// `scanned` remembers the work done between calls on a growing buffer; set it to
// 0 at the start of a message.
std::size_t find_head_end(std::string_view bytes, std::size_t& scanned);

// What is wrong with a message: the status a server answers with (a client only
// needs the text).
struct ParseError {
  int status = 0;  // 0: none
  const char* message = "";
  explicit operator bool() const { return status != 0; }
};

// `bytes` is a whole head as delimited by find_head_end. An absolute target is
// reduced to origin form.
ParseError parse_request_head(std::string_view bytes, const HeadLimits& limits, RequestHead& head,
                              Framing& framing);
// `head_request`: the response answers a HEAD, so it has no body whatever it says.
ParseError parse_response_head(std::string_view bytes, const HeadLimits& limits, bool head_request,
                               ResponseHead& head, Framing& framing);

// The wire form, ready to send. Header values with CR, LF or NUL are dropped:
// nobody may write a second header through a value.
void write_request_head(std::string& out, const RequestHead& head);
void write_status_line(std::string& out, int status, std::string_view reason);
void write_header(std::string& out, std::string_view name, std::string_view value);

// Takes the framing off a chunked body, in place.
class ChunkedDecoder {
 public:
  // At most so many bytes for extensions and trailers together: they are ignored,
  // and nobody needs to send many.
  static constexpr std::size_t kMaxOverhead = 8 * 1024;

  struct Piece {
    std::size_t begin = 0, size = 0;  // payload within the buffer
    std::size_t consumed = 0;         // bytes of the buffer that are used up
    bool done = false;                // the end of the body was seen
    bool bad = false;
  };
  // Decodes what there is of data[0, size): the payload of all chunks becomes one
  // run of bytes (those after the first chunk are moved down). Everything is
  // consumed unless the end is seen.
  Piece decode(char* data, std::size_t size);
  const char* error() const { return error_; }

 private:
  enum class State {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerLine,
    kTrailerLf,
    kEndLf,
    kDone,
    kBad
  };
  bool step(char c);
  bool bad(const char* message);

  State state_ = State::kSize;
  std::uint64_t left_ = 0;  // of the chunk at hand
  unsigned digits_ = 0;
  std::size_t overhead_ = 0;
  const char* error_ = "";
};

}  // namespace lodestar::net
