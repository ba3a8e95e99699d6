// SPDX-License-Identifier: Apache-2.0
#include "net/http1.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace lodestar::net {

namespace {

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr auto kToken = make_token_table();

bool is_token(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(),
                                   [](char c) { return kToken[static_cast<unsigned char>(c)]; });
}

// Field values: tab, space, visible ASCII and bytes beyond it; no control bytes.
bool value_ok(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

// Cuts the next line off; false if it does not end by CRLF or holds a bare CR.
bool take_line(std::string_view& bytes, std::string_view& line) {
  const std::size_t lf = bytes.find('\n');
  if (lf == std::string_view::npos || lf == 0 || bytes[lf - 1] != '\r') return false;
  line = bytes.substr(0, lf - 1);
  bytes.remove_prefix(lf + 1);
  return line.find('\r') == std::string_view::npos;
}

ParseError parse_headers(std::string_view bytes, const HeadLimits& limits, Headers& headers) {
  std::string_view line;
  for (;;) {
    if (!take_line(bytes, line)) return {400, "a header line does not end by CRLF"};
    if (line.empty()) return {};
    if (line.front() == ' ' || line.front() == '\t')
      return {400, "folded header lines are not accepted"};
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return {400, "a header line has no colon"};
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    if (!is_token(name)) return {400, "a header name has a character that cannot stand in one"};
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (!value_ok(value)) return {400, "a header value has a control character"};
    if (headers.size() == limits.max_headers) return {431, "too many headers"};
    headers.add(name, value);
  }
}

// The length and coding headers, read once for both directions.
ParseError parse_framing(const Headers& headers, int version_minor, bool& chunked, bool& has_length,
                         std::uint64_t& length) {
  const std::size_t lengths = headers.count("content-length");
  const std::size_t codings = headers.count("transfer-encoding");
  chunked = codings > 0;
  has_length = lengths > 0;
  if (chunked && has_length) return {400, "both Content-Length and Transfer-Encoding"};
  if (lengths > 1) return {400, "more than one Content-Length"};
  if (codings > 1) return {400, "more than one Transfer-Encoding"};
  if (chunked) {
    if (version_minor == 0) return {400, "Transfer-Encoding in HTTP/1.0"};
    if (!equal_ignoring_case(*headers.find("transfer-encoding"), "chunked")) {
      return {501, "the only Transfer-Encoding accepted is chunked"};
    }
  }
  if (has_length) {
    const std::string& text = *headers.find("content-length");
    const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (!digits || ec != std::errc() || end != text.data() + text.size()) {
      return {400, "Content-Length is not a number"};
    }
  }
  return {};
}

bool keep_alive(const Headers& headers, int version_minor) {
  if (headers.has_token("connection", "close")) return false;
  return version_minor >= 1 || headers.has_token("connection", "keep-alive");
}

// "HTTP/1.x" → x, or -1 for what is no version, -2 for another major version.
int parse_version(std::string_view s) {
  if (s.size() != 8 || !s.starts_with("HTTP/") || s[6] != '.') return -1;
  if (s[5] < '0' || s[5] > '9' || s[7] < '0' || s[7] > '9') return -1;
  if (s[5] != '1') return -2;
  return s[7] == '0' ? 0 : 1;
}

ParseError parse_target(std::string_view target, RequestHead& head) {
  for (const char c : target) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u == 0x7f) return {400, "the request target has a control character"};
  }
  if (target.starts_with('/')) {
    head.target = target;
    return {};
  }
  if (target == "*" && head.method == "OPTIONS") {
    head.target = target;
    return {};
  }
  const bool http = target.size() > 7 && equal_ignoring_case(target.substr(0, 7), "http://");
  const bool https = target.size() > 8 && equal_ignoring_case(target.substr(0, 8), "https://");
  if (!http && !https) return {400, "the request target must be a path"};
  target.remove_prefix(http ? 7 : 8);
  const std::size_t path = target.find_first_of("/?");
  if (path == 0) return {400, "the request target has no host"};
  if (path == std::string_view::npos) {
    head.target = "/";
  } else {
    head.target = target[path] == '?' ? "/" : "";
    head.target += target.substr(path);
  }
  return {};
}

