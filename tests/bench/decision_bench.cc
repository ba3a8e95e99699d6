// SPDX-License-Identifier: Apache-2.0
// Cost of one decision: Router::handle(RequestArrived) to effects, prefix match,
// features, policy, lease and index insertion included, on a warm fleet.
//
// Traffic: conversations that grow turn by turn from 300 to 1,200 blocks (mean 750)
// over one of eight shared heads of 32 blocks; each instance holds 8,192 blocks and
// about eight requests, and is scraped once per simulated second. Warm: every cache
// has been filled before the first sample. A learner trains once, while warming.
//
// p50_us, p99_us: the whole of handle(). insert_p50_us: the index insertion alone, on
// a second index that is told the same; sans_insert_p50_us, sans_insert_p99_us: each
// request's handle() less its insertion.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "policies/catalog.h"
#include "prefix/prefix_index.h"
#include "routing/router.h"

namespace lodestar {
namespace {

constexpr std::size_t kHeadBlocks = 32, kHeads = 8;
constexpr std::size_t kFirstTurn = 300, kTurnBlocks = 100, kTurns = 10;
constexpr std::size_t kSlotBlocks = 8192;
constexpr std::size_t kSessionsPerInstance = 12;
constexpr double kBlockTokens = 16;
constexpr int kSamples = 4000;

using Chain = std::vector<std::uint64_t>;

// Conversations, each at some turn; the next prompt of a random one.
class Talk {
 public:
  explicit Talk(std::size_t sessions) : rng_(7), sessions_(sessions) {
    for (Session& s : sessions_) {
      begin(s);
      for (std::uint64_t skip = rng_.below(kTurns); skip > 0; --skip) extend(s, kTurnBlocks);
    }
  }
  const Chain& next() {
    Session& s = sessions_[rng_.below(sessions_.size())];
    if (s.chain.size() >= kFirstTurn + (kTurns - 1) * kTurnBlocks)
      begin(s);
    else
      extend(s, kTurnBlocks);
    return s.chain;
  }

 private:
  struct Session {
    Chain chain;
  };
  void begin(Session& s) {
    s.chain.clear();
    std::uint64_t h = mix64(rng_.below(kHeads) + 1);
    while (s.chain.size() < kHeadBlocks) s.chain.push_back(h = hash_combine(h, 1));
    extend(s, kFirstTurn - kHeadBlocks);
  }
  void extend(Session& s, std::size_t blocks) {
    std::uint64_t h = hash_combine(s.chain.back(), ++fresh_);
    for (std::size_t i = 0; i < blocks; ++i) s.chain.push_back(h = hash_combine(h, 1));
  }

