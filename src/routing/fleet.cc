// SPDX-License-Identifier: Apache-2.0
#include "routing/fleet.h"

#include <algorithm>
#include <utility>

namespace lodestar {

Fleet::Slot Fleet::find(InstanceId id) const {
  const auto it =
      std::lower_bound(present_.begin(), present_.end(), id,
                       [&](Slot slot, InstanceId key) { return slots_[slot].info.id < key; });
  return it != present_.end() && slots_[*it].info.id == id ? *it : kNoSlot;
}

Fleet::Slot Fleet::add(InstanceInfo info) {
  LODESTAR_CHECK(find(info.id) == kNoSlot);
  Slot slot = 0;
  while (slot < slots_.size() && slots_[slot].present) ++slot;
  if (slot == slots_.size()) slots_.emplace_back();
  const InstanceId id = info.id;
  slots_[slot] = InstanceState{};
  slots_[slot].info = std::move(info);
  slots_[slot].present = true;
  const auto it = std::lower_bound(present_.begin(), present_.end(), id,
                                   [&](Slot s, InstanceId key) { return slots_[s].info.id < key; });
  present_.insert(it, slot);
  return slot;
}

void Fleet::remove(Slot slot) {
  std::erase(present_, slot);
  slots_[slot] = InstanceState{};
}

}  // namespace lodestar
