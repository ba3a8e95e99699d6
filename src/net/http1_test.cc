// SPDX-License-Identifier: Apache-2.0
#include "net/http1.h"

#include <gtest/gtest.h>

#include <string>

namespace lodestar::net {
namespace {

ParseError parse(std::string_view text, RequestHead& head, Framing& framing,
                 HeadLimits limits = {}) {
  std::size_t scanned = 0;
  const std::size_t end = find_head_end(text, scanned);
  EXPECT_GT(end, 0u) << text;
  return parse_request_head(text.substr(0, end), limits, head, framing);
}

int status_of(std::string_view text, HeadLimits limits = {}) {
  RequestHead head;
  Framing framing;
  return parse(text, head, framing, limits).status;
}

TEST(RequestParser, ReadsAHead) {
  RequestHead head;
  Framing framing;
  ASSERT_FALSE(
      parse("POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-A:  b c\t\r\n\r\nrest",
            head, framing));
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/v1/x?y=1");
  EXPECT_EQ(*head.headers.find("x-a"), "b c");
  EXPECT_EQ(framing.kind, BodyKind::kLength);
  EXPECT_EQ(framing.length, 5u);
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestParser, KeepAliveByVersionAndHeader) {
  RequestHead a, b, c;
  Framing framing;
  ASSERT_FALSE(parse("GET / HTTP/1.0\r\n\r\n", a, framing));
  EXPECT_FALSE(a.keep_alive);
  ASSERT_FALSE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", b, framing));
  EXPECT_TRUE(b.keep_alive);
  ASSERT_FALSE(parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n", c, framing));
  EXPECT_FALSE(c.keep_alive);
}

TEST(RequestParser, AbsoluteTargetsBecomeOriginForm) {
  RequestHead a, b, c;
  Framing framing;
  ASSERT_FALSE(parse("GET http://h:80/p?q HTTP/1.1\r\nHost: h\r\n\r\n", a, framing));
  EXPECT_EQ(a.target, "/p?q");
  ASSERT_FALSE(parse("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", b, framing));
  EXPECT_EQ(b.target, "/");
  ASSERT_FALSE(parse("GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n", c, framing));
  EXPECT_EQ(c.target, "/?q");
}

// Each row can be read in two ways by two parsers, or is noise.
TEST(RequestParser, RefusesWhatIsAmbiguous) {
  const std::string host = "Host: h\r\n";
  const std::string get = "GET / HTTP/1.1\r\n";
  for (const std::string& bad :
       {get + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        get + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        get + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        get + host + "Content-Length: 5, 5\r\n\r\n",
        get + host + "Content-Length: +5\r\n\r\n",
        get + host + "Content-Length: -1\r\n\r\n",
        get + host + "Content-Length: 0x5\r\n\r\n",
        get + host + "Content-Length: \r\n\r\n",
        get + host + "Content-Length: 5 5\r\n\r\n",
        get + host + "Content-Length: 99999999999999999999\r\n\r\n",
        get + host + "Content-Length : 5\r\n\r\n",
        get + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(),
        get + host + " folded: x\r\n\r\n",
        get + "Host: h\r\n\tfolded\r\n\r\n",
        get + host + "X: a\rb\r\n\r\n",
        get + host + "X: a\nY: b\r\n\r\n",
        get + host + "X: a" + std::string(1, '\0') + "b\r\n\r\n",
        get + host + ": novalue\r\n\r\n",
        get + host + "NoColon\r\n\r\n",
        get + host + "X(y): z\r\n\r\n",
        get + "\r\n",
        get + host + host + "\r\n",
        "GET / HTTP/1.1\n" + host + "\r\n",
        "GET  / HTTP/1.1\r\n" + host + "\r\n",
        "GET / HTTP/1.1 \r\n" + host + "\r\n",
        "GET /a b HTTP/1.1\r\n" + host + "\r\n",
        "GET / HTTP/11\r\n" + host + "\r\n",
        "GET /\r\n" + host + "\r\n",
        "G(T / HTTP/1.1\r\n" + host + "\r\n",
        "GET x HTTP/1.1\r\n" + host + "\r\n",
        "GET /\x01 HTTP/1.1\r\n" + host + "\r\n",
        "GET http:///x HTTP/1.1\r\n" + host + "\r\n",
        "GET / http/1.1\r\n" + host + "\r\n"}) {
    EXPECT_EQ(status_of(bad), 400) << bad;
  }
}

TEST(RequestParser, OtherRefusals) {
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(status_of("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
  for (const char* coding :
       {"gzip, chunked", "identity", "xchunked", "chunked, chunked", "chunked;x"}) {
    EXPECT_EQ(status_of(std::string("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ") + coding +
                        "\r\n\r\n"),
              501);
  }
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n", {1024, 2}), 431);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n", {20, 99}), 431);
}

TEST(FindHeadEnd, WorksAtEverySplitAndSeesBareLineEnds) {
  const std::string text = "GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    std::size_t scanned = 0;
    const std::string_view all = text;
    const std::size_t first = find_head_end(all.substr(0, cut), scanned);
    const std::size_t end = first ? first : find_head_end(all, scanned);
    EXPECT_EQ(end, text.find("body")) << cut;
  }
  std::size_t scanned = 0;
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\nHost: h\n\n", scanned), 24u);
}

TEST(ResponseParser, FramingByStatusMethodAndHeaders) {
  struct Row {
    const char* text;
    bool head_request;
    BodyKind kind;
    bool keep_alive;
  };
  for (const Row& row :
       {Row{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, BodyKind::kLength, true},
        Row{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, BodyKind::kNone, true},
        Row{"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n", false, BodyKind::kChunked, true},
        Row{"HTTP/1.1 200 OK\r\n\r\n", false, BodyKind::kUntilClose, false},
        Row{"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, BodyKind::kLength, false},
        Row{"HTTP/1.1 204 No Content\r\n\r\n", false, BodyKind::kNone, true},
        Row{"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, BodyKind::kNone, true},
        Row{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, BodyKind::kNone, true}}) {
    ResponseHead head;
    Framing framing;
    EXPECT_FALSE(parse_response_head(row.text, {}, row.head_request, head, framing)) << row.text;
    EXPECT_EQ(framing.kind, row.kind) << row.text;
    EXPECT_EQ(head.keep_alive, row.keep_alive) << row.text;
  }
}

TEST(ResponseParser, RefusesGarbage) {
  for (const char* text :
       {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
        "HTTP/2 200\r\n\r\n", "HTTP/1.1 600 X\r\n\r\n", "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\n\n", "HTTP/1.1\r\n\r\n"}) {
    ResponseHead head;
    Framing framing;
    EXPECT_TRUE(parse_response_head(text, {}, false, head, framing)) << text;
  }
}

TEST(WriteHeader, NoSecondHeaderThroughAValue) {
  std::string out;
  write_header(out, "X", "a\r\nEvil: 1");
  write_header(out, "X\r\nEvil", "a");
  write_header(out, "Ok", "\xC3\xA9");
  EXPECT_EQ(out, "Ok: \xC3\xA9\r\n");
}

// Decodes with the text cut at the given places; "!" and the error if it is bad.
std::string dechunk(std::string_view text, std::size_t a, std::size_t b,
                    std::size_t* consumed = nullptr) {
  ChunkedDecoder decoder;
  std::string out, held;
  std::size_t used = 0;
  bool done = false;
  for (const auto& [from, to] :
       {std::pair{std::size_t{0}, a}, std::pair{a, b}, std::pair{b, text.size()}}) {
    if (done) break;
    held = text.substr(from, to - from);
    const auto piece = decoder.decode(held.data(), held.size());
    out.append(held, piece.begin, piece.size);
    used += piece.consumed;
    done = piece.done;
    if (piece.bad) return std::string("!") + decoder.error();
  }
  if (consumed) *consumed = used;
  return done ? out : out + "...";
}

TEST(ChunkedDecoder, EverySplitGivesTheSameBytes) {
  const std::string text =
      "5\r\nhello\r\n1;ext=\"a b\"\r\n \r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\nB: "
      "y\r\n\r\nNEXT";
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      std::size_t consumed = 0;
      ASSERT_EQ(dechunk(text, a, b, &consumed), "hello 0123456789") << a << " " << b;
      ASSERT_EQ(consumed, text.size() - 4);
    }
  }
}

TEST(ChunkedDecoder, RefusesOddFraming) {
  for (const char* text :
       {"\r\n", "x\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n", "5\r\nhello\n",
        "1000000000000000\r\n", "-5\r\n", "0x5\r\n", "5\r\rhello", "0\r\nA: b\n\r\n", "0\r\n\rX",
        ";\r\n", "5;a\n", "0\r\nA: b\rX"}) {
    const std::string t = text;
    EXPECT_EQ(dechunk(t, t.size(), t.size()).front(), '!') << text;
  }
  const std::string flood = "5;" + std::string(10'000, 'a');
  EXPECT_EQ(dechunk(flood, 0, 0).front(), '!');
  const std::string trailers = "0\r\n" + std::string(10'000, 'a');
  EXPECT_EQ(dechunk(trailers, 0, 0).front(), '!');
}

TEST(ChunkedDecoder, SaysWhenMoreIsToCome) {
  EXPECT_EQ(dechunk("5\r\nhel", 1, 2), "hel...");
  EXPECT_EQ(dechunk("0\r\n", 0, 0), "...");
}

}  // namespace
}  // namespace lodestar::net
