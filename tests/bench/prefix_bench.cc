// SPDX-License-Identifier: Apache-2.0
// Cost of the prefix index. Bound: a template held by 1,000 instances is looked up
// in at most 200 us (Match/1000/512).
#include <benchmark/benchmark.h>

#include <cstddef>
#include <vector>

#include "base/hash.h"
#include "prefix/prefix_index.h"

namespace lodestar {
namespace {

std::vector<std::uint64_t> chain_of(std::uint64_t tag, std::size_t length) {
  std::vector<std::uint64_t> chain;
  std::uint64_t h = mix64(tag + 1);
  for (std::size_t i = 0; i < length; ++i) chain.push_back(h = hash_combine(h, 3));
  return chain;
}

// Looks up a prompt whose first `blocks` blocks are on every one of `instances`.
void Match(benchmark::State& state) {
  const auto instances = static_cast<PrefixIndex::Slot>(state.range(0));
  const auto blocks = static_cast<std::size_t>(state.range(1));
  PrefixIndex index;
  auto prompt = chain_of(1, blocks);
  for (PrefixIndex::Slot s = 0; s < instances; ++s) {
    index.open_slot(s, 8192);
    index.insert(s, prompt, 0);
  }
  for (std::uint64_t h : chain_of(2, 64)) prompt.push_back(h);
  PrefixIndex::Match match;
  for (auto _ : state) {
    index.match(prompt, match);
    benchmark::DoNotOptimize(match.depth.data());
  }
  state.counters["holders"] = static_cast<double>(instances);
}
BENCHMARK(Match)
    ->Args({8, 512})
    ->Args({100, 512})
    ->Args({1000, 64})
    ->Args({1000, 512})
    ->Unit(benchmark::kMicrosecond);

// The worst shape: prompts have left the template at every 16th block, so that it is 32
// nodes, each with 1,000 holders.
void MatchFragmented(benchmark::State& state) {
  PrefixIndex index;
  const auto prompt = chain_of(1, 512);
  for (PrefixIndex::Slot s = 0; s < 1000; ++s) {
    index.open_slot(s, 8192);
    index.insert(s, prompt, 0);
  }
  for (std::size_t at = 16; at < 512; at += 16) {
    std::vector<std::uint64_t> other(prompt.begin(),
                                     prompt.begin() + static_cast<std::ptrdiff_t>(at));
    other.push_back(mix64(at));
    index.insert(0, other, 0);
  }
  PrefixIndex::Match match;
  for (auto _ : state) {
    index.match(prompt, match);
    benchmark::DoNotOptimize(match.depth.data());
  }
  state.counters["nodes"] = static_cast<double>(index.nodes());
}
BENCHMARK(MatchFragmented)->Unit(benchmark::kMicrosecond);

// Places a prompt of `blocks` blocks, every one new, on one of 8 instances that are full.
void InsertFresh(benchmark::State& state) {
  const auto blocks = static_cast<std::size_t>(state.range(0));
  PrefixIndex index;
  for (PrefixIndex::Slot s = 0; s < 8; ++s) index.open_slot(s, 8192);
  std::uint64_t tag = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const auto chain = chain_of(++tag, blocks);
    state.ResumeTiming();
    index.insert(static_cast<PrefixIndex::Slot>(tag % 8), chain, static_cast<TimeNs>(tag));
  }
}
BENCHMARK(InsertFresh)->Arg(64)->Arg(512)->Unit(benchmark::kMicrosecond);

// The next turn of a conversation on the instance that has it: 100 blocks more, from
// 300 to 1,200; 100 others are evicted.
void InsertTurn(benchmark::State& state) {
  constexpr std::size_t kSessions = 10;
  PrefixIndex index;
  index.open_slot(0, 8192);
  std::vector<std::vector<std::uint64_t>> sessions(kSessions);
  std::uint64_t turn = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto& chain = sessions[++turn % kSessions];
    if (chain.size() >= 1200) chain.clear();
    const auto more = chain_of(turn, chain.empty() ? 300 : 100);
    chain.insert(chain.end(), more.begin(), more.end());
    state.ResumeTiming();
    index.insert(0, chain, static_cast<TimeNs>(turn) * kSecond);
  }
}
BENCHMARK(InsertTurn)->Unit(benchmark::kMicrosecond);

// KV events: an engine evicts a chain of 512 blocks from its tail, one by one.
void EraseTail(benchmark::State& state) {
  PrefixIndex index;
  index.open_slot(0, 0);
  std::uint64_t tag = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const auto chain = chain_of(++tag, 512);
    index.insert(0, chain, 0);
    state.ResumeTiming();
    for (std::size_t i = chain.size(); i-- > 0;) index.erase(0, chain[i]);
  }
}
BENCHMARK(EraseTail)->Unit(benchmark::kMicrosecond);

// Places a known template again: only recency changes.
void InsertKnown(benchmark::State& state) {
  PrefixIndex index;
  const auto chain = chain_of(1, 512);
  for (PrefixIndex::Slot s = 0; s < 1000; ++s) {
    index.open_slot(s, 8192);
    index.insert(s, chain, 0);
  }
  TimeNs now = 0;
  for (auto _ : state) {
    now += kMillisecond;
    index.insert(static_cast<PrefixIndex::Slot>(now / kMillisecond % 1000), chain, now);
  }
}
BENCHMARK(InsertKnown)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lodestar
