// SPDX-License-Identifier: Apache-2.0
#include "proxy/headers.h"

#include <gtest/gtest.h>

namespace lodestar::proxy {
namespace {

TEST(Headers, InternalOnesOfAClientAreStripped) {
  net::RequestHead client;
  client.method = "POST";
  client.target = "/v1/completions?x=1";
  client.headers = {{"Host", "me"},
                    {"X-LODESTAR-Instance", "a"},
                    {"Routing-Strategy", "random"},
                    {"target-pod", "10.0.0.1"},
                    {"X-Gateway-Destination-Endpoint", "10.0.0.1:80"},
                    {"x-data-parallel-rank", "3"},
                    {"Connection", "keep-alive, X-Mine"},
                    {"X-Mine", "hop"},
                    {"Accept-Encoding", "gzip"},
                    {"Content-Length", "5"},
                    {"Authorization", "Bearer k"},
                    {"X-Other", "stays"}};
  const net::RequestHead head = upstream_head(client, "rid");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/v1/completions?x=1");
  ASSERT_EQ(head.headers.size(), 3u);
  EXPECT_EQ(*head.headers.find("authorization"), "Bearer k");
  EXPECT_EQ(*head.headers.find("x-other"), "stays");
  EXPECT_EQ(*head.headers.find("x-request-id"), "rid");
}

TEST(Headers, AnswersKeepTheirsAndGetAnId) {
  const net::Headers out = client_headers({{"Content-Type", "text/event-stream"},
                                           {"Transfer-Encoding", "chunked"},
                                           {"x-lodestar-instance", "forged"},
                                           {"Content-Length", "3"}},
                                          "rid");
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(*out.find("content-length"), "3");
  EXPECT_EQ(*out.find("x-request-id"), "rid");
  EXPECT_EQ(*client_headers({{"X-Request-Id", "theirs"}}, "rid").find("x-request-id"), "theirs");
}

TEST(Headers, Secrets) {
  EXPECT_TRUE(equal_secret("abc", "abc"));
  EXPECT_FALSE(equal_secret("abd", "abc"));
  EXPECT_FALSE(equal_secret("abcabc", "abc"));
  EXPECT_FALSE(equal_secret("ab", "abc"));
  EXPECT_FALSE(equal_secret("", ""));  // no secret lets nobody in
}

}  // namespace
}  // namespace lodestar::proxy
