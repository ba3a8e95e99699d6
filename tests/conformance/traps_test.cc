// SPDX-License-Identifier: Apache-2.0
// Mistakes that other routers made and their users reported, each with the number
// it has in our survey of peers, so that we do not make them again. Those that
// concern the proxy, the prompt hash or a learner are tested where these live.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "conformance/lab.h"
#include "conformance/rows.h"

namespace lodestar::testing {
namespace {

void end(Lab& lab, RequestId request) {
  for (LeaseId lease : lab.leases_of(request)) {
    Ended e;
    e.lease = lease;
    e.output_tokens = 2;
    lab.send(e);
  }
}
// One request at a time, each prompt new: `count` of them.
void trickle(Lab& lab, std::uint64_t first_tag, int count, DurationNs gap = 50 * kMillisecond) {
  for (int i = 0; i < count; ++i) {
    const std::uint64_t tag = first_tag + static_cast<std::uint64_t>(i);
    const RequestId r = lab.arrive(1000, blocks_of(tag, 62), "s" + std::to_string(tag));
    for (int k = 0; k < 3 && lab.fate(r) == Lab::Fate::kHeld; ++k) {
      lab.advance(20 * kMillisecond);
      lab.send(Timer{});
    }
    if (lab.fate(r) == Lab::Fate::kPlaced) {  // what an answer looks like to a learner
      lab.advance(10 * kMillisecond);
      lab.send(FirstToken{lab.leases_of(r)[0]});
    }
    end(lab, r);
    lab.advance(gap);
  }
}
double share(const std::vector<std::uint32_t>& count, std::uint32_t id) {
  const double total = std::accumulate(count.begin(), count.end(), 0.0);
  return count[id] / total;
}
// A request that the policy of this lab places at once.
InstanceId place(Lab& lab, double tokens, std::vector<std::uint64_t> blocks,
                 std::string session = {}) {
  return lab.where(lab.arrive(tokens, std::move(blocks), std::move(session)));
}
// Puts a request onto instance `id`, whatever the policy, by leaving it alone in the fleet.
RequestId force(Lab& lab, std::uint32_t id, std::uint32_t instances, double tokens,
                std::vector<std::uint64_t> blocks, std::string session = {}) {
  const auto others = [&](Health health) {
    for (std::uint32_t k = 1; k <= instances; ++k)
      if (k != id) lab.send(InstanceChanged{InstanceId(k), health});
  };
  others(Health::kDraining);
  const RequestId r = lab.arrive(tokens, std::move(blocks), std::move(session));
  others(Health::kUp);
  EXPECT_EQ(lab.where(r), InstanceId(id));
  return r;
}

class Trap : public ::testing::TestWithParam<std::string> {};

// sglang #32983: at low load every miss went to replica 0.
TEST_P(Trap, Trap01_MissesDoNotAllGoToReplica0) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 10; ++id) lab.up(id);
  trickle(lab, 1, 300);
  const auto count = lab.placements_by_instance(10);
  for (std::uint32_t id = 1; id <= 10; ++id) EXPECT_LT(share(count, id), 0.2) << id;
}

// sglang #14650: a miss went to the smallest tree, so a newcomer got all of them.
TEST_P(Trap, Trap01_MissesDoNotAllGoToTheEmptiestCache) {
  if (GetParam() == "preble")
    GTEST_SKIP() << "E2 levels three minutes of load: a newcomer catches up first";
  Lab lab(GetParam());
  for (std::uint32_t id = 2; id <= 10; ++id) lab.up(id);
  trickle(lab, 1, 100);
  const auto before = lab.placements_by_instance(10);
  lab.up(1);
  trickle(lab, 1000, 200);
  const auto after = lab.placements_by_instance(10);
  const auto placed = std::accumulate(after.begin(), after.end(), 0u) -
                      std::accumulate(before.begin(), before.end(), 0u);
  EXPECT_LT(after[1] - before[1], placed / 4) << "a tenth is fair";
}

// sglang #27547: load counted from the first byte on, so a burst went to one place.
TEST_P(Trap, Trap03_LoadCountsFromTheDecision) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 4; ++id) lab.up(id);
  for (std::uint64_t i = 0; i < 40; ++i)
    lab.arrive(1000, blocks_of(i, 62), "s" + std::to_string(i));
  std::int64_t inflight = 0;
  for (Fleet::Slot slot : lab.router().fleet().present())
    inflight += lab.router().fleet().at(slot).own.inflight;
  EXPECT_EQ(inflight, static_cast<std::int64_t>(lab.open().size()));
  EXPECT_GE(inflight, 40);
  lab.finish_all();
}

