// SPDX-License-Identifier: Apache-2.0
// What is held, in which order it was used, and what has to go.
#include "prefix/prefix_index.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace lodestar {
namespace {

constexpr DurationNs kTick = 10 * kMillisecond;
// Worst-case bytes of a cell of FlatMap64 per key: 16 at the load after growth.
constexpr std::size_t kMapBytesPerKey = 46;

std::uint32_t stamp_of(TimeNs now) { return static_cast<std::uint32_t>(now / kTick); }

// Length of the common prefix. Most comparisons find all of the shorter one equal.
std::size_t common(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  constexpr std::size_t kStride = 16;
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i + kStride <= n && std::memcmp(&a[i], &b[i], kStride * sizeof a[0]) == 0) i += kStride;
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

}  // namespace

PrefixIndex::PrefixIndex(Options options) : options_(options), nodes_(1) {}

void PrefixIndex::open_slot(Slot slot, std::size_t capacity_blocks) {
  if (slot >= slots_.size()) slots_.resize(slot + 1);
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
  state.reserved = 0;
  while (state.oldest != kNil) shorten(slot, entries_[state.oldest].node, 0);
}

void PrefixIndex::match(std::span<const std::uint64_t> chain, Match& out) const {
  out.depth.assign(slots_.size(), 0);
  out.last_use.assign(slots_.size(), kNever);
  NodeId at = kRoot;
  std::size_t base = 0;  // blocks above the node; who holds them all has this depth so far
  while (base < chain.size()) {
    at = child(at, chain[base]);
    if (at == kNil) return;
    const Node& node = nodes_[at];
    const std::size_t matched = common(node.run, chain.subspan(base));
    bool any = false;
    for (const Holder& holder : node.holders) {
      if (out.depth[holder.slot] != base) continue;  // lacks a block above
      const std::size_t held = std::min<std::size_t>(holder.length, matched);
      out.depth[holder.slot] = static_cast<std::uint32_t>(base + held);
      out.last_use[holder.slot] = holder.stamp * kTick;
      any = any || held == node.run.size();
    }
    base += matched;
    if (!any) return;
  }
}

// Makes the chain a path of the tree: path_ has its nodes from the top, with the number
// of blocks that the chain takes of each. Runs are split where the chain leaves them, and
// where it ends in the part that the slot holds: what lies behind keeps its older use.
void PrefixIndex::trace(Slot slot, std::span<const std::uint64_t> chain) {
  path_.clear();
  NodeId at = kRoot;
  while (!chain.empty()) {
    NodeId next = child(at, chain[0]);
    if (next == kNil) {
      next = append(at, chain);
      if (next == kNil) return;
      if (next == at) path_.pop_back();  // the leaf was extended
      path_.push_back({next, static_cast<std::uint32_t>(nodes_[next].run.size())});
      return;
    }
    const Node& node = nodes_[next];
    const auto taken = static_cast<std::uint32_t>(common(node.run, chain));
    chain = chain.subspan(taken);
    if (taken < node.run.size()) {
      const Holder* holder = chain.empty() ? holder_of(node, slot) : nullptr;
      if (!chain.empty() || (holder != nullptr && holder->length > taken))
        next = split(next, taken);
    }
    path_.push_back({next, taken});
    at = next;
  }
}

void PrefixIndex::touch(Slot slot, Step step, std::uint32_t stamp) {
  Node& node = nodes_[step.node];
  auto it = node.holders.begin() + static_cast<std::ptrdiff_t>(place_in(node, slot));
  if (it != node.holders.end() && it->slot == slot) {
    unlink(it->entry);
  } else {
    it = node.holders.insert(it, {slot, 0, stamp, new_entry(step.node, slot)});
    recharge(node);
  }
  it->stamp = stamp;
  slots_[slot].holdings += step.length - it->length;
  total_holdings_ += step.length - it->length;
  set_length(node, *it, step.length);
  link_after(it->entry, slots_[slot].newest);
}

void PrefixIndex::insert(Slot slot, std::span<const std::uint64_t> chain, TimeNs now) {
  LODESTAR_CHECK(slot < slots_.size());
  // A chain longer than the slot can hold keeps its head: the tail would be the
  // first to go anyway.
  const std::size_t capacity = slots_[slot].capacity;
  if (capacity != 0) chain = chain.first(std::min(chain.size(), capacity));
  enforce_budget(chain.size());  // before the containers grow: they do not shrink
  trace(slot, chain);
  for (std::size_t i = path_.size(); i-- > 0;) touch(slot, path_[i], stamp_of(now));
  enforce_limits(slot);
}