  Rng rng_;
  std::vector<Session> sessions_;
  std::uint64_t fresh_ = 0;
};

double since_us(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

class Bench {
 public:
  Bench(const std::string& policy, std::size_t instances)
      : talk_(instances * kSessionsPerInstance), instances_(instances) {
    RouterConfig config;
    config.policy = policy;
    router_ = *Router::create(config, [](std::string_view name) { return make_policy(name); });
    for (std::size_t i = 0; i < instances; ++i) {
      InstanceInfo info;
      info.id = InstanceId(static_cast<std::uint32_t>(i + 1));
      info.incarnation = 1;
      info.name = "10.0.0." + std::to_string(i) + ":8000";
      info.served_models = {"meta-llama/Llama-3.1-8B-Instruct"};
      info.hardware = "A30";
      info.kv_capacity_tokens = static_cast<std::int64_t>(kSlotBlocks * kBlockTokens);
      router_->handle(now_, InstanceUp{info});
      mirror_.open_slot(static_cast<PrefixIndex::Slot>(i), kSlotBlocks);
    }
    const std::size_t full = kSlotBlocks / kTurnBlocks * 2;  // placements that fill a cache
    for (std::size_t i = 0; i < instances * full / 4 + 3000; ++i) request();
    handle_us_.clear();
    insert_us_.clear();
    fallbacks_before_ = router_->counters().fallback_decisions;
  }

  // One request from arrival to effects, and what time brings in between.
  double request() {
    if (served_ % instances_ == 0) scrape();
    now_ += kSecond / static_cast<DurationNs>(instances_);
    ++served_;
    RequestArrived arrived;
    arrived.request = RequestId(served_);
    arrived.info.served_model = "meta-llama/Llama-3.1-8B-Instruct";
    arrived.info.session_key = std::to_string(served_);
    arrived.info.block_hashes = talk_.next();
    arrived.info.block_tokens = kBlockTokens;
    arrived.info.prompt_tokens =
        static_cast<double>(arrived.info.block_hashes.size()) * kBlockTokens + 7;
    const Chain chain = arrived.info.block_hashes;
    Event event = std::move(arrived);
    const auto start = std::chrono::steady_clock::now();
    const Effects effects = router_->handle(now_, std::move(event));
    handle_us_.push_back(since_us(start));
    const Dispatch& dispatch = std::get<Dispatch>(effects.at(0));
    const auto slot = router_->fleet().find(dispatch.placements.at(0).instance);
    const auto again = std::chrono::steady_clock::now();
    mirror_.insert(slot, chain, now_);
    insert_us_.push_back(since_us(again));
    carry_out(effects);
    prefilling_.push_back(dispatch.placements.at(0).lease);
    progress();
    return handle_us_.back();
  }

  void report(benchmark::State& state) {
    std::vector<double> rest;
    for (std::size_t i = 0; i < handle_us_.size(); ++i)
      rest.push_back(std::max(0.0, handle_us_[i] - insert_us_[i]));
    state.counters["p50_us"] = quantile(handle_us_, 0.50);
    state.counters["p99_us"] = quantile(handle_us_, 0.99);
    state.counters["insert_p50_us"] = quantile(insert_us_, 0.50);
    state.counters["sans_insert_p50_us"] = quantile(rest, 0.50);
    state.counters["sans_insert_p99_us"] = quantile(rest, 0.99);
    state.counters["fallback_share"] =
        static_cast<double>(router_->counters().fallback_decisions - fallbacks_before_) /
        static_cast<double>(handle_us_.size());
    state.counters["index_MB"] = static_cast<double>(router_->prefix().bytes()) / (1 << 20);
  }

 private:
  static double quantile(std::vector<double> v, double q) {
    std::sort(v.begin(), v.end());
    return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
  }
  void carry_out(const Effects& effects) {
    for (const Effect& effect : effects) {
      const auto* train = std::get_if<Train>(&effect);
      if (train == nullptr || trained_) continue;
      trained_ = true;
      const PolicyId policy = train->policy;
      carry_out(router_->handle(now_, PredictorPublished{policy, train->job->run()}));
    }
  }
  // A first token two rounds after the placement, the end six rounds later.
  void progress() {
    if (prefilling_.size() > instances_ * 2) {
      const LeaseId lease = prefilling_.front();
      prefilling_.pop_front();
      carry_out(router_->handle(now_, FirstToken{lease}));
      decoding_.push_back(lease);
    }
    if (decoding_.size() > instances_ * 6) {
      Ended end;
      end.lease = decoding_.front();
      end.output_tokens = 200;
      decoding_.pop_front();
      carry_out(router_->handle(now_, end));
    }
  }
  void scrape() {
    for (std::size_t i = 0; i < instances_; ++i) {
      Scraped scraped;
      scraped.instance = InstanceId(static_cast<std::uint32_t>(i + 1));
      scraped.incarnation = 1;
      const OwnLoad& own = router_->fleet().at(router_->fleet().find(scraped.instance)).own;
      scraped.load.running = static_cast<double>(own.inflight_decode);
      scraped.load.waiting = static_cast<double>(own.inflight_prefill);
      scraped.load.kv_usage = 0.5;
      scraped.load.taken_at = now_;
      router_->handle(now_, scraped);
    }
  }

  Talk talk_;
  std::size_t instances_;
  std::unique_ptr<Router> router_;
  PrefixIndex mirror_;
  TimeNs now_ = kSecond;
  std::uint64_t served_ = 0, fallbacks_before_ = 0;
  bool trained_ = false;
  std::deque<LeaseId> prefilling_, decoding_;
  std::vector<double> handle_us_, insert_us_;
};

void decide(benchmark::State& state, const std::string& policy, std::size_t instances) {
  Bench bench(policy, instances);
  for (auto _ : state) state.SetIterationTime(bench.request() * 1e-6);
  bench.report(state);
}

// Without the range check the network decides always, and not at times its fallback.
constexpr const char* kPolicies[] = {"prefix-cache", "lmetric", "lodestar",
                                     "lodestar-paper:range_check=0"};

const bool kRegistered = [] {
  for (const char* policy : kPolicies) {
    if (!make_policy(policy)) continue;  // not in this build's catalog
    for (std::size_t instances : {8, 100, 1000})
      benchmark::RegisterBenchmark(
          ("Decide/" + std::string(policy) + "/" + std::to_string(instances)).c_str(),
          [=](benchmark::State& state) { decide(state, policy, instances); })
          ->UseManualTime()
          ->Iterations(kSamples)
          ->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
}  // namespace lodestar
