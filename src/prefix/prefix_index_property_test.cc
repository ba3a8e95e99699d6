// SPDX-License-Identifier: Apache-2.0
// The prefix index against a plain one that knows only blocks, under random traffic and
// events: whatever it does with runs of blocks, nobody may be able to tell.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <list>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "prefix/prefix_index.h"

namespace lodestar {
namespace {

using Chain = std::vector<std::uint64_t>;
constexpr DurationNs kTick = 10 * kMillisecond;  // resolution of last_use

// Extends a chain as a hasher does: each hash covers all before it.
void extend(Chain& chain, std::uint64_t what, std::size_t length) {
  for (std::size_t i = 0; i < length; ++i)
    chain.push_back(hash_combine(chain.empty() ? 77 : chain.back(), what));
}

// What the index must do, written as plainly as possible, block by block: per slot a
// list of (block, last use), newest last.
class NaiveIndex {
 public:
  explicit NaiveIndex(std::size_t slots) : slots_(slots) {}
  void open(std::size_t slot, std::size_t capacity) { slots_[slot] = {{}, {}, capacity}; }
  void clear(std::size_t slot) { open(slot, slots_[slot].capacity); }
  void set_capacity(std::size_t slot, std::size_t capacity) {
    slots_[slot].capacity = capacity;
    shrink(slots_[slot]);
  }
  void insert(std::size_t slot, const Chain& chain, TimeNs now) {
    Slot& s = slots_[slot];
    const std::size_t n = s.capacity == 0 ? chain.size() : std::min(chain.size(), s.capacity);
    for (std::size_t i = n; i-- > 0;) {
      erase(slot, chain[i]);
      s.blocks.push_back({chain[i], now / kTick * kTick});
      s.where[chain[i]] = std::prev(s.blocks.end());
    }
    shrink(s);
  }
  void erase(std::size_t slot, std::uint64_t hash) {
    Slot& s = slots_[slot];
    const auto it = s.where.find(hash);
    if (it == s.where.end()) return;
    s.blocks.erase(it->second);
    s.where.erase(it);
  }
  std::size_t depth(std::size_t slot, const Chain& chain, TimeNs* last_use) const {
    const Slot& s = slots_[slot];
    std::size_t depth = 0;
    *last_use = kNever;
    for (; depth < chain.size(); ++depth) {
      const auto it = s.where.find(chain[depth]);
      if (it == s.where.end()) break;
      *last_use = it->second->used;
    }
    return depth;
  }
  std::size_t holdings(std::size_t slot) const { return slots_[slot].blocks.size(); }
  std::size_t blocks() const {
    std::unordered_set<std::uint64_t> all;
    for (const Slot& slot : slots_)
      for (const Held& h : slot.blocks) all.insert(h.hash);
    return all.size();
  }
  std::uint64_t evictions() const { return evictions_; }

 private:
  struct Held {
    std::uint64_t hash;
    TimeNs used;
  };
  struct Slot {
    std::list<Held> blocks;
    std::unordered_map<std::uint64_t, std::list<Held>::iterator> where;
    std::size_t capacity = 0;
  };
  void shrink(Slot& s) {
    while (s.capacity != 0 && s.blocks.size() > s.capacity) {
      s.where.erase(s.blocks.front().hash);
      s.blocks.pop_front();
      ++evictions_;
    }
  }
  std::vector<Slot> slots_;
  std::uint64_t evictions_ = 0;
};

// Random traffic and events on an index and on the naive one, which must agree on
// everything that can be asked of them.
class Duel {
 public:
  // longest: of a piece of prompt, in blocks.
  Duel(std::uint64_t seed, std::size_t slots, std::size_t longest)
      : rng_(seed), slots_(slots), longest_(longest), naive_(slots), conversations_(6) {
    for (PrefixIndex::Slot s = 0; s < slots; ++s)
      open(s, rng_.below(3) == 0 ? 0 : rng_.below(4 * longest) + 1);
  }

