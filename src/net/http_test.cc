// SPDX-License-Identifier: Apache-2.0
#include "net/http.h"

#include <gtest/gtest.h>

namespace lodestar::net {
namespace {

TEST(Headers, FindsWithoutRegardToCaseAndKeepsOrder) {
  Headers h{{"Content-Type", "a"}, {"X-One", "1"}, {"x-one", "2"}};
  ASSERT_NE(h.find("CONTENT-TYPE"), nullptr);
  EXPECT_EQ(*h.find("x-ONE"), "1");
  EXPECT_EQ(h.find("x-two"), nullptr);
  EXPECT_EQ(h.count("X-ONE"), 2u);
  EXPECT_EQ(h.begin()->name, "Content-Type");
}

TEST(Headers, SetReplacesAllAndRemoveTellsHowMany) {
  Headers h{{"a", "1"}, {"b", "2"}, {"A", "3"}};
  h.set("A", "9");
  EXPECT_EQ(h.size(), 2u);
  EXPECT_EQ(*h.find("a"), "9");
  h.set("c", "4");
  EXPECT_EQ(h.size(), 3u);
  h.add("C", "5");
  EXPECT_EQ(h.remove("c"), 2u);
  EXPECT_EQ(h.remove("c"), 0u);
}

TEST(Headers, TokensOfAList) {
  Headers h{{"Connection", " keep-alive , X-Secret,, "}, {"connection", "close"}};
  EXPECT_TRUE(h.has_token("connection", "x-secret"));
  EXPECT_TRUE(h.has_token("connection", "CLOSE"));
  EXPECT_FALSE(h.has_token("connection", "keep"));
}

TEST(StripHopByHop, RemovesListedAndNamedButKeepsWhatDelimits) {
  Headers h{{"Connection", "keep-alive, X-Private, Content-Length, Host"},
            {"Keep-Alive", "timeout=5"},
            {"X-Private", "1"},
            {"Transfer-Encoding", "chunked"},
            {"TE", "trailers"},
            {"Upgrade", "h2c"},
            {"Proxy-Authorization", "x"},
            {"Host", "h"},
            {"Content-Length", "5"},
            {"Accept", "*/*"}};
  strip_hop_by_hop(h);
  EXPECT_EQ(h.size(), 3u);
  EXPECT_NE(h.find("host"), nullptr);
  EXPECT_NE(h.find("content-length"), nullptr);
  EXPECT_NE(h.find("accept"), nullptr);
}

TEST(RequestHead, PathAndQuery) {
  RequestHead head;
  head.target = "/v1/models?a=1?2";
  EXPECT_EQ(head.path(), "/v1/models");
  EXPECT_EQ(head.query(), "a=1?2");
  head.target = "/x";
  EXPECT_EQ(head.path(), "/x");
  EXPECT_EQ(head.query(), "");
}

TEST(OpenAiError, IsValidJsonWhateverTheMessage) {
  EXPECT_EQ(openai_error_body(404, "no \"x\"\\\n\xff"),
            R"({"error":{"message":"no \"x\"\\\u000a\u00ff","type":"not_found_error",)"
            R"("param":null,"code":null}})");
  EXPECT_EQ(openai_error_body(400, "m", "t", "c"),
            R"({"error":{"message":"m","type":"t","param":null,"code":"c"}})");
}

}  // namespace
}  // namespace lodestar::net
