// SPDX-License-Identifier: Apache-2.0
// What the router believes is in every instance's prefix cache: a radix tree of
// block hashes. A node is a run of consecutive blocks, so that a conversation costs
// a few nodes, not one entry per block; an instance holds a leading part of a run
// (docs/adr/0010-radix-tree-of-runs.md). One walk over a request's hashes yields the
// depth of the match on all instances at once.
//
// Hashes are chained (prefix/canonical.h): a block is known by the path that leads to
// it, and an equal hash elsewhere would be another block.
//
// Recency is per (block, instance): placing a request touches its chain on that
// instance only, deepest block first, so that a chain is forgotten from its tail
// as vLLM does (kv_cache_manager: blocks are freed in reverse order). Each slot
// has a capacity in blocks; all slots together stay under `max_bytes`.
//
// Owned by the brain; not thread-safe. No errors: a full index forgets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/flat_map.h"
#include "base/time.h"

namespace lodestar {

class PrefixIndex {
 public:
  using Slot = std::uint32_t;  // dense index of an instance; reused after clear_slot

  struct Options {
    std::size_t max_bytes = std::size_t{256} << 20;
  };

  // Result of a walk, indexed by slot; reuse one object to avoid allocation.
  struct Match {
    std::vector<std::uint32_t> depth;   // leading blocks held, 0 if none
    std::vector<TimeNs> last_use;       // of the deepest matched block; kNever if depth is 0
  };

  explicit PrefixIndex(Options options);
  PrefixIndex() : PrefixIndex(Options{}) {}

  // Makes `slot` known and empty. capacity_blocks 0: bounded by max_bytes only.
  void open_slot(Slot slot, std::size_t capacity_blocks);
  void set_capacity(Slot slot, std::size_t capacity_blocks);
  // So many blocks of the capacity are taken by what is not in the index (answers that
  // grow); takes effect with the next insert. clear_slot and open_slot reset it to 0.
  void reserve(Slot slot, std::size_t blocks) { slots_[slot].reserved = blocks; }
  // Forgets everything that the slot held.
  void clear_slot(Slot slot);

  // O(slots + matched blocks compared as memory + holders of each node on the path).
  // Does not change recency.
  void match(std::span<const std::uint64_t> chain, Match& out) const;

  // The slot now holds the chain, as its most recent content.
  void insert(Slot slot, std::span<const std::uint64_t> chain, TimeNs now);
  // The slot evicted this block (a KV event said so). Unknown blocks are ignored. The
  // first call builds a map of all blocks, which is kept up from then on.
  void erase(Slot slot, std::uint64_t hash);

  std::size_t holdings(Slot slot) const { return slots_[slot].holdings; }  // blocks
  std::size_t holdings() const { return total_holdings_; }
  std::size_t blocks() const { return blocks_; }  // distinct, held by anybody
  std::size_t nodes() const { return nodes_.size() - free_nodes_.size() - 1; }
  std::size_t bytes() const;
  std::uint64_t evictions() const { return evictions_; }  // blocks, by capacity or bytes

 private:
  using NodeId = std::uint32_t;
  using EntryId = std::uint32_t;
  static constexpr std::uint32_t kNil = 0xffffffffu;
  static constexpr NodeId kRoot = 0;

  // One slot's share of a run: its first `length` blocks, last used together.
  struct Holder {
    Slot slot;
    std::uint32_t length;  // > 0
    std::uint32_t stamp;   // last use in ticks
    EntryId entry;         // its place in the slot's order of use
  };
  struct Node {
    std::vector<std::uint64_t> run;  // as long as `longest` if there are no children
    std::vector<Holder> holders;     // by slot
    NodeId parent = kNil;
    std::uint32_t children = 0;
    std::uint32_t longest = 0;     // of the holders' lengths, 0 if there are none
    std::uint32_t at_longest = 0;  // holders of that length
    std::size_t charged = 0;       // its part of heap_bytes_
  };
  struct Entry {
    NodeId node;
    Slot slot;
    EntryId older, newer;
  };
  struct SlotState {
    std::size_t holdings = 0, capacity = 0, reserved = 0;
    EntryId oldest = kNil, newest = kNil;
  };
  struct Step {
    NodeId node;
    std::uint32_t length;
  };

  // prefix_index.cc
  void trace(Slot slot, std::span<const std::uint64_t> chain);
  void touch(Slot slot, Step step, std::uint32_t stamp);
  void shorten(Slot slot, NodeId node, std::uint32_t length);
  void evict_oldest(Slot slot, std::size_t at_most);
  void enforce_limits(Slot slot);
  bool over_budget(std::size_t coming) const;
  void enforce_budget(std::size_t coming);

  // prefix_index_tree.cc: what knows how nodes hang together
  static std::uint64_t child_key(NodeId parent, std::uint64_t first);
  NodeId child(NodeId parent, std::uint64_t first) const;
  NodeId new_node();
  NodeId append(NodeId parent, std::span<const std::uint64_t> run);
  NodeId split(NodeId node, std::uint32_t at);
  void split_holders(NodeId lower, NodeId upper, std::uint32_t at);
  void prune(NodeId node);
  void release(NodeId node);
  void set_length(Node& node, Holder& holder, std::uint32_t length);
  void measure(Node& node);
  void recharge(Node& node);
  static std::size_t place_in(const Node& node, Slot slot);  // of its holder, or for it
  static const Holder* holder_of(const Node& node, Slot slot);
  EntryId new_entry(NodeId node, Slot slot);
  void unlink(EntryId entry);
  void link_after(EntryId entry, EntryId older);  // kNil: as the newest
  void locate_blocks();
  void locate(NodeId node, std::size_t from);
  void forget_places(NodeId node, std::size_t from);

  Options options_;
  std::vector<Node> nodes_;
  std::vector<NodeId> free_nodes_;
  FlatMap64 children_;  // (parent, first hash) -> node
  std::vector<Entry> entries_;
  std::vector<EntryId> free_entries_;
  std::vector<SlotState> slots_;
  // Every block's node; empty until the first erase().
  bool located_ = false;
  FlatMap64 place_of_;
  std::size_t heap_bytes_ = 0;  // of the nodes' runs and holders
  std::size_t blocks_ = 0;
  std::size_t total_holdings_ = 0;
  std::uint64_t evictions_ = 0;
  std::vector<Step> path_;  // scratch of insert
};

}  // namespace lodestar
