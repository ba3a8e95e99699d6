// SPDX-License-Identifier: Apache-2.0
// Needs::mirror: the prefix index against an engine's block manager in miniature, whose
// running requests keep their blocks and whose answers take room. (The simulator's own
// KV cache under the same test: tests/scenarios/mirror_test.cc.)
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "routing/router.h"

namespace lodestar {
namespace {

class OnlyPolicy final : public Policy {
 public:
  explicit OnlyPolicy(bool mirror) : mirror_(mirror) {}
  Needs needs() const override { return {.prefix = true, .progress = true, .mirror = mirror_}; }
  void decide(const DecisionContext&, Decision& out, PolicyActions&) override { out.place(0); }

 private:
  bool mirror_;
};

// One instance, 1 + blocks of 16 tokens.
class One {
 public:
  One(bool mirror, std::int64_t blocks, bool caching = true) {
    RouterConfig config;
    config.policy = "only";
    router_ = std::move(
        Router::create(config, [mirror](std::string_view) -> Result<std::unique_ptr<Policy>> {
          return std::make_unique<OnlyPolicy>(mirror);
        }).value());
    InstanceInfo info;
    info.id = InstanceId(1);
    info.incarnation = 1;
    info.kv_capacity_tokens = 16 * blocks;
    info.prefix_caching = caching;
    router_->handle(0, InstanceUp{info});
  }
  // Returns the believed hit in tokens.
  double arrive(std::uint64_t request, const std::vector<std::uint64_t>& chain) {
    RequestArrived a;
    a.request = RequestId(request);
    a.info.block_tokens = 16;
    a.info.prompt_tokens = 16.0 * static_cast<double>(chain.size());
    a.info.block_hashes = chain;
    const Effects effects = router_->handle(++now_, a);
    const auto& d = std::get<Dispatch>(effects.at(0));
    leases_[request] = d.placements[0].lease;
    return d.hit_tokens;
  }
  void first(std::uint64_t request) { router_->handle(++now_, FirstToken{leases_[request]}); }
  void progress(std::uint64_t request, std::int64_t tokens) {
    router_->handle(++now_, TokenProgress{{{leases_[request], tokens}}});
  }
  void end(std::uint64_t request, std::int64_t output) {
    Ended e;
    e.lease = leases_[request];
    e.output_tokens = output;
    router_->handle(++now_, e);
  }
  void abort(std::uint64_t request) { router_->handle(++now_, Aborted{RequestId(request)}); }
  void fail(std::uint64_t request) {
    router_->handle(++now_, LeaseFailed{leases_[request], ErrorCode::kConnection});
  }
  const Router& router() const { return *router_; }
  std::size_t held() const { return router_->prefix().holdings(0); }

 private:
  std::unique_ptr<Router> router_;
  TimeNs now_ = kSecond;
  std::map<std::uint64_t, LeaseId> leases_;
};

std::vector<std::uint64_t> chain(std::uint64_t tag, std::size_t blocks) {
  std::vector<std::uint64_t> out;
  std::uint64_t h = mix64(tag);
  for (std::size_t k = 0; k < blocks; ++k) out.push_back(h = hash_combine(h, 1));
  return out;
}

// 100 blocks of room. Request 1 runs on 40; then 70 others come and go. By order of
// placement alone 1 would be the first to go.
TEST(RouterMirror, WhatRunsCannotBeEvicted) {
  for (const bool mirror : {false, true}) {
    One one(mirror, 100);
    one.arrive(1, chain(1, 40));
    one.first(1);
    for (std::uint64_t r = 2; r <= 9; ++r) {
      one.arrive(r, chain(r, 20));
      one.first(r);
      one.end(r, 0);
    }
    EXPECT_EQ(one.arrive(10, chain(1, 40)), mirror ? 640 : 0) << "mirror: " << mirror;
  }
}

// The answer of 1 is 60 blocks long: with the prompt of 2 the 100 blocks are full, and
// the oldest content, prompt 0, went.
TEST(RouterMirror, AnswersTakeRoom) {
  for (const bool mirror : {false, true}) {
    One one(mirror, 100);
    one.arrive(1, chain(100, 20));
    one.first(1);
    one.end(1, 1);
    one.arrive(2, chain(200, 20));
    one.first(2);
    one.end(2, 16 * 60);
    one.arrive(3, chain(300, 20));
    one.first(3);
    one.end(3, 1);
    EXPECT_EQ(one.arrive(4, chain(100, 20)), mirror ? 0 : 320) << "mirror: " << mirror;
    EXPECT_LE(one.held(), 100u);
  }
}

// The same while the answer still grows: its tokens are reported as they come.
TEST(RouterMirror, AnswersThatGrowTakeRoomAlready) {
  for (const bool mirror : {false, true}) {
    One one(mirror, 100);
    one.arrive(1, chain(100, 20));
    one.first(1);
    one.end(1, 1);
    one.arrive(2, chain(200, 20));
    one.first(2);
    one.progress(2, 16 * 60);
    one.arrive(3, chain(300, 20));
    EXPECT_EQ(one.arrive(4, chain(100, 20)), mirror ? 0 : 320) << "mirror: " << mirror;
  }
}

// An answer's blocks hang behind its own prompt: nobody else's prompt can hit them.
TEST(RouterMirror, AnswersAreNoHitsForOthers) {
  One one(true, 1000);
  one.arrive(1, chain(1, 10));
  one.first(1);
  one.end(1, 16 * 30);
  EXPECT_EQ(one.held(), 40u);
  EXPECT_EQ(one.arrive(2, chain(1, 10)), 160);
  auto longer = chain(1, 10);
  longer.resize(40, 99);
  EXPECT_EQ(one.arrive(3, longer), 160);
}

TEST(RouterMirror, NothingIsKeptWhereNothingIsCachedOrWhatFailed) {
  One without(true, 1000, /*caching=*/false);
  without.arrive(1, chain(1, 10));
  without.first(1);
  without.end(1, 160);
  EXPECT_EQ(without.held(), 0u);
  One failed(true, 1000);
  failed.arrive(1, chain(1, 10));
  failed.first(1);
  failed.fail(1);
  EXPECT_EQ(failed.held(), 10u) << "the prompt as placed, no answer";
}

// However absurd the reported length, the index stays within its capacity.
TEST(RouterMirror, AnAbsurdAnswerStaysWithinCapacity) {
  One one(true, 100);
  one.arrive(1, chain(1, 10));
  one.first(1);
  one.end(1, std::int64_t{1} << 60);
  EXPECT_LE(one.held(), 100u);
  one.arrive(2, chain(2, 10));
  one.first(2);
  one.end(2, -5);
  EXPECT_LE(one.held(), 100u);
  EXPECT_EQ(one.arrive(3, chain(2, 10)), 160);
}

// ---- against a block manager --------------------------------------------------------------

// Blocks with reference counts; the free ones in order of release, tail of a chain first.
class Manager {
 public:
  explicit Manager(std::size_t blocks) : capacity_(blocks) {}
  // Starts a request; returns its hit in blocks.
  std::size_t start(std::uint64_t id, std::vector<std::uint64_t> prompt) {
    std::size_t hit = 0;
    while (hit < prompt.size() && refs_.contains(prompt[hit])) ++hit;
    Held& held = running_[id];
    for (std::uint64_t hash : prompt) take(hash);
    held.blocks = std::move(prompt);
    return hit;
  }
  void grow(std::uint64_t id, std::size_t blocks) {
    for (std::size_t k = 0; k < blocks; ++k) {
      const std::uint64_t hash = hash_combine(0xbadULL + id, ++grown_);
      running_[id].blocks.push_back(hash);
      take(hash);
    }
  }
  void stop(std::uint64_t id) {
    auto& blocks = running_[id].blocks;
    for (auto it = blocks.rbegin(); it != blocks.rend(); ++it)
      if (--refs_[*it] == 0) free_.push_back(*it);
    running_.erase(id);
  }
  std::size_t used() const { return refs_.size() - free_.size(); }