// The slot keeps only the first `length` blocks of what it holds of the node's run.
void PrefixIndex::shorten(Slot slot, NodeId id, std::uint32_t length) {
  Node& node = nodes_[id];
  const auto it = node.holders.begin() + static_cast<std::ptrdiff_t>(place_in(node, slot));
  LODESTAR_CHECK(it != node.holders.end() && it->slot == slot && it->length > length);
  slots_[slot].holdings -= it->length - length;
  total_holdings_ -= it->length - length;
  set_length(node, *it, length);
  if (length == 0) {
    unlink(it->entry);
    free_entries_.push_back(it->entry);
    node.holders.erase(it);
    recharge(node);
  }
  prune(id);
}

// Evicts up to so many blocks, all of one run: its deepest, which were used before the
// others.
void PrefixIndex::evict_oldest(Slot slot, std::size_t at_most) {
  const NodeId node = entries_[slots_[slot].oldest].node;
  const std::uint32_t held = holder_of(nodes_[node], slot)->length;
  const auto gone = static_cast<std::uint32_t>(std::min<std::size_t>(held, at_most));
  evictions_ += gone;
  shorten(slot, node, held - gone);
}

// Of max_bytes, a quarter each is for nodes and for entries, which are not given back to
// the system, and the rest for runs with their holders; half of that goes to the map of
// all blocks once there is one. Vectors count at twice what they use, as after growth.
// coming: blocks that are about to be added, at worst.
bool PrefixIndex::over_budget(std::size_t coming) const {
  constexpr std::size_t kPerNode = 2 * sizeof(Node) + 2 * sizeof(NodeId) + kMapBytesPerKey;
  constexpr std::size_t kPerEntry = 2 * sizeof(Entry) + 2 * sizeof(EntryId);
  const std::size_t fixed = slots_.capacity() * sizeof(SlotState) + (4 << 10);
  const std::size_t quarter = (std::max(options_.max_bytes, fixed) - fixed) / 4;
  return nodes() * kPerNode > quarter ||
         (entries_.size() - free_entries_.size()) * kPerEntry > quarter ||
         heap_bytes_ + coming * sizeof coming > (located_ ? quarter : 2 * quarter) ||
         (located_ && (std::max(place_of_.size(), blocks_) + coming) * kMapBytesPerKey > quarter);
}

void PrefixIndex::enforce_budget(std::size_t coming) {
  constexpr std::size_t kBatch = 256;  // blocks
  while (total_holdings_ > 0 && over_budget(coming)) {
    Slot largest = 0;
    for (Slot s = 1; s < slots_.size(); ++s)
      if (slots_[s].holdings > slots_[largest].holdings) largest = s;
    // In batches: finding the largest slot costs a scan of all slots. A run goes in
    // pieces, so that a chain larger than the budget keeps its head.
    for (int i = 0; i < 8 && slots_[largest].oldest != kNil && over_budget(coming); ++i)
      evict_oldest(largest, kBatch);
  }
}

void PrefixIndex::enforce_limits(Slot slot) {
  const SlotState& state = slots_[slot];
  if (state.capacity != 0) {
    const std::size_t room = state.capacity - std::min(state.reserved, state.capacity - 1);
    while (state.holdings > room) evict_oldest(slot, state.holdings - room);
  }
  enforce_budget(0);
}

void PrefixIndex::erase(Slot slot, std::uint64_t hash) {
  if (slot >= slots_.size()) return;
  locate_blocks();
  const NodeId node = place_of_.find(hash);
  if (node == kNil) return;
  const Holder* holder = holder_of(nodes_[node], slot);
  if (holder == nullptr) return;
  const auto& run = nodes_[node].run;
  const auto at = static_cast<std::uint32_t>(std::find(run.begin(), run.end(), hash) - run.begin());
  if (at >= holder->length) return;
  // What lies behind the hole is still there: it counts again when the hole is filled.
  const bool last = at + 1 == holder->length;
  shorten(slot, last ? node : split(node, at + 1), at);
}

std::size_t PrefixIndex::bytes() const {
  return nodes_.capacity() * sizeof(Node) + free_nodes_.capacity() * sizeof(NodeId) +
         entries_.capacity() * sizeof(Entry) + free_entries_.capacity() * sizeof(EntryId) +
         slots_.capacity() * sizeof(SlotState) + children_.bytes() + place_of_.bytes() +
         path_.capacity() * sizeof(Step) + heap_bytes_;
}

}  // namespace lodestar