// Kthena's least-latency: an instance with one bad episode was never tried again.
TEST_P(Trap, Trap05_AnInstanceThatRecoveredGetsItsShareAgain) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 4; ++id) lab.up(id);
  for (int i = 0; i < 20; ++i) {  // a bad minute of instance 1
    LoadSnapshot bad;
    bad.running = 200;
    bad.waiting = 90;
    bad.kv_usage = 0.99;
    lab.scrape(1, bad);
    const RequestId r =
        lab.arrive(1000, blocks_of(static_cast<std::uint64_t>(i), 62), "t" + std::to_string(i));
    if (lab.fate(r) == Lab::Fate::kPlaced && lab.where(r) == InstanceId(1))
      lab.send(LeaseFailed{lab.leases_of(r)[0], ErrorCode::kTimeout});
    lab.advance(3 * kSecond);
  }
  lab.finish_all();
  for (std::uint32_t id = 1; id <= 4; ++id) lab.scrape(id, LoadSnapshot{});
  lab.advance(200 * kSecond);
  const auto before = lab.placements_by_instance(4);
  trickle(lab, 1000, 200, 2 * kSecond);  // long enough to be tried again
  const auto after = lab.placements_by_instance(4);
  EXPECT_GE(after[1] - before[1], 20u) << "of 200 over 4 instances";
}

// SMG's remove_worker was a no-op: an address that came back still owned its prefixes.
TEST_P(Trap, Trap07_AReAddedAddressStartsCold) {
  Lab lab(GetParam());
  lab.up(1);
  for (std::uint64_t i = 0; i < 20; ++i)
    lab.arrive(1000, blocks_of(i, 62), "s" + std::to_string(i));
  lab.finish_all();
  lab.down(1);
  lab.up(1);  // same id, and even the same incarnation
  for (std::uint64_t i = 0; i < 20; ++i) {
    const RequestId r = lab.arrive(1000, blocks_of(i, 62), "s" + std::to_string(i));
    if (lab.fate(r) == Lab::Fate::kPlaced) {
      EXPECT_EQ(lab.dispatch(r).hit_tokens, 0);
    }
  }
  lab.finish_all();
}

// Dynamo at saturation shed one request in seven that a queue could have taken.
TEST_P(Trap, Trap13_SaturationDoesNotShed) {
  Lab lab(GetParam());
  for (std::uint32_t id = 1; id <= 2; ++id) {
    lab.up(id);
    LoadSnapshot full;
    full.running = 256;
    full.waiting = 1000;
    full.kv_usage = 1;
    lab.scrape(id, full);
  }
  for (std::uint64_t i = 0; i < 400; ++i) lab.arrive(4000, blocks_of(i, 250));
  EXPECT_EQ(lab.router().counters().rejected, 0u);
  lab.finish_all();
}

// Dynamo #589, Ray #65010: replicas without shared load herd on the same best.
TEST_P(Trap, Trap15_TwoRoutersDoNotHerd) {
  Lab a(GetParam(), 1), b(GetParam(), 2);
  for (Lab* lab : {&a, &b}) {
    for (std::uint32_t id = 1; id <= 10; ++id) {
      lab->up(id, 1, 400000);
      lab->scrape(id, LoadSnapshot{});
    }
    for (std::uint64_t i = 0; i < 50; ++i)
      lab->arrive(1000, blocks_of(i + (lab == &a ? 0 : 1000), 62), "s" + std::to_string(i));
    lab->finish_all();
  }
  const auto x = a.placements_by_instance(10), y = b.placements_by_instance(10);
  const double total =
      std::accumulate(x.begin(), x.end(), 0.0) + std::accumulate(y.begin(), y.end(), 0.0);
  for (std::uint32_t id = 1; id <= 10; ++id)
    EXPECT_LE((x[id] + y[id]) * 10 / total, 2.2) << "instance " << id;
}

INSTANTIATE_TEST_SUITE_P(Catalog, Trap, ::testing::ValuesIn(all_rows()), row_test_name);

// Instance 1 holds 90 requests, instance 2 none; instance 3 holds the prefix of
// group 7 and its session, and ten requests. Where does group 7 go?
InstanceId with_a_hot_pair_elsewhere(const std::string& policy) {
  Lab lab(policy);
  for (std::uint32_t id = 1; id <= 8; ++id) lab.up(id, 1, 400000);
  for (std::uint64_t i = 0; i < 90; ++i) force(lab, 1, 8, 1000, blocks_of(100 + i, 62));
  for (std::uint32_t id = 4; id <= 8; ++id)
    for (std::uint64_t i = 0; i < 10; ++i) force(lab, id, 8, 1000, blocks_of(1000 * id + i, 62));
  end(lab, force(lab, 3, 8, 1000, blocks_of(7, 62), "seven"));
  return place(lab, 1000, blocks_of(7, 62), "seven");
}

