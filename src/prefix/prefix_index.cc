// SPDX-License-Identifier: Apache-2.0
#include "prefix/prefix_index.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace lodestar {
namespace {
constexpr DurationNs kTick = 10 * kMillisecond;
// How far ahead of its use a cell is fetched: a chain is known in advance, and an
// index of realistic size lives in memory, not in the processor's cache.
constexpr std::size_t kAhead = 12;
std::uint32_t stamp_of(TimeNs now) { return static_cast<std::uint32_t>(now / kTick); }
}  // namespace

PrefixIndex::PrefixIndex(Options options) : options_(options) {}

void PrefixIndex::grow_words(std::size_t words) {
  if (words <= words_) return;
  std::vector<std::uint64_t> wider(blocks_.size() * words, 0);
  for (std::size_t b = 0; b < blocks_.size(); ++b)
    std::copy_n(&bits_[b * words_], words_, &wider[b * words]);
  bits_ = std::move(wider);
  words_ = words;
}

void PrefixIndex::open_slot(Slot slot, std::size_t capacity_blocks) {
  if (slot >= slots_.size()) slots_.resize(slot + 1);
  grow_words(slot / 64 + 1);
  clear_slot(slot);
  slots_[slot].capacity = capacity_blocks;
}

void PrefixIndex::set_capacity(Slot slot, std::size_t capacity_blocks) {
  slots_[slot].capacity = capacity_blocks;
  enforce_limits(slot);
}

void PrefixIndex::clear_slot(Slot slot) {
  if (slot >= slots_.size()) return;
  SlotState& state = slots_[slot];
  while (state.oldest != kNil) drop(slot, state.oldest);
  const std::size_t capacity = state.capacity;
  state = SlotState{};
  state.capacity = capacity;
}

void PrefixIndex::match(std::span<const std::uint64_t> chain, Match& out) const {
  const std::size_t slots = slots_.size();
  out.depth.assign(slots, 0);
  out.last_use.assign(slots, kNever);
  if (slots == 0) return;
  out.alive.assign(words_, ~std::uint64_t{0});
  std::uint32_t previous = kNil;
  const auto settle = [&](std::uint64_t dropped, std::size_t word, std::size_t depth) {
    while (dropped != 0) {
      const std::size_t slot = word * 64 + static_cast<std::size_t>(std::countr_zero(dropped));
      dropped &= dropped - 1;
      if (slot >= slots || depth == 0) continue;
      const SlotState& state = slots_[slot];
      out.depth[slot] = static_cast<std::uint32_t>(depth);
      out.last_use[slot] = state.nodes[node_of(static_cast<Slot>(slot), previous)].stamp * kTick;
    }
  };
  std::size_t depth = 0;
  for (std::size_t i = 0; i < std::min(kAhead, chain.size()); ++i) block_of_.prefetch(chain[i]);
  for (; depth < chain.size(); ++depth) {
    if (depth + kAhead < chain.size()) block_of_.prefetch(chain[depth + kAhead]);
    const std::uint32_t block = block_of_.find(chain[depth]);
    if (block == kNil) break;
    const std::uint64_t* holders = bits(block);
    std::uint64_t any = 0;
    for (std::size_t w = 0; w < words_; ++w) {
      const std::uint64_t dropped = out.alive[w] & ~holders[w];
      if (dropped != 0) settle(dropped, w, depth);
      out.alive[w] &= holders[w];
      any |= out.alive[w];
    }
    previous = block;
    if (any == 0) return;
  }
  for (std::size_t w = 0; w < words_; ++w) settle(out.alive[w], w, depth);
}

std::uint32_t PrefixIndex::intern_block(std::uint64_t hash) {
  const std::uint32_t known = block_of_.find(hash);
  if (known != kNil) return known;
  std::uint32_t block;
  if (!free_blocks_.empty()) {
    block = free_blocks_.back();
    free_blocks_.pop_back();
  } else {
    block = static_cast<std::uint32_t>(blocks_.size());
    blocks_.push_back({});
    bits_.resize(bits_.size() + words_, 0);
  }
  blocks_[block] = {hash, 0, kNil, kNil};
  block_of_.put(hash, block);
  return block;
}

void PrefixIndex::unlink(SlotState& state, std::uint32_t node) {
  const Node& n = state.nodes[node];
  (n.prev == kNil ? state.oldest : state.nodes[n.prev].next) = n.next;
  (n.next == kNil ? state.newest : state.nodes[n.next].prev) = n.prev;
}

void PrefixIndex::link_newest(SlotState& state, std::uint32_t node) {
  Node& n = state.nodes[node];
  n.prev = state.newest;
  n.next = kNil;
  (state.newest == kNil ? state.oldest : state.nodes[state.newest].next) = node;
  state.newest = node;
}

