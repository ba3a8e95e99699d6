// SPDX-License-Identifier: Apache-2.0
// The instances that the router knows, in slots. Policies see it read-only.
// A slot is a dense index, reused after an instance has left; an InstanceId is
// stable. Lists are ordered by InstanceId, so the order in which instances were
// announced decides nothing.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "routing/instance.h"

namespace lodestar {

class Fleet {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kNoSlot = 0xffffffffu;

  const InstanceState& at(Slot slot) const { return slots_[slot]; }
  InstanceState& at(Slot slot) { return slots_[slot]; }
  std::size_t slot_count() const { return slots_.size(); }
  // Slots in use, by ascending InstanceId.
  std::span<const Slot> present() const { return present_; }

  Slot find(InstanceId id) const;  // kNoSlot if unknown
  Slot add(InstanceInfo info);     // the id must be unknown
  void remove(Slot slot);

 private:
  std::vector<InstanceState> slots_;
  std::vector<Slot> present_;
};

}  // namespace lodestar
