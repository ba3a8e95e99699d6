// SPDX-License-Identifier: Apache-2.0
#include "net/sse.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace lodestar::net {
namespace {

using Events = std::vector<std::pair<std::string, std::string>>;  // name, data

void drain(SseScanner& scanner, Events& out) {
  for (SseEvent e; scanner.next(e);) out.emplace_back(e.name, e.data);
}

Events scan(std::string_view text, const std::vector<std::size_t>& cuts,
            std::size_t limit = 1 << 20) {
  SseScanner scanner(limit);
  Events out;
  std::size_t from = 0;
  for (const std::size_t cut : cuts) {
    // A copy that dies at once: a view kept beyond the feed would be seen by ASan.
    const std::string piece(text.substr(from, cut - from));
    scanner.feed(piece);
    drain(scanner, out);
    from = cut;
  }
  const std::string rest(text.substr(from));
  scanner.feed(rest);
  drain(scanner, out);
  return out;
}

TEST(SseScanner, FieldsLinesAndComments) {
  const Events got = scan(
      "\xEF\xBB\xBF: hello\n\ndata: a\n\nevent: delta\r\ndata:b\r\ndata:  c\r\n\r\n"
      "data\rid: 7\r\rretry: 3\n\ndata: [DONE]\n\ndata: cut off",
      {});
  const Events want = {{"", "a"}, {"delta", "b\n c"}, {"", ""}, {"", "[DONE]"}};
  EXPECT_EQ(got, want);
}

TEST(SseScanner, NameDoesNotLeakIntoTheNextEvent) {
  const Events got = scan("event: ghost\n\ndata: x\n\nevent: a\ndata: 1\n\ndata: 2\n\n", {});
  const Events want = {{"", "x"}, {"a", "1"}, {"", "2"}};
  EXPECT_EQ(got, want);
}

TEST(SseScanner, EventComesWithTheByteThatEndsIt) {
  SseScanner scanner;
  SseEvent e;
  scanner.feed("data: a\r\n\r");
  ASSERT_TRUE(scanner.next(e));
  EXPECT_EQ(e.data, "a");
  EXPECT_FALSE(scanner.next(e));
  scanner.feed("\ndata: b\n\n");
  ASSERT_TRUE(scanner.next(e));
  EXPECT_EQ(e.data, "b");
  EXPECT_FALSE(scanner.next(e));
  EXPECT_TRUE(scanner.at_boundary());
  scanner.feed("d");
  EXPECT_FALSE(scanner.next(e));
  EXPECT_FALSE(scanner.at_boundary());
}

TEST(SseScanner, OneLineEventIsNotCopied) {
  SseScanner scanner;
  const std::string bytes = "data: hello\n\n";
  scanner.feed(bytes);
  SseEvent e;
  ASSERT_TRUE(scanner.next(e));
  EXPECT_EQ(e.data.data(), bytes.data() + 6);
}

TEST(SseScanner, EverySplitGivesTheSameEvents) {
  const std::string text =
      "\xEF\xBB\xBF"
      "data: one\n\n: c\r\ndata: two\r\ndata: three\r\n\r\nevent: x\rdata: \xC3\xA9\r\r"
      "\n\ndata:\n\nfoo: bar\ndata: {\"a\":1}\n\n\r\ndata: [DONE]\n\n";
  const Events want = scan(text, {});
  ASSERT_EQ(want.size(), 6u);
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b)
      EXPECT_EQ(scan(text, {a, b}), want) << a << " " << b;
  }
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < text.size(); ++i) all.push_back(i);
  EXPECT_EQ(scan(text, all), want);
}

TEST(SseScanner, RandomTextsAndSplitsAgree) {
  Rng rng(7);
  const char* const parts[] = {"data:",    " ",    "\n",       "\r",           "\r\n", ":",   "x",
                               "event: e", "\n\n", "data: yy", "\xEF\xBB\xBF", "\xEF", "\xBB"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint64_t n = rng.next() % 30; n > 0; --n)
      text += parts[rng.next() % std::size(parts)];
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      if (rng.next() % 3 == 0) cuts.push_back(i);
    }
    const std::size_t limit = rng.next() % 2 ? 12 : 1000;
    EXPECT_EQ(scan(text, cuts, limit), scan(text, {}, limit)) << round;
  }
}

TEST(SseScanner, OversizedEventIsDroppedAndCountedAndScanningGoesOn) {
  const std::string text = "data: " + std::string(100, 'x') + "\n\ndata: ok\n\n";
  for (std::size_t cut = 0; cut < text.size(); ++cut) {
    SseScanner scanner(50);
    Events out;
    scanner.feed(std::string_view(text).substr(0, cut));
    drain(scanner, out);
    scanner.feed(std::string_view(text).substr(cut));
    drain(scanner, out);
    EXPECT_EQ(out, (Events{{"", "ok"}})) << cut;
    EXPECT_EQ(scanner.dropped_events(), 1u);
  }
}

}  // namespace
}  // namespace lodestar::net