ParseError parse_request_line(std::string_view line, RequestHead& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return {400, "the request line is not: method, target, version"};
  }
  const std::string_view method = line.substr(0, first);
  if (!is_token(method)) return {400, "the method has a character that cannot stand in one"};
  const int version = parse_version(line.substr(last + 1));
  if (version == -1) return {400, "the request line does not end by an HTTP version"};
  if (version == -2) return {505, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
  if (method == "CONNECT") return {501, "CONNECT is not supported"};
  head.method = method;
  head.version_minor = version;
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (target.empty()) return {400, "the request target is empty"};
  return parse_target(target, head);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::size_t find_head_end(std::string_view bytes, std::size_t& scanned) {
  // An LF ends the head if the line before it is empty. A bare LF as an empty line
  // ends it too, so that the parser can refuse it instead of waiting for more.
  while (scanned < bytes.size()) {
    const void* hit = std::memchr(bytes.data() + scanned, '\n', bytes.size() - scanned);
    if (!hit) {
      scanned = bytes.size();
      return 0;
    }
    const std::size_t lf = static_cast<std::size_t>(static_cast<const char*>(hit) - bytes.data());
    scanned = lf + 1;
    const bool after_crlf = lf >= 2 && bytes[lf - 1] == '\r' && bytes[lf - 2] == '\n';
    const bool after_lf = lf >= 1 && bytes[lf - 1] == '\n';
    if (after_crlf || after_lf) return lf + 1;
  }
  return 0;
}

ParseError parse_request_head(std::string_view bytes, const HeadLimits& limits, RequestHead& head,
                              Framing& framing) {
  if (bytes.size() > limits.max_bytes) return {431, "the request head is too large"};
  std::string_view line;
  if (!take_line(bytes, line)) return {400, "the request line does not end by CRLF"};
  if (auto error = parse_request_line(line, head)) return error;
  if (auto error = parse_headers(bytes, limits, head.headers)) return error;
  const std::size_t hosts = head.headers.count("host");
  if (hosts > 1) return {400, "more than one Host"};
  if (hosts == 0 && head.version_minor >= 1) return {400, "the Host header is missing"};
  bool chunked = false, has_length = false;
  std::uint64_t length = 0;
  if (auto error = parse_framing(head.headers, head.version_minor, chunked, has_length, length)) {
    return error;
  }
  head.keep_alive = keep_alive(head.headers, head.version_minor);
  framing = chunked                ? Framing{BodyKind::kChunked, 0}
            : has_length && length ? Framing{BodyKind::kLength, length}
                                   : Framing{BodyKind::kNone, 0};
  return {};
}

ParseError parse_response_head(std::string_view bytes, const HeadLimits& limits, bool head_request,
                               ResponseHead& head, Framing& framing) {
  if (bytes.size() > limits.max_bytes) return {431, "the response head is too large"};
  std::string_view line;
  if (!take_line(bytes, line)) return {400, "the status line does not end by CRLF"};
  // "HTTP/1.1 200 OK"; the phrase, and the space before it, may be missing.
  const int version = parse_version(line.substr(0, 8));
  if (version < 0 || line.size() < 12 || line[8] != ' ') return {400, "not an HTTP/1.x response"};
  const auto digit = [&](std::size_t i) { return line[i] >= '0' && line[i] <= '9'; };
  if (line[9] < '1' || line[9] > '5' || !digit(10) || !digit(11) ||
      (line.size() > 12 && line[12] != ' ')) {
    return {400, "the response has no valid status"};
  }
  head.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  head.version_minor = version;
  head.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  if (!value_ok(head.reason)) return {400, "the status line has a control character"};
  if (auto error = parse_headers(bytes, limits, head.headers)) return error;
  bool chunked = false, has_length = false;
  std::uint64_t length = 0;
  if (auto error = parse_framing(head.headers, version, chunked, has_length, length)) return error;
  head.keep_alive = keep_alive(head.headers, version);
  const bool no_body =
      head_request || head.status < 200 || head.status == 204 || head.status == 304;
  if (no_body) {
    framing = {BodyKind::kNone, 0};
  } else if (chunked) {
    framing = {BodyKind::kChunked, 0};
  } else if (has_length) {
    framing = {length ? BodyKind::kLength : BodyKind::kNone, length};
  } else {
    framing = {BodyKind::kUntilClose, 0};
    head.keep_alive = false;
  }
  return {};
}

void write_header(std::string& out, std::string_view name, std::string_view value) {
  if (!is_token(name) || !value_ok(value)) return;
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void write_request_head(std::string& out, const RequestHead& head) {
  out += head.method;
  out += ' ';
  out += head.target;
  out += " HTTP/1.1\r\n";
  for (const Header& h : head.headers) write_header(out, h.name, h.value);
}

void write_status_line(std::string& out, int status, std::string_view reason) {
  out += "HTTP/1.1 ";
  out += std::to_string(status);
  out += ' ';
  out += reason.empty() || !value_ok(reason) ? status_reason(status) : reason;
  out += "\r\n";
}

bool ChunkedDecoder::bad(const char* message) {
  state_ = State::kBad;
  error_ = message;
  return false;
}

// One byte of framing. False: the end of the body, or an error.
bool ChunkedDecoder::step(char c) {
  switch (state_) {
    case State::kSize: {
      if (const int digit = hex_value(c); digit >= 0) {
        // 15 digits are 2^60 bytes: more is an attack on somebody's counter.
        if (++digits_ > 15) return bad("a chunk size is too large");
        left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
        return true;
      }
      if (digits_ == 0) return bad("a chunk size is missing");
      if (c == ';' || c == ' ' || c == '\t') {
        state_ = State::kExtension;
        return true;
      }
      if (c != '\r') return bad("a chunk size is not a hexadecimal number");
      state_ = State::kSizeLf;
      return true;
    }
    case State::kExtension:
      if (++overhead_ > kMaxOverhead) return bad("chunk extensions are too long");
      if (c == '\n') return bad("a bare LF in a chunk line");
      if (c == '\r') state_ = State::kSizeLf;
      return true;
    case State::kSizeLf:
      if (c != '\n') return bad("a bare CR in a chunk line");
      digits_ = 0;
      state_ = left_ ? State::kData : State::kTrailer;
      return true;
    case State::kDataCr:
      if (c != '\r') return bad("a chunk is longer than its size");
      state_ = State::kDataLf;
      return true;
    case State::kDataLf:
      if (c != '\n') return bad("a chunk does not end by CRLF");
      state_ = State::kSize;
      return true;
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kEndLf;
        return true;
      }
      state_ = State::kTrailerLine;
      [[fallthrough]];
    case State::kTrailerLine:
      if (++overhead_ > kMaxOverhead) return bad("trailers are too long");
      if (c == '\n') return bad("a bare LF in a trailer");
      if (c == '\r') state_ = State::kTrailerLf;
      return true;
    case State::kTrailerLf:
      if (c != '\n') return bad("a bare CR in a trailer");
      state_ = State::kTrailer;
      return true;
    case State::kEndLf:
      if (c != '\n') return bad("a bare CR at the end of a chunked body");
      state_ = State::kDone;
      return false;
    case State::kData:
    case State::kDone:
    case State::kBad:
      break;
  }
  return false;
}

ChunkedDecoder::Piece ChunkedDecoder::decode(char* data, std::size_t size) {
  Piece piece;
  std::size_t at = 0;
  while (at < size && state_ != State::kDone && state_ != State::kBad) {
    if (state_ != State::kData) {
      step(data[at++]);
      continue;
    }
    const std::size_t take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, size - at));
    if (piece.size == 0) {
      piece.begin = at;
    } else {
      std::memmove(data + piece.begin + piece.size, data + at, take);
    }
    piece.size += take;
    at += take;
    left_ -= take;
    if (left_ == 0) state_ = State::kDataCr;
  }
  piece.consumed = at;
  piece.done = state_ == State::kDone;
  piece.bad = state_ == State::kBad;
  return piece;
}

}  // namespace lodestar::net
