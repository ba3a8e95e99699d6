// SPDX-License-Identifier: Apache-2.0
#include "learn/training_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace lodestar::learn {
namespace {

class Feeder {
 public:
  explicit Feeder(PoolSizes sizes) : set(sizes) {}
  void add(int n) {
    for (int i = 0; i < n; ++i) {
      Sample s;
      s.sequence = next++;
      set.add(s);
    }
  }
  std::set<std::uint64_t> round() {
    last = set.begin_round(Rng(42));
    std::set<std::uint64_t> sequences;
    for (const Sample& s : *last.set) sequences.insert(s.sequence);
    EXPECT_EQ(sequences.size(), last.set->size()) << "a row is there twice";
    return sequences;
  }
  void keep(std::initializer_list<std::uint64_t> sequences) {
    std::vector<std::uint32_t> order;
    for (std::uint64_t wanted : sequences)
      for (std::uint32_t i = 0; i < last.set->size(); ++i)
        if ((*last.set)[i].sequence == wanted) order.push_back(i);
    set.set_replay(*last.set, order);
  }
  TrainingSet set;
  Round last;
  std::uint64_t next = 1;
};

std::set<std::uint64_t> from_to(std::uint64_t a, std::uint64_t b) {
  std::set<std::uint64_t> s;
  for (; a <= b; ++a) s.insert(a);
  return s;
}

TEST(TrainingSet, FirstRoundIsAllThatIsNew) {
  Feeder f({.fifo = 5, .replay = 3, .fresh = 100});
  f.add(10);
  EXPECT_EQ(f.set.fresh(), 10u);
  EXPECT_EQ(f.round(), from_to(1, 10));
  EXPECT_EQ(f.set.fresh(), 0u);
  EXPECT_EQ(f.set.stored(), 8u);          // trimmed to fifo + replay
  EXPECT_EQ(f.last.replay_rows, 3u);      // 8 old rows fill the fifo: only 3 places are left
}

TEST(TrainingSet, NewPlusFifoPlusHeadOfReplay) {
  Feeder f({.fifo = 5, .replay = 3, .fresh = 100});
  f.add(10);
  f.round();
  f.keep({1, 9, 2, 3});                   // 9 is in the fifo as well: it is not taken twice
  f.add(4);                               // 11..14 arrive while the round trains: they are new
  EXPECT_EQ(f.set.fresh(), 4u);
  // new 11..14, fifo 6..10, replay = first three of the selection: 1, (9), 2.
  std::set<std::uint64_t> want = from_to(6, 14);
  want.insert({1, 2});
  EXPECT_EQ(f.round(), want);
}

TEST(TrainingSet, AShortFifoLeavesMoreRoomToReplay) {
  Feeder f({.fifo = 5, .replay = 3, .fresh = 100});
  f.add(2);
  f.round();
  EXPECT_EQ(f.last.replay_rows, 6u);      // 8 - 2
  f.keep({2, 1});
  f.add(1);
  EXPECT_EQ(f.round(), from_to(1, 3));
}

TEST(TrainingSet, OlderRowsFillUpWhenThereIsNoSelection) {
  Feeder f({.fifo = 2, .replay = 4, .fresh = 100});
  f.add(10);
  f.round();                              // keeps 5..10; its training fails: no selection
  f.add(1);
  const auto second = f.round();          // new 11, fifo 9..10, and 5..8 fill the gap
  EXPECT_EQ(second, from_to(5, 11));
}

TEST(TrainingSet, FillIsAChoiceWhenThereIsMoreThanNeeded) {
  Feeder f({.fifo = 2, .replay = 4, .fresh = 100});
  f.add(10);
  f.round();
  f.keep({1, 2});
  f.add(1);
  // 11 new, 9..10 fifo, 1 and 2 replay, two of 5..8.
  const auto rows = f.round();
  EXPECT_EQ(rows.size(), 7u);
  EXPECT_TRUE(rows.contains(1) && rows.contains(2) && rows.contains(9) && rows.contains(11));
}

TEST(TrainingSet, FreshRowsAreBounded) {
  Feeder f({.fifo = 3, .replay = 2, .fresh = 10});
  f.add(100);
  EXPECT_EQ(f.set.fresh(), 10u);
  EXPECT_EQ(f.set.stored(), 15u);
  EXPECT_EQ(f.round().size(), 15u);       // new 91..100, fifo 88..90, two fill
}

TEST(TrainingSet, TheOrderIsShuffledAndReproducible) {
  Feeder a({.fifo = 50, .replay = 50, .fresh = 1000}), b({.fifo = 50, .replay = 50, .fresh = 1000});
  a.add(200);
  b.add(200);
  a.round();
  b.round();
  std::vector<std::uint64_t> one, two;
  for (const Sample& s : *a.last.set) one.push_back(s.sequence);
  for (const Sample& s : *b.last.set) two.push_back(s.sequence);
  EXPECT_EQ(one, two);
  EXPECT_FALSE(std::is_sorted(one.begin(), one.end()));
}

TEST(TrainingSet, WithoutPoolsARoundIsWhatIsNew) {
  Feeder f({.fifo = 0, .replay = 0, .fresh = 100});
  f.add(5);
  f.round();
  EXPECT_EQ(f.set.stored(), 0u);
  f.add(3);
  EXPECT_EQ(f.round(), from_to(6, 8));
}

}  // namespace
}  // namespace lodestar::learn