 private:
  struct Held {
    std::vector<std::uint64_t> blocks;
  };
  void take(std::uint64_t hash) {
    if (const auto it = refs_.find(hash); it != refs_.end()) {
      if (it->second++ == 0) free_.remove(hash);
      return;
    }
    if (refs_.size() == capacity_) {
      refs_.erase(free_.front());
      free_.pop_front();
    }
    refs_[hash] = 1;
  }
  std::size_t capacity_;
  std::map<std::uint64_t, int> refs_;
  std::list<std::uint64_t> free_;  // oldest first
  std::map<std::uint64_t, Held> running_;
  std::uint64_t grown_ = 0;
};

struct Agreement {
  int requests = 0, exact = 0, with_hit = 0;
  double believed = 0, actual = 0, wrong = 0;  // blocks
};

// Conversations come back again and again; about 60 % of the blocks are in use.
Agreement compare(bool mirror, std::uint64_t seed) {
  constexpr std::size_t kBlocks = 400;
  One one(mirror, kBlocks);
  Manager manager(kBlocks);
  Rng rng(seed);
  struct Running {
    std::uint64_t id;
    std::int64_t generated, length;
  };
  std::vector<Running> running;
  Agreement a;
  for (std::uint64_t id = 1; id <= 2000; ++id) {
    while (manager.used() > kBlocks * 6 / 10) {  // everybody decodes; the shortest end
      for (std::size_t k = 0; k < running.size();) {
        Running& r = running[k];
        one.progress(r.id, 16);
        r.generated += 16;
        manager.grow(r.id, 1);
        if (r.generated < r.length) {
          ++k;
          continue;
        }
        manager.stop(r.id);
        one.end(r.id, r.generated);
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(k));
      }
    }
    const auto prompt = chain(rng.below(24), 5 + rng.below(20));
    const double believed = one.arrive(id, prompt) / 16;
    const auto actual = static_cast<double>(manager.start(id, prompt));
    one.first(id);
    one.progress(id, 15);  // with the first token: one block
    manager.grow(id, 1);
    running.push_back({id, 16, 16 * rng.between(1, 12)});
    ++a.requests;
    a.exact += believed == actual;
    a.with_hit += actual > 0;
    a.believed += believed;
    a.actual += actual;
    a.wrong += std::abs(believed - actual);
  }
  return a;
}

TEST(RouterMirror, FollowsABlockManagerUnderPressure) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const Agreement with = compare(true, seed), without = compare(false, seed);
    EXPECT_GT(with.with_hit, 400) << "there must be something to believe";
    EXPECT_LT(with.with_hit, 1950) << "and something to have lost";
    EXPECT_GT(with.exact, 95 * with.requests / 100) << "seed " << seed;
    EXPECT_LT(with.wrong, 0.03 * with.actual);
    EXPECT_LT(without.exact, with.exact - 5 * with.requests / 100);
    EXPECT_GT(without.wrong, 3 * with.wrong);
  }
}

}  // namespace
}  // namespace lodestar
