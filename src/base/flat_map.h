// SPDX-License-Identifier: Apache-2.0
// FlatMap64: 64-bit key -> 32-bit value, open addressing with linear probing and
// backward-shift deletion. Keys should already be hashes (they are mixed once
// more). There is no iteration: nothing in the core may depend on hash order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/hash.h"

namespace lodestar {

class FlatMap64 {
 public:
  static constexpr std::uint32_t kAbsent = 0xffffffffu;

  FlatMap64() { clear(); }

  // The value, or kAbsent.
  std::uint32_t find(std::uint64_t key) const {
    for (std::size_t i = home(key);; i = (i + 1) & mask_) {
      if (cells_[i].value == kAbsent) return kAbsent;
      if (cells_[i].key == key) return cells_[i].value;
    }
  }
  // Starts loading the cell of `key`: hides the cache miss of a later find or put.
  void prefetch(std::uint64_t key) const { __builtin_prefetch(&cells_[home(key)]); }
  // Inserts or overwrites. value != kAbsent.
  void put(std::uint64_t key, std::uint32_t value) {
    LODESTAR_CHECK(value != kAbsent);
    if ((size_ + 1) * 10 > cells_.size() * 7) grow();
    std::size_t i = home(key);
    while (cells_[i].value != kAbsent && cells_[i].key != key) i = (i + 1) & mask_;
    if (cells_[i].value == kAbsent) ++size_;
    cells_[i] = {key, value};
  }
  bool erase(std::uint64_t key) {
    std::size_t i = home(key);
    while (cells_[i].value != kAbsent && cells_[i].key != key) i = (i + 1) & mask_;
    if (cells_[i].value == kAbsent) return false;
    --size_;
    for (std::size_t j = (i + 1) & mask_;; j = (j + 1) & mask_) {
      if (cells_[j].value == kAbsent) break;
      // Move j into the hole i unless its home lies cyclically in (i, j].
      if (((j - home(cells_[j].key)) & mask_) >= ((j - i) & mask_)) {
        cells_[i] = cells_[j];
        i = j;
      }
    }
    cells_[i].value = kAbsent;
    return true;
  }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return cells_.capacity() * sizeof(Cell); }
  void clear() {
    cells_.assign(16, Cell{});
    mask_ = 15;
    size_ = 0;
  }

 private:
  struct Cell {
    std::uint64_t key = 0;
    std::uint32_t value = kAbsent;
  };
  std::size_t home(std::uint64_t key) const { return mix64(key) & mask_; }
  void grow() {
    std::vector<Cell> old = std::move(cells_);
    cells_.assign(old.size() * 2, Cell{});
    mask_ = cells_.size() - 1;
    size_ = 0;
    for (const Cell& cell : old)
      if (cell.value != kAbsent) put(cell.key, cell.value);
  }

  std::vector<Cell> cells_;
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

}  // namespace lodestar
