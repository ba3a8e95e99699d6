// SPDX-License-Identifier: Apache-2.0
// Paged KV cache with automatic prefix caching as vLLM V1 keeps it: reference
// counts, a doubly linked LRU free list in which hashed blocks stay findable
// until they are popped, and no merging of duplicates. Arrays and indices only;
// nothing is allocated after construction.
//
// Identities live in a chained table over the same nodes: evicting a block and
// naming it anew is most of what an engine with long prompts does, and this way
// both touch one bucket and one node. A bucket's chain is in order of insertion,
// so a look-up meets the oldest copy first.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace lodestar::sim {

class KvCache {
 public:
  static constexpr std::uint32_t kNullBlock = 0;  // never handed out

  // num_blocks >= 2; block 0 is the null block, so num_blocks - 1 are usable.
  explicit KvCache(std::uint32_t num_blocks);

  std::int64_t usable_blocks() const { return static_cast<std::int64_t>(nodes_.size()) - 1; }
  std::int64_t free_blocks() const { return free_count_; }
  double usage() const {
    const std::int64_t there = usable_blocks() - withheld();
    return there <= 0 ? 1.0 : 1.0 - static_cast<double>(free_count_) / static_cast<double>(there);
  }
  // The oldest block with this identity, or kNullBlock. Does not touch it.
  std::uint32_t find(std::uint64_t hash) const {
    std::uint32_t block = buckets_[bucket_of(hash)];
    while (block != kNullBlock && nodes_[block].hash != hash) block = nodes_[block].chain_next;
    return block;
  }
  std::uint32_t refs(std::uint32_t block) const { return nodes_[block].refs; }

  // One more user of a block that find() returned; takes it off the free list.
  void touch(std::uint32_t block);
  // Pops the least recently freed block, forgetting its identity; one user.
  // free_blocks() >= 1.
  std::uint32_t allocate();
  // Gives a used, unhashed block its identity.
  void set_hash(std::uint32_t block, std::uint64_t hash);
  // One user less of each, in REVERSE order: the tail of a chain is evicted first.
  void release(std::span<const std::uint32_t> chain);
  // Everything free, nothing cached, nothing withheld.
  void reset();

  // Faults. Nothing is findable any more; who uses a block keeps it.
  void forget_identities();
  // Takes `blocks` out of use, the least recently freed first: at once those that are
  // free, the rest as they are released. 0 gives all back.
  void withhold(std::int64_t blocks);
  // Lends out what is withheld; the next releases take it back.
  void lend_withheld();
  std::int64_t withheld() const { return static_cast<std::int64_t>(withheld_.size()); }

  std::int64_t evictions() const { return evictions_; }
  std::int64_t hashed_blocks() const { return hashed_; }
  // Walks everything; aborts on a broken invariant. For tests.
  void check_invariants() const;

 private:
  static constexpr std::uint32_t kUnhashed = 0xffffffffu;
  struct Node {
    std::uint64_t hash = 0;
    std::uint32_t prev = 0, next = 0;  // free list neighbours; 0 is its head and tail
    std::uint32_t refs = 0;
    std::uint32_t chain_next = 0;          // 0: last of its bucket
    std::uint32_t chain_prev = kUnhashed;  // of a bucket's first: its last
  };
  std::size_t bucket_of(std::uint64_t hash) const {
    return static_cast<std::size_t>((hash * 0x9e3779b97f4a7c15ULL) >> shift_);
  }
  void unlink(std::uint32_t block);
  void push_back(std::uint32_t block);
  void forget(std::uint32_t block);
  void collect_withheld();

  std::vector<Node> nodes_;  // node 0 is the free list's sentinel
  std::vector<std::uint32_t> buckets_;  // first block of each chain, 0: empty
  int shift_ = 63;
  std::int64_t free_count_ = 0, evictions_ = 0, hashed_ = 0;
  std::vector<std::uint32_t> withheld_;  // each with one reference, ours
  std::int64_t to_withhold_ = 0;
};

}  // namespace lodestar::sim
