// SPDX-License-Identifier: Apache-2.0
#include "policies/session_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "base/rng.h"

namespace lodestar {
namespace {

TEST(SessionTable, RemembersTheLastHome) {
  SessionTable table(10);
  EXPECT_FALSE(table.find(1, 0, kSecond).known);
  table.put(1, InstanceId(4), 2, 0);
  table.put(1, InstanceId(5), 3, 10);
  const auto home = table.find(1, 20, kSecond);
  EXPECT_TRUE(home.known);
  EXPECT_EQ(home.instance, InstanceId(5));
  EXPECT_EQ(home.incarnation, 3u);
  EXPECT_EQ(table.size(), 1u);
}

TEST(SessionTable, QuietSessionsAreForgotten) {
  SessionTable table(10);
  table.put(1, InstanceId(4), 1, 0);
  EXPECT_TRUE(table.find(1, kSecond, kSecond).known);
  EXPECT_FALSE(table.find(1, kSecond + 1, kSecond).known);
}

TEST(SessionTable, FullTableForgetsTheLeastRecent) {
  SessionTable table(3);
  for (std::uint64_t s = 1; s <= 3; ++s) table.put(s, InstanceId(1), 1, 0);
  table.put(1, InstanceId(1), 1, 1);
  table.put(4, InstanceId(1), 1, 2);
  EXPECT_FALSE(table.find(2, 2, kSecond).known);
  for (std::uint64_t s : {1u, 3u, 4u}) EXPECT_TRUE(table.find(s, 2, kSecond).known) << s;
  EXPECT_EQ(table.size(), 3u);
}

TEST(SessionTable, AgreesWithANaiveListUnderRandomUse) {
  Rng rng(5);
  SessionTable table(16);
  struct Naive {
    std::uint64_t session;
    std::uint32_t instance;
  };
  std::list<Naive> naive;  // newest first
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t session = rng.below(40);
    const auto at = std::find_if(naive.begin(), naive.end(),
                                 [&](const Naive& n) { return n.session == session; });
    const auto home = table.find(session, i, kNever);
    ASSERT_EQ(home.known, at != naive.end());
    if (home.known) {
      ASSERT_EQ(home.instance.value, at->instance);
    }
    if (rng.below(2) == 0) continue;
    const auto instance = static_cast<std::uint32_t>(rng.below(100));
    if (at != naive.end()) naive.erase(at);
    naive.push_front({session, instance});
    if (naive.size() > 16) naive.pop_back();
    table.put(session, InstanceId(instance), 1, i);
  }
}

}  // namespace
}  // namespace lodestar
