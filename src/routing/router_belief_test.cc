// SPDX-License-Identifier: Apache-2.0
// The belief inside the router: what policies are shown, and what a repair leaves.
#include <gtest/gtest.h>

#include "routing/router.h"

namespace lodestar {
namespace {

class Watcher final : public Policy {
 public:
  explicit Watcher(FeatureRow* row) : row_(row) {}
  Needs needs() const override { return {.prefix = true, .progress = false}; }
  void decide(const DecisionContext& c, Decision& out, PolicyActions&) override {
    *row_ = c.rows[0];
    out.place(0);
  }

 private:
  FeatureRow* row_;
};

class RouterBelief : public ::testing::Test {
 protected:
  RouterBelief() {
    RouterConfig config;
    config.policy = "watcher";
    auto made = Router::create(config, [this](std::string_view) -> Result<std::unique_ptr<Policy>> {
      return std::make_unique<Watcher>(&row);
    });
    router = std::move(made.value());
  }
  void up(std::uint32_t id) {
    InstanceInfo info;
    info.id = InstanceId(id);
    info.incarnation = 1;
    info.kv_capacity_tokens = 16000;
    router->handle(now, InstanceUp{info});
  }
  static RequestInfo request(double tokens, std::uint64_t tag, std::size_t blocks) {
    RequestInfo r;
    r.prompt_tokens = tokens;
    r.block_tokens = 16;
    for (std::size_t i = 0; i < blocks; ++i) r.block_hashes.push_back(tag * 1000 + i);
    return r;
  }
  Dispatch place(std::uint64_t id, RequestInfo info) {
    for (const Effect& e : router->handle(now, RequestArrived{RequestId(id), std::move(info)}))
      if (const auto* d = std::get_if<Dispatch>(&e)) return *d;
    ADD_FAILURE() << "not placed";
    return {};
  }

  FeatureRow row;
  std::unique_ptr<Router> router;
  TimeNs now = kSecond;
};

// One request of `tag` on instance 1, answered with what the engine had cached.
TEST_F(RouterBelief, BelievedHitsAreCheckedCorrectedAndRepaired) {
  up(1);
  std::uint64_t id = 100;
  const auto serve = [&](std::uint64_t tag, std::int64_t cached) {
    const Dispatch d = place(++id, request(1600, tag, 10));
    now += 100 * kMillisecond;
    router->handle(now, FirstToken{d.placements[0].lease});
    now += 900 * kMillisecond;
    Ended end{d.placements[0].lease, 5, {}, 0};
    end.usage.prompt_tokens = 1600;
    end.usage.cached_tokens = cached;
    router->handle(now, end);
    return d.hit_tokens;
  };
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve(tag, 0);
  for (std::uint64_t tag = 1; tag <= 20; ++tag) EXPECT_EQ(serve(tag, 160), 160);
  EXPECT_EQ(row.hit_correction, 1);
  // It caches half of what we think.
  for (std::uint64_t tag = 1; tag <= 20; ++tag) serve(tag, 110);
  EXPECT_LT(row.hit_correction, 0.9);
  EXPECT_EQ(row.hit_tokens, 160) << "the belief is shown as it is";
  for (int round = 0; round < 10; ++round)
    for (std::uint64_t tag = 1; tag <= 20; ++tag) serve(tag, 160);
  EXPECT_GT(row.hit_correction, 0.95);
  // It loses everything; what is in flight and what was asked since stays believed.
  const Dispatch running = place(++id, request(1600, 30, 10));
  const Dispatch other = place(++id, request(1600, 31, 10));
  serve(1, 0);
  const Dispatch during = place(++id, request(1600, 40, 10));
  EXPECT_EQ(router->belief().repairs_total(), 0u);
  serve(2, 0);
  ASSERT_EQ(router->belief().repairs_total(), 1u);
  EXPECT_EQ(router->belief().repairs()[0].kind, CacheRepair::Kind::kLost);
  EXPECT_EQ(serve(9, 0), 0);
  EXPECT_EQ(serve(1, 160), 160);
  EXPECT_EQ(serve(2, 160), 160);
  EXPECT_EQ(serve(40, 160), 160) << "in flight, placed after the loss";
  EXPECT_EQ(router->belief().repairs_total(), 1u);
  for (const Dispatch* d : {&running, &other, &during})
    router->handle(now, Ended{d->placements[0].lease, 5, {}, 0});
  EXPECT_EQ(router->open_leases(), 0u);
}

TEST_F(RouterBelief, CountersThatGoBackwardsClearTheBelief) {
  up(1);
  const auto scrape = [&](double queries) {
    now += kSecond;
    LoadSnapshot load;
    load.prefix_queries_tokens = queries;
    load.taken_at = now;
    router->handle(now, Scraped{InstanceId(1), 1, load});
  };
  const Dispatch old = place(1, request(1600, 1, 10));
  scrape(5000);
  now += kMillisecond;
  const Dispatch fresh = place(2, request(1600, 2, 10));
  scrape(100);
  EXPECT_EQ(place(3, request(1600, 1, 10)).hit_tokens, 0);
  EXPECT_EQ(place(4, request(1600, 2, 10)).hit_tokens, 160) << "placed after the last scrape";
  ASSERT_EQ(router->belief().repairs_total(), 1u);
  EXPECT_EQ(router->belief().repairs()[0].kind, CacheRepair::Kind::kRestarted);
}

}  // namespace
}  // namespace lodestar
