// SPDX-License-Identifier: Apache-2.0
#include "policies/lodestar_paper_group.h"

#include <gtest/gtest.h>

namespace lodestar {
namespace {

RequestInfo prompt(std::uint64_t system, std::size_t shared_blocks, std::uint64_t conversation,
                   std::size_t blocks) {
  RequestInfo r;
  r.block_tokens = 16;
  for (std::size_t i = 0; i < blocks; ++i)
    r.block_hashes.push_back(i < shared_blocks ? system * 1000 + i : conversation * 100000 + i);
  return r;
}

TEST(PrefixGroups, DepthMovesBelowASharedSystemPrompt) {
  PrefixGroups groups(0);
  EXPECT_EQ(groups.depth_tokens(), 512);
  // 1,000 tokens (62 blocks) are the same for all; 40 conversations follow.
  for (std::uint64_t i = 0; i < PrefixGroups::kWindow; ++i)
    groups.observe(prompt(1, 62, i % 40, 100), 0.125);
  EXPECT_EQ(groups.depth_tokens(), 1024);
  EXPECT_NE(groups.group(prompt(1, 62, 1, 100)), groups.group(prompt(1, 62, 2, 100)));
  EXPECT_EQ(groups.group(prompt(1, 62, 1, 100)),
            groups.group(prompt(1, 62, 1, 300)));  // its next turn
}

TEST(PrefixGroups, DepthStaysShallowWhenConversationsDifferAtOnce) {
  PrefixGroups groups(0);
  for (std::uint64_t i = 0; i < PrefixGroups::kWindow; ++i)
    groups.observe(prompt(1, 0, i % 40, 100), 0.125);
  EXPECT_EQ(groups.depth_tokens(), PrefixGroups::kShallowestTokens);
}

TEST(PrefixGroups, OnePromptForAllHasNoBetterDepth) {
  PrefixGroups groups(0);
  for (std::uint64_t i = 0; i < PrefixGroups::kWindow; ++i)
    groups.observe(prompt(1, 100, 0, 100), 0.125);
  EXPECT_EQ(groups.depth_tokens(), PrefixGroups::kShallowestTokens);
}

TEST(PrefixGroups, AFixedDepthStaysAndShortPromptsUseTheirLastHash) {
  PrefixGroups groups(160);
  for (std::uint64_t i = 0; i < 1000; ++i) groups.observe(prompt(1, 62, i, 100), 0.125);
  EXPECT_EQ(groups.depth_tokens(), 160);
  EXPECT_EQ(groups.group(prompt(3, 50, 1, 100)), 3009u);  // 160 / 16 = the tenth block
  EXPECT_EQ(groups.group(prompt(3, 50, 1, 4)), 3003u);
  EXPECT_EQ(groups.group(prompt(3, 50, 1, 0)), 0u);
}

}  // namespace
}  // namespace lodestar
