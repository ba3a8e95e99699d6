// SPDX-License-Identifier: Apache-2.0
#include "sim/kv_cache.h"

#include "base/check.h"

namespace lodestar::sim {

KvCache::KvCache(std::uint32_t num_blocks) : nodes_(num_blocks) {
  LODESTAR_CHECK(num_blocks >= 2);
  reset();
}

void KvCache::reset() {
  by_hash_.clear();
  hashed_ = 0;
  const auto n = static_cast<std::uint32_t>(nodes_.size());
  for (std::uint32_t i = 0; i < n; ++i)
    nodes_[i] = Node{.prev = i == 0 ? n - 1 : i - 1, .next = i + 1 == n ? 0 : i + 1};
  free_count_ = usable_blocks();
}

void KvCache::unlink(std::uint32_t block) {
  Node& node = nodes_[block];
  nodes_[node.prev].next = node.next;
  nodes_[node.next].prev = node.prev;
  --free_count_;
}

void KvCache::push_back(std::uint32_t block) {
  Node& node = nodes_[block];
  node.next = 0;
  node.prev = nodes_[0].prev;
  nodes_[node.prev].next = block;
  nodes_[0].prev = block;
  ++free_count_;
}

// Takes the block's identity away; the next copy, if any, is found from now on.
void KvCache::forget(std::uint32_t block) {
  Node& node = nodes_[block];
  if (node.next_copy == kUnhashed) return;
  const std::uint32_t oldest = by_hash_.find(node.hash);
  LODESTAR_CHECK(oldest != FlatMap64::kAbsent);
  if (oldest != block) {
    std::uint32_t before = oldest;
    while (nodes_[before].next_copy != block) before = nodes_[before].next_copy;
    nodes_[before].next_copy = node.next_copy;
  } else if (node.next_copy != 0) {
    by_hash_.put(node.hash, node.next_copy);
  } else {
    by_hash_.erase(node.hash);
  }
  node.next_copy = kUnhashed;
  --hashed_;
}

void KvCache::touch(std::uint32_t block) {
  LODESTAR_CHECK(block != kNullBlock);
  if (nodes_[block].refs++ == 0) unlink(block);
}

std::uint32_t KvCache::allocate() {
  const std::uint32_t block = nodes_[0].next;
  LODESTAR_CHECK(block != 0);
  unlink(block);
  if (nodes_[block].next_copy != kUnhashed) {
    forget(block);
    ++evictions_;
  }
  nodes_[block].refs = 1;
  return block;
}

void KvCache::set_hash(std::uint32_t block, std::uint64_t hash) {
  Node& node = nodes_[block];
  LODESTAR_CHECK(block != kNullBlock && node.refs > 0 && node.next_copy == kUnhashed);
  node.hash = hash;
  node.next_copy = 0;
  ++hashed_;
  const std::uint32_t oldest = by_hash_.find(hash);
  if (oldest == FlatMap64::kAbsent) {
    by_hash_.put(hash, block);
    return;
  }
  std::uint32_t youngest = oldest;
  while (nodes_[youngest].next_copy != 0) youngest = nodes_[youngest].next_copy;
  nodes_[youngest].next_copy = block;
}

void KvCache::release(std::span<const std::uint32_t> chain) {
  for (std::size_t i = chain.size(); i-- > 0;) {
    LODESTAR_CHECK(nodes_[chain[i]].refs > 0);
    if (--nodes_[chain[i]].refs == 0) push_back(chain[i]);
  }
}

void KvCache::check_invariants() const {
  std::int64_t listed = 0, unused = 0, hashed = 0;
  for (std::uint32_t b = nodes_[0].next, before = 0; b != 0; before = b, b = nodes_[b].next) {
    LODESTAR_CHECK(nodes_[b].prev == before && nodes_[b].refs == 0);
    LODESTAR_CHECK(++listed <= usable_blocks());
  }
  for (std::uint32_t b = 1; b < nodes_.size(); ++b) {
    unused += nodes_[b].refs == 0;
    if (nodes_[b].next_copy == kUnhashed) continue;
    ++hashed;
    std::uint32_t copy = find(nodes_[b].hash);
    while (copy != b) {
      LODESTAR_CHECK(copy != kNullBlock && nodes_[copy].hash == nodes_[b].hash);
      copy = nodes_[copy].next_copy;
    }
  }
  LODESTAR_CHECK(listed == free_count_ && unused == free_count_ && hashed == hashed_);
  LODESTAR_CHECK(static_cast<std::int64_t>(by_hash_.size()) <= hashed_);
}

}  // namespace lodestar::sim