void PrefixIndex::touch(Slot slot, std::uint32_t block, std::uint32_t stamp) {
  SlotState& state = slots_[slot];
  const bool held = (bits(block)[slot / 64] >> (slot % 64)) & 1;
  std::uint32_t node = held ? node_of(slot, block) : kNil;
  if (node != kNil) {
    unlink(state, node);
  } else {
    if (!state.free_nodes.empty()) {
      node = state.free_nodes.back();
      state.free_nodes.pop_back();
    } else {
      node = static_cast<std::uint32_t>(state.nodes.size());
      state.nodes.push_back({});
    }
    state.nodes[node].block = block;
    Block& b = blocks_[block];
    if (b.inline_slot == kNil) {
      b.inline_slot = slot;
      b.inline_node = node;
    } else {
      state.map.put(block, node);
    }
    ++state.holdings;
    bits(block)[slot / 64] |= std::uint64_t{1} << (slot % 64);
    ++b.holders;
    ++total_holdings_;
  }
  state.nodes[node].stamp = stamp;
  link_newest(state, node);
}

void PrefixIndex::insert(Slot slot, std::span<const std::uint64_t> chain, TimeNs now) {
  LODESTAR_CHECK(slot < slots_.size());
  SlotState& state = slots_[slot];
  // A chain longer than the slot can hold keeps its head: the tail would be the
  // first to go anyway.
  const std::size_t limit = state.capacity == 0 ? chain.size() : state.capacity;
  const std::size_t n = std::min(chain.size(), limit);
  const std::uint32_t stamp = stamp_of(now);
  interned_.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (i + kAhead < n) block_of_.prefetch(chain[i + kAhead]);
    interned_[i] = intern_block(chain[i]);
  }
  for (std::size_t i = n; i-- > 0;) touch(slot, interned_[i], stamp);
  enforce_limits(slot);
}

void PrefixIndex::drop(Slot slot, std::uint32_t node) {
  SlotState& state = slots_[slot];
  const std::uint32_t block = state.nodes[node].block;
  unlink(state, node);
  state.free_nodes.push_back(node);
  --state.holdings;
  Block& b = blocks_[block];
  if (b.inline_slot == slot) {
    b.inline_slot = b.inline_node = kNil;
  } else {
    state.map.erase(block);
  }
  bits(block)[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
  --total_holdings_;
  if (--b.holders == 0) {
    block_of_.erase(b.hash);
    free_blocks_.push_back(block);
  }
}

void PrefixIndex::evict_oldest(Slot slot) {
  // Evictions come in runs: fetch what the next one will need.
  const SlotState& state = slots_[slot];
  if (const std::uint32_t next = state.nodes[state.oldest].next; next != kNil) {
    block_of_.prefetch(blocks_[state.nodes[next].block].hash);
    if (const std::uint32_t after = state.nodes[next].next; after != kNil)
      __builtin_prefetch(&blocks_[state.nodes[after].block]);
  }
  drop(slot, state.oldest);
  ++evictions_;
}

void PrefixIndex::enforce_limits(Slot slot) {
  SlotState& state = slots_[slot];
  if (state.capacity != 0)
    while (state.holdings > state.capacity) evict_oldest(slot);
  // Worst-case bytes of one holding: node and its map cell at the lowest load
  // after growth, plus a block, its map cell and its bits if it is the only holder.
  const std::size_t per_holding =
      2 * sizeof(Node) + 2 * 4 + 46 + 46 + 2 * sizeof(Block) + 16 * words_;
  const std::size_t max_holdings = std::max<std::size_t>(options_.max_bytes / per_holding, 1);
  while (total_holdings_ > max_holdings) {
    Slot largest = 0;
    for (Slot s = 1; s < slots_.size(); ++s)
      if (slots_[s].holdings > slots_[largest].holdings) largest = s;
    // In batches: finding the largest slot costs a scan of all slots.
    for (int i = 0; i < 64 && slots_[largest].oldest != kNil && total_holdings_ > max_holdings; ++i)
      evict_oldest(largest);
  }
}

void PrefixIndex::erase(Slot slot, std::uint64_t hash) {
  const std::uint32_t block = block_of_.find(hash);
  if (block == kNil || slot >= slots_.size()) return;
  const std::uint32_t node = node_of(slot, block);
  if (node != kNil) drop(slot, node);
}

std::size_t PrefixIndex::bytes() const {
  std::size_t total = block_of_.bytes() + blocks_.capacity() * sizeof(Block) +
                      free_blocks_.capacity() * 4 + bits_.capacity() * 8;
  for (const SlotState& s : slots_)
    total +=
        sizeof s + s.map.bytes() + s.nodes.capacity() * sizeof(Node) + s.free_nodes.capacity() * 4;
  return total;
}

}  // namespace lodestar
