// SPDX-License-Identifier: Apache-2.0
// What the router believes is in every instance's prefix cache: one structure,
// block -> holders. One walk over a request's chained block hashes yields the
// depth of the match on all instances at once, because the holders of a block
// are a bit set and a walk only ever clears bits.
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
    std::vector<std::uint64_t> alive;   // scratch
  };

  explicit PrefixIndex(Options options);
  PrefixIndex() : PrefixIndex(Options{}) {}

  // Makes `slot` known and empty. capacity_blocks 0: bounded by max_bytes only.
  void open_slot(Slot slot, std::size_t capacity_blocks);
  void set_capacity(Slot slot, std::size_t capacity_blocks);
  // Forgets everything that the slot held.
  void clear_slot(Slot slot);

  // O(depth x slots/64). Does not change recency.
  void match(std::span<const std::uint64_t> chain, Match& out) const;

  // The slot now holds the chain, as its most recent content.
  void insert(Slot slot, std::span<const std::uint64_t> chain, TimeNs now);
  // The slot evicted this block (a KV event said so). Unknown blocks are ignored.
  void erase(Slot slot, std::uint64_t hash);

  std::size_t holdings(Slot slot) const { return slots_[slot].holdings; }
  std::size_t holdings() const { return total_holdings_; }
  std::size_t blocks() const { return block_of_.size(); }
  std::size_t bytes() const;
  std::uint64_t evictions() const { return evictions_; }  // by capacity or bytes

 private:
  static constexpr std::uint32_t kNil = 0xffffffffu;
  // Most blocks have one holder ever: that one's node stands in the block itself,
  // only further holders are looked up in their slot's map.
  struct Block {
    std::uint64_t hash;
    std::uint32_t holders;              // number of bits set
    std::uint32_t inline_slot, inline_node;  // kNil: nobody
  };
  struct Node {
    std::uint32_t block, prev, next;  // prev: older, next: newer
    std::uint32_t stamp;              // last use in kTick units
  };
  struct SlotState {
    FlatMap64 map;  // block number -> node number, but for nodes that stand in the block
    std::size_t holdings = 0;
    std::vector<Node> nodes;
    std::vector<std::uint32_t> free_nodes;
    std::uint32_t oldest = kNil, newest = kNil;
    std::size_t capacity = 0;
  };

  std::uint32_t node_of(Slot slot, std::uint32_t block) const {
    const Block& b = blocks_[block];
    return b.inline_slot == slot ? b.inline_node : slots_[slot].map.find(block);
  }
  std::uint32_t intern_block(std::uint64_t hash);
  void touch(Slot slot, std::uint32_t block, std::uint32_t stamp);
  void unlink(SlotState& state, std::uint32_t node);
  void link_newest(SlotState& state, std::uint32_t node);
  void evict_oldest(Slot slot);
  void drop(Slot slot, std::uint32_t node);
  void enforce_limits(Slot slot);
  void grow_words(std::size_t words);
  std::uint64_t* bits(std::uint32_t block) { return &bits_[block * words_]; }
  const std::uint64_t* bits(std::uint32_t block) const { return &bits_[block * words_]; }

  Options options_;
  FlatMap64 block_of_;  // hash -> block number
  std::vector<Block> blocks_;
  std::vector<std::uint32_t> free_blocks_;
  std::vector<std::uint64_t> bits_;  // words_ per block
  std::size_t words_ = 1;
  std::vector<SlotState> slots_;
  std::size_t total_holdings_ = 0;
  std::uint64_t evictions_ = 0;
  std::vector<std::uint32_t> interned_;  // scratch of insert
};

}  // namespace lodestar
