// SPDX-License-Identifier: Apache-2.0
// How the nodes of the prefix index hang together: children, splits, pruning, the
// per-slot order of use, and the map of all blocks.
#include <algorithm>

#include "base/check.h"
#include "prefix/prefix_index.h"

namespace lodestar {
namespace {
// What the allocator adds to a block of memory.
constexpr std::size_t kAllocationBytes = 16;
}  // namespace

// ---- tree -------------------------------------------------------------------

std::uint64_t PrefixIndex::child_key(NodeId parent, std::uint64_t first) {
  return first + (parent + std::uint64_t{1}) * 0x9e3779b97f4a7c15ULL;
}

PrefixIndex::NodeId PrefixIndex::child(NodeId parent, std::uint64_t first) const {
  const NodeId id = children_.find(child_key(parent, first));
  if (id == kNil) return kNil;
  const Node& node = nodes_[id];
  return node.parent == parent && node.run[0] == first ? id : kNil;
}

PrefixIndex::NodeId PrefixIndex::new_node() {
  if (free_nodes_.empty()) {
    nodes_.emplace_back();
    return static_cast<NodeId>(nodes_.size() - 1);
  }
  const NodeId id = free_nodes_.back();
  free_nodes_.pop_back();
  return id;
}

// Hangs the run under `parent` and returns its node: `parent` itself if that is a leaf,
// for then the run becomes longer. kNil if another node has the run's key (two hashes
// that collide, which costs that chain its place).
PrefixIndex::NodeId PrefixIndex::append(NodeId parent, std::span<const std::uint64_t> run) {
  if (parent != kRoot && nodes_[parent].children == 0) {
    Node& leaf = nodes_[parent];
    const std::size_t before = leaf.run.size(), after = before + run.size();
    // A conversation grows a little each turn: some room, but not twice the size.
    if (after > leaf.run.capacity()) leaf.run.reserve(after + after / 8);
    leaf.run.insert(leaf.run.end(), run.begin(), run.end());
    recharge(leaf);
    if (located_) locate(parent, before);
    return parent;
  }
  const std::uint64_t key = child_key(parent, run[0]);
  if (children_.find(key) != FlatMap64::kAbsent) return kNil;
  const NodeId id = new_node();
  Node& node = nodes_[id];
  node.run.assign(run.begin(), run.end());
  node.parent = parent;
  ++nodes_[parent].children;
  children_.put(key, id);
  recharge(node);
  if (located_) locate(id, 0);
  return id;
}

// Cuts the run in two; returns the new node, which is the upper one. The lower one stays
// what its children know.
PrefixIndex::NodeId PrefixIndex::split(NodeId id, std::uint32_t at) {
  const NodeId upper_id = new_node();
  Node& upper = nodes_[upper_id];
  Node& lower = nodes_[id];
  const auto cut = lower.run.begin() + at;
  upper.run.assign(lower.run.begin(), cut);
  lower.run.erase(lower.run.begin(), cut);
  upper.parent = lower.parent;
  upper.children = 1;
  lower.parent = upper_id;
  children_.put(child_key(upper.parent, upper.run[0]), upper_id);
  children_.put(child_key(upper_id, lower.run[0]), id);
  split_holders(id, upper_id, at);
  recharge(upper);
  recharge(lower);
  if (located_) locate(upper_id, 0);
  return upper_id;
}

void PrefixIndex::split_holders(NodeId lower_id, NodeId upper_id, std::uint32_t at) {
  Node& upper = nodes_[upper_id];
  Node& lower = nodes_[lower_id];
  upper.holders = lower.holders;
  for (Holder& holder : upper.holders) {
    if (holder.length <= at) {
      entries_[holder.entry].node = upper_id;
      continue;
    }
    // The upper part of a run was touched just after the lower part.
    const EntryId below = holder.entry;
    holder.length = at;
    holder.entry = new_entry(upper_id, holder.slot);
    link_after(holder.entry, below);
  }
  std::erase_if(lower.holders, [&](const Holder& h) { return h.length <= at; });
  for (Holder& holder : lower.holders) holder.length -= at;
  measure(upper);
  measure(lower);
}

// After holders have let go: drops what nobody holds and nobody needs as a path.
void PrefixIndex::prune(NodeId id) {
  while (id != kRoot) {
    Node& node = nodes_[id];
    if (node.children > 0) return;
    if (node.longest > 0) {
      if (node.longest == node.run.size()) return;
      if (located_) forget_places(id, node.longest);
      node.run.resize(node.longest);
      recharge(node);
      return;
    }
    const NodeId parent = node.parent;
    release(id);
    id = parent;
  }
}

void PrefixIndex::release(NodeId id) {
  Node& node = nodes_[id];
  if (located_) forget_places(id, 0);
  const std::uint64_t key = child_key(node.parent, node.run[0]);
  if (children_.find(key) == id) children_.erase(key);
  --nodes_[node.parent].children;
  heap_bytes_ -= node.charged;
  node = Node{};
  free_nodes_.push_back(id);
}

// ---- holders ----------------------------------------------------------------

std::size_t PrefixIndex::place_in(const Node& node, Slot slot) {
  const auto it = std::lower_bound(node.holders.begin(), node.holders.end(), slot,
                                   [](const Holder& h, Slot s) { return h.slot < s; });
  return static_cast<std::size_t>(it - node.holders.begin());
}

const PrefixIndex::Holder* PrefixIndex::holder_of(const Node& node, Slot slot) {
  const std::size_t i = place_in(node, slot);
  return i < node.holders.size() && node.holders[i].slot == slot ? &node.holders[i] : nullptr;
}

void PrefixIndex::set_length(Node& node, Holder& holder, std::uint32_t length) {
  const std::uint32_t before = holder.length, longest = node.longest;
  if (before == length) return;
  holder.length = length;
  if (length > longest) {
    node.longest = length;
    node.at_longest = 1;
  } else if (length == longest) {
    ++node.at_longest;
  } else if (before == longest && --node.at_longest == 0) {
    measure(node);
  }
  blocks_ += node.longest;
  blocks_ -= longest;
}

void PrefixIndex::measure(Node& node) {
  node.longest = node.at_longest = 0;
  for (const Holder& holder : node.holders) {
    if (holder.length > node.longest) {
      node.longest = holder.length;
      node.at_longest = 0;
    }
    if (holder.length == node.longest) ++node.at_longest;
  }
}

// After a run or its holders have changed in size: gives back memory, and counts it.
void PrefixIndex::recharge(Node& node) {
  if (node.run.capacity() > 2 * node.run.size() + 8) node.run.shrink_to_fit();
  if (node.holders.capacity() > 2 * node.holders.size() + 8) node.holders.shrink_to_fit();
  heap_bytes_ -= node.charged;
  node.charged = node.run.capacity() * sizeof node.run[0] +
                 node.holders.capacity() * sizeof(Holder) + 2 * kAllocationBytes;
  heap_bytes_ += node.charged;
}

// ---- order of use -----------------------------------------------------------

PrefixIndex::EntryId PrefixIndex::new_entry(NodeId node, Slot slot) {
  EntryId id;
  if (free_entries_.empty()) {
    id = static_cast<EntryId>(entries_.size());
    entries_.push_back({});
  } else {
    id = free_entries_.back();
    free_entries_.pop_back();
  }
  entries_[id] = {node, slot, kNil, kNil};
  return id;
}

void PrefixIndex::unlink(EntryId id) {
  const Entry& e = entries_[id];
  SlotState& state = slots_[e.slot];
  (e.older == kNil ? state.oldest : entries_[e.older].newer) = e.newer;
  (e.newer == kNil ? state.newest : entries_[e.newer].older) = e.older;
}

// Just newer than `older`, which may be the slot's newest (kNil: the slot has none).
void PrefixIndex::link_after(EntryId id, EntryId older) {
  Entry& e = entries_[id];
  SlotState& state = slots_[e.slot];
  e.older = older;
  e.newer = older == kNil ? kNil : entries_[older].newer;
  (older == kNil ? state.oldest : entries_[older].newer) = id;
  (e.newer == kNil ? state.newest : entries_[e.newer].older) = id;
}

// ---- map of all blocks ------------------------------------------------------

void PrefixIndex::locate_blocks() {
  if (located_) return;
  located_ = true;
  enforce_budget(0);  // the map must fit as well
  for (NodeId id = 1; id < nodes_.size(); ++id) locate(id, 0);
}

void PrefixIndex::locate(NodeId id, std::size_t from) {
  const auto& run = nodes_[id].run;
  for (std::size_t i = from; i < run.size(); ++i) place_of_.put(run[i], id);
}

void PrefixIndex::forget_places(NodeId id, std::size_t from) {
  const auto& run = nodes_[id].run;
  for (std::size_t i = from; i < run.size(); ++i)
    if (place_of_.find(run[i]) == id) place_of_.erase(run[i]);
}

}  // namespace lodestar
