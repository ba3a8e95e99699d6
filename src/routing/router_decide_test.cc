// SPDX-License-Identifier: Apache-2.0
// What the short cuts on the path of a decision may not change: the fallbacks, the
// policy object that a name stands for, and what a sink sees of a moved event.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/rng.h"
#include "routing/router.h"

namespace lodestar {
namespace {

// Places on a random candidate; knows which object it is.
class RandomPolicy final : public Policy {
 public:
  explicit RandomPolicy(int* made) : mine_((*made)++) {}
  Needs needs() const override { return {.prefix = true}; }
  void decide(const DecisionContext& c, Decision& out, PolicyActions&) override {
    out.place(c.rng.below(c.candidates.size()));
    out.propensity = 1.0 / (1 + mine_);
  }

 private:
  int mine_;
};

class CopySink final : public EventSink {
 public:
  void record(TimeNs, const Event& event, const Effects&) override { seen.push_back(event); }
  std::vector<Event> seen;
};

std::unique_ptr<Router> router_of(RouterConfig config, int* made) {
  config.policy = "a";
  auto router = Router::create(config, [made](std::string_view) -> Result<std::unique_ptr<Policy>> {
    return std::make_unique<RandomPolicy>(made);
  });
  return std::move(router.value());
}

void up(Router& router, std::uint32_t id, std::vector<std::string> served) {
  InstanceInfo info;
  info.id = InstanceId(id);
  info.incarnation = 1;
  info.served_models = std::move(served);
  router.handle(0, InstanceUp{info});
}

RequestArrived arrival(std::uint64_t id, const std::string& served, std::size_t blocks = 4) {
  RequestArrived a;
  a.request = RequestId(id);
  a.info.served_model = served;
  a.info.block_tokens = 16;
  a.info.prompt_tokens = 16.0 * static_cast<double>(blocks);
  a.info.block_hashes.assign(blocks, 5);
  return a;
}

TEST(RouterDecide, FallbacksAreTheLeastLoadedOthersInOrder) {
  for (std::size_t wanted : {0u, 1u, 2u, 5u, 100u}) {
    int made = 0;
    RouterConfig config;
    config.fallbacks = wanted;
    const auto router = router_of(config, &made);
    for (std::uint32_t i = 1; i <= 12; ++i) up(*router, i, {"m"});
    for (std::uint64_t r = 1; r <= 200; ++r) {
      std::vector<std::pair<std::int64_t, InstanceId>> loads;
      for (Fleet::Slot s : router->fleet().present())
        loads.emplace_back(router->fleet().at(s).own.inflight, router->fleet().at(s).info.id);
      const Effects effects = router->handle(1, arrival(r, "m"));
      const auto& d = std::get<Dispatch>(effects.at(0));
      std::erase_if(loads, [&](const auto& l) { return l.second == d.placements[0].instance; });
      std::sort(loads.begin(), loads.end());
      ASSERT_EQ(d.fallbacks.size(), std::min<std::size_t>(wanted, 11));
      for (std::size_t i = 0; i < d.fallbacks.size(); ++i)
        ASSERT_EQ(d.fallbacks[i], loads[i].second) << "request " << r << " fallback " << i;
    }
  }
}

// One object per (policy, listed served model); the rest share one, however many names
// clients invent; a name that an instance begins to list gets its own.
TEST(RouterDecide, APolicyObjectFollowsWhatTheFleetLists) {
  int made = 0;
  const auto router = router_of({}, &made);
  const int at_start = made;
  up(*router, 1, {});
  std::uint64_t id = 0;
  const auto propensity = [&](const std::string& served) {
    const Effects effects = router->handle(1, arrival(++id, served));
    return std::get<Dispatch>(effects.at(0)).propensity;
  };
  const double shared = propensity("invented");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(propensity("x" + std::to_string(i)), shared);
  EXPECT_EQ(made, at_start + 1);
  up(*router, 2, {"x1"});
  const double own = propensity("x1");
  EXPECT_NE(own, shared);
  EXPECT_EQ(propensity("x1"), own);
  EXPECT_EQ(propensity("x2"), shared);
  EXPECT_EQ(made, at_start + 2);
  router->handle(1, InstanceDown{InstanceId(2)});
  EXPECT_EQ(propensity("x1"), shared) << "nobody lists it any more";
}

TEST(RouterDecide, AMovedArrivalIsWorthACopiedOne) {
  CopySink sink;
  std::uint64_t hash[3];
  for (int variant = 0; variant < 3; ++variant) {
    int made = 0;
    RouterConfig config;
    if (variant == 2) config.sink = &sink;
    const auto router = router_of(config, &made);
    for (std::uint32_t i = 1; i <= 5; ++i) up(*router, i, {"m"});
    for (std::uint64_t r = 1; r <= 50; ++r) {
      Event event = arrival(r, "m", r % 7);
      if (variant == 0) {
        router->handle(static_cast<TimeNs>(r), event);
        EXPECT_EQ(std::get<RequestArrived>(event).info.block_hashes.size(), r % 7);
      } else {
        router->handle(static_cast<TimeNs>(r), std::move(event));
      }
    }
    hash[variant] = router->decision_hash();
  }
  EXPECT_EQ(hash[0], hash[1]);
  EXPECT_EQ(hash[0], hash[2]);
  ASSERT_EQ(sink.seen.size(), 55u);
  for (std::uint64_t r = 1; r <= 50; ++r)
    EXPECT_EQ(std::get<RequestArrived>(sink.seen[4 + r]).info.block_hashes.size(), r % 7);
}

}  // namespace
}  // namespace lodestar
