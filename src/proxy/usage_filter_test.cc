// SPDX-License-Identifier: Apache-2.0
#include "proxy/usage_filter.h"

#include <gtest/gtest.h>

namespace lodestar::proxy {
namespace {

std::string run(std::string_view stream, std::size_t piece) {
  EventReader reader;
  UsageFilter filter(reader);
  std::string out;
  for (std::size_t at = 0; at < stream.size(); at += piece)
    out += filter.feed(stream.substr(at, piece));
  out += filter.end();
  return out;
}

TEST(UsageFilter, RemovesOnlyTheUsageChunkHoweverItIsCut) {
  for (const std::string nl : {"\n", "\r\n", "\r"}) {
    const std::string before = ": comment" + nl + nl + "event: x" + nl +
                               "data: {\"choices\":[{\"text\":\"a\"}]}" + nl + nl +
                               "data: {\"choices\":[]}" + nl + nl;
    const std::string usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}" + nl + nl;
    const std::string after = "data: [DONE]" + nl + nl;
    const std::string all = before + usage + after;
    for (std::size_t piece = 1; piece <= all.size(); ++piece)
      ASSERT_EQ(run(all, piece), before + after) << piece;
  }
}

TEST(UsageFilter, AnUnfinishedTailIsNotLost) {
  EXPECT_EQ(run("data: a\n\ndata: tail", 3), "data: a\n\ndata: tail");
}

TEST(UsageFilter, AHugeEventPassesThrough) {
  const std::string huge = "data: " + std::string(3u << 20, 'x');
  EXPECT_EQ(run(huge, 100'000), huge);
}

TEST(UsageFilter, UsageBesideContentStays) {
  const std::string s =
      "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":1}}\n\n";
  EXPECT_EQ(run(s, 7), s);
}

}  // namespace
}  // namespace lodestar::proxy