// sglang #32195, vllm-router #238: one imbalanced pair switched affinity off for all.
TEST(Trap02, OneHotPairDoesNotDisableAffinityForTheOthers) {
  for (const char* policy :
       {"prefix-hit-threshold", "lmetric", "lmetric-speeds", "dynamo-kv", "llm-d", "mooncake",
        "preble", "session-affinity", "cache-aware:per_request=1", "prefix-cache:abs=1000000"})
    EXPECT_EQ(with_a_hot_pair_elsewhere(policy), InstanceId(3)) << policy;
}

// The published form of these does have the fleet-wide gate: that is what is compared.
TEST(Trap02, PublishedGatesActAsPublished) {
  for (const char* policy : {"prefix-cache", "prefix-cache-16-2", "cache-aware"})
    EXPECT_NE(with_a_hot_pair_elsewhere(policy), InstanceId(1)) << policy;
  Lab lab("cache-aware");
  lab.up(1);
  lab.up(2);
  for (std::uint64_t i = 0; i < 70; ++i) force(lab, 1, 2, 1000, blocks_of(1, 62));
  EXPECT_EQ(place(lab, 1000, blocks_of(1, 62)), InstanceId(2)) << "70 - 0 > 64: balance first";
}

// sglang #15473: a gauge that nobody refreshed looked like an idle engine.
TEST(Trap04, AStaleGaugeIsUnknownNotZero) {
  for (const char* policy : {"lmetric", "llm-d", "least-kv-cache", "dynamo-kv"}) {
    Lab lab(policy);
    for (std::uint32_t id = 1; id <= 2; ++id) lab.up(id, 1, 100000);
    for (std::uint64_t i = 0; i < 30; ++i) {  // 30 requests decode on instance 1
      const RequestId r = force(lab, 1, 2, 1000, blocks_of(100 + i, 62));
      lab.send(FirstToken{lab.leases_of(r)[0]});
    }
    for (std::uint64_t i = 0; i < 3; ++i) {
      const RequestId r = force(lab, 2, 2, 1000, blocks_of(200 + i, 62));
      lab.send(FirstToken{lab.leases_of(r)[0]});
    }
    LoadSnapshot two;
    two.running = 3;
    two.kv_usage = 0.03;
    lab.scrape(2, two);
    lab.send(ScrapeFailed{InstanceId(1)});
    const RequestId first = lab.arrive(1000, blocks_of(1, 62));
    EXPECT_EQ(lab.where(first), InstanceId(2)) << policy << ": scrape failed";
    end(lab, first);
    LoadSnapshot idle;  // an old snapshot says idle; it is six seconds old
    lab.scrape(1, idle);
    lab.advance(6 * kSecond);
    lab.scrape(2, two);
    EXPECT_EQ(place(lab, 1000, blocks_of(2, 62)), InstanceId(2)) << policy << ": stale scrape";
  }
}

// vllm-router #197: hot spots of decoding that a prefill-only load did not see.
TEST(Trap14, DecodingIsLoadToo) {
  for (const char* policy :
       {"least-request", "prefix-cache", "lmetric", "dynamo-kv", "llm-d", "cache-aware"}) {
    Lab lab(policy);
    for (std::uint32_t id = 1; id <= 2; ++id) lab.up(id, 1, 400000);
    for (std::uint64_t i = 0; i < 20; ++i) {
      const RequestId r = force(lab, 1, 2, 1000, blocks_of(100 + i, 62));
      lab.send(FirstToken{lab.leases_of(r)[0]});
    }
    EXPECT_EQ(place(lab, 1000, blocks_of(1, 62)), InstanceId(2)) << policy;
  }
}

// Peers ship with the protections off. Ours are on without a word of configuration.
TEST(Trap20, DefaultsAreSafe) {
  const RouterConfig config;
  EXPECT_GE(config.max_attempts, 2u);                    // failover
  EXPECT_LE(config.max_attempts, 5u);                    // no retry storm
  EXPECT_LE(config.scrape_stale_after, 10 * kSecond);    // old gauges become unknown
  EXPECT_LE(config.prefix.max_bytes, std::size_t{1} << 30);
  EXPECT_GT(config.prefix.max_bytes, 0u);                // the index is bounded
}

}  // namespace
}  // namespace lodestar::testing
