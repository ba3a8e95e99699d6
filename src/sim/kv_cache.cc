// SPDX-License-Identifier: Apache-2.0
#include "sim/kv_cache.h"

#include <algorithm>

#include "base/check.h"

namespace lodestar::sim {

KvCache::KvCache(std::uint32_t num_blocks) : nodes_(num_blocks) {
  LODESTAR_CHECK(num_blocks >= 2);
  std::size_t buckets = 2;
  while (buckets < num_blocks) {
    buckets *= 2;
    --shift_;
  }
  buckets_.resize(buckets);
  reset();
}

void KvCache::reset() {
  std::fill(buckets_.begin(), buckets_.end(), kNullBlock);
  hashed_ = 0;
  withheld_.clear();
  to_withhold_ = 0;
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
  std::uint32_t& first = buckets_[bucket_of(node.hash)];
  const std::uint32_t next = node.chain_next;
  if (first == block) {
    first = next;
  } else {
    nodes_[node.chain_prev].chain_next = next;
  }
  // Who pointed back at it: its successor, or the first when it was the last.
  if (next != 0) {
    nodes_[next].chain_prev = node.chain_prev;
  } else if (first != kNullBlock) {
    nodes_[first].chain_prev = node.chain_prev;
  }
  node.chain_next = 0;
  node.chain_prev = kUnhashed;
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
  if (nodes_[block].chain_prev != kUnhashed) {
    forget(block);
    ++evictions_;
  }
  nodes_[block].refs = 1;
  return block;
}

void KvCache::set_hash(std::uint32_t block, std::uint64_t hash) {
  Node& node = nodes_[block];
  LODESTAR_CHECK(block != kNullBlock && node.refs > 0 && node.chain_prev == kUnhashed);
  node.hash = hash;
  ++hashed_;
  std::uint32_t& first = buckets_[bucket_of(hash)];
  if (first == kNullBlock) {
    first = node.chain_prev = block;
    return;
  }
  node.chain_prev = nodes_[first].chain_prev;
  nodes_[node.chain_prev].chain_next = block;
  nodes_[first].chain_prev = block;
}

void KvCache::release(std::span<const std::uint32_t> chain) {
  for (std::size_t i = chain.size(); i-- > 0;) {
    LODESTAR_CHECK(nodes_[chain[i]].refs > 0);
    if (--nodes_[chain[i]].refs == 0) push_back(chain[i]);
  }
  if (withheld() < to_withhold_) collect_withheld();
}

void KvCache::forget_identities() {
  std::fill(buckets_.begin(), buckets_.end(), kNullBlock);
  for (Node& node : nodes_) {
    node.chain_next = 0;
    node.chain_prev = kUnhashed;
  }
  hashed_ = 0;
}

void KvCache::withhold(std::int64_t blocks) {
  to_withhold_ = std::clamp<std::int64_t>(blocks, 0, usable_blocks());
  while (withheld() > to_withhold_) {
    const std::uint32_t block = withheld_.back();
    withheld_.pop_back();
    nodes_[block].refs = 0;
    push_back(block);
  }
  collect_withheld();
}

void KvCache::collect_withheld() {
  while (withheld() < to_withhold_ && free_count_ > 0) withheld_.push_back(allocate());
}

void KvCache::lend_withheld() {
  const std::int64_t wanted = to_withhold_;
  withhold(0);
  to_withhold_ = wanted;
}

void KvCache::check_invariants() const {
  std::int64_t listed = 0, unused = 0, hashed = 0;
  for (std::uint32_t b = nodes_[0].next, before = 0; b != 0; before = b, b = nodes_[b].next) {
    LODESTAR_CHECK(nodes_[b].prev == before && nodes_[b].refs == 0);
    LODESTAR_CHECK(++listed <= usable_blocks());
  }
  for (std::uint32_t b = 1; b < nodes_.size(); ++b) unused += nodes_[b].refs == 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    std::uint32_t last = kNullBlock;
    for (std::uint32_t b = buckets_[i]; b != kNullBlock; last = b, b = nodes_[b].chain_next) {
      LODESTAR_CHECK(bucket_of(nodes_[b].hash) == i && ++hashed <= usable_blocks());
      LODESTAR_CHECK(last == kNullBlock || nodes_[b].chain_prev == last);
    }
    LODESTAR_CHECK(last == kNullBlock || nodes_[buckets_[i]].chain_prev == last);
  }
  LODESTAR_CHECK(listed == free_count_ && unused == free_count_ && hashed == hashed_);
}

}  // namespace lodestar::sim
