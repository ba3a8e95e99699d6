// SPDX-License-Identifier: Apache-2.0
#include "routing/fleet.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace lodestar {
namespace {

InstanceInfo info(std::uint32_t id) {
  InstanceInfo i;
  i.id = InstanceId(id);
  return i;
}
std::vector<std::uint32_t> ids(const Fleet& fleet) {
  std::vector<std::uint32_t> out;
  for (Fleet::Slot s : fleet.present()) out.push_back(fleet.at(s).info.id.value);
  return out;
}

TEST(Fleet, IsOrderedByIdHoweverItWasAnnounced) {
  Fleet fleet;
  for (std::uint32_t id : {5, 1, 9, 3}) fleet.add(info(id));
  EXPECT_EQ(ids(fleet), (std::vector<std::uint32_t>{1, 3, 5, 9}));
  EXPECT_EQ(fleet.at(fleet.find(InstanceId(9))).info.id, InstanceId(9));
  EXPECT_EQ(fleet.find(InstanceId(4)), Fleet::kNoSlot);
}

TEST(Fleet, AReusedSlotIsBlank) {
  Fleet fleet;
  const Fleet::Slot slot = fleet.add(info(1));
  fleet.at(slot).own.inflight = 7;
  fleet.at(slot).load.emplace();
  fleet.at(slot).residents.push_back(LeaseId(3));
  fleet.at(slot).health = Health::kDraining;
  fleet.remove(slot);
  EXPECT_TRUE(fleet.present().empty());
  EXPECT_EQ(fleet.find(InstanceId(1)), Fleet::kNoSlot);
  EXPECT_EQ(fleet.add(info(2)), slot);
  const InstanceState& state = fleet.at(slot);
  EXPECT_EQ(state.own.inflight, 0);
  EXPECT_FALSE(state.load.has_value());
  EXPECT_TRUE(state.residents.empty());
  EXPECT_EQ(state.health, Health::kUp);
}

TEST(Fleet, SlotsStayDenseUnderChurn) {
  Fleet fleet;
  Rng rng(4);
  for (int i = 0; i < 5000; ++i) {
    const auto id = static_cast<std::uint32_t>(rng.below(20));
    const Fleet::Slot slot = fleet.find(InstanceId(id));
    if (slot == Fleet::kNoSlot)
      fleet.add(info(id));
    else
      fleet.remove(slot);
    const auto now = ids(fleet);
    ASSERT_TRUE(std::is_sorted(now.begin(), now.end()));
  }
  EXPECT_LE(fleet.slot_count(), 20u);
}

}  // namespace
}  // namespace lodestar