  void step() {
    now_ += static_cast<DurationNs>(rng_.below(30 * kMillisecond));
    const auto slot = static_cast<PrefixIndex::Slot>(rng_.below(slots_));
    const std::uint64_t what = rng_.below(100);
    if (what < 75) {
      const Chain chain = prompt();
      index_.insert(slot, chain, now_);
      naive_.insert(slot, chain, now_);
    } else if (what < 90) {
      erase_some(slot);
    } else if (what < 93) {
      index_.clear_slot(slot);
      naive_.clear(slot);
    } else if (what < 97) {
      const std::size_t capacity = rng_.below(4 * longest_) + 1;
      index_.set_capacity(slot, capacity);
      naive_.set_capacity(slot, capacity);
    } else {
      open(slot, rng_.below(3 * longest_));
    }
  }

  void compare() {
    const Chain probe = prompt();
    index_.match(probe, match_);
    for (std::size_t s = 0; s < slots_; ++s) {
      TimeNs last_use = 0;
      ASSERT_EQ(match_.depth.at(s), naive_.depth(s, probe, &last_use)) << "slot " << s;
      ASSERT_EQ(match_.last_use.at(s), last_use) << "slot " << s;
      ASSERT_EQ(index_.holdings(static_cast<PrefixIndex::Slot>(s)), naive_.holdings(s));
    }
    ASSERT_EQ(index_.blocks(), naive_.blocks());
    ASSERT_EQ(index_.evictions(), naive_.evictions());
  }

  // Nothing may be left behind when nobody holds anything.
  void empty() {
    for (PrefixIndex::Slot s = 0; s < slots_; ++s) index_.clear_slot(s);
    ASSERT_EQ(index_.holdings(), 0u);
    ASSERT_EQ(index_.blocks(), 0u);
    ASSERT_EQ(index_.nodes(), 0u);
  }

 private:
  void open(PrefixIndex::Slot slot, std::size_t capacity) {
    index_.open_slot(slot, capacity);
    naive_.open(slot, capacity);
  }
  // A turn more of a conversation, the same again, an earlier turn of it, another
  // answer to an earlier turn (a branch), or a new one on one of two heads.
  Chain prompt() {
    Chain& c = conversations_[rng_.below(conversations_.size())];
    const std::uint64_t what = rng_.below(10);
    if (what < 4) {
      extend(c, ++fresh_, rng_.below(longest_));
    } else if (what < 6) {
      return Chain(c.begin(), c.begin() + static_cast<std::ptrdiff_t>(rng_.below(c.size() + 1)));
    } else if (what == 6) {
      c.resize(rng_.below(c.size() + 1));
      extend(c, ++fresh_, rng_.below(longest_));
    } else if (what == 7) {
      c.clear();
      extend(c, rng_.below(2), rng_.below(longest_));
      extend(c, ++fresh_, rng_.below(longest_));
    }
    if (c.size() > 6 * longest_) c.resize(rng_.below(longest_));
    return c;
  }
  // As an engine reports: a few blocks, from the tail or from anywhere.
  void erase_some(PrefixIndex::Slot slot) {
    const Chain& c = conversations_[rng_.below(conversations_.size())];
    const bool tail = rng_.below(2) == 0;
    for (std::uint64_t n = rng_.below(4) + 1; n > 0 && !c.empty(); --n) {
      const std::uint64_t hash =
          c[tail ? c.size() - std::min<std::size_t>(n, c.size()) : rng_.below(c.size())];
      index_.erase(slot, hash);
      naive_.erase(slot, hash);
    }
  }

  Rng rng_;
  std::size_t slots_, longest_;
  PrefixIndex index_;
  NaiveIndex naive_;
  PrefixIndex::Match match_;
  std::vector<Chain> conversations_;
  std::uint64_t fresh_ = 100;
  TimeNs now_ = kSecond;
};

TEST(PrefixIndex, AgreesWithANaiveIndexUnderRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Duel duel(seed, seed % 6 == 0 ? 70 : 1 + seed % 5, seed % 2 == 0 ? 6 : 60);
    for (int step = 0; step < 1000; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      duel.step();
      duel.compare();
      if (HasFatalFailure()) return;
    }
    duel.empty();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace lodestar
