// SPDX-License-Identifier: Apache-2.0
// Which incarnation served a session last. Bounded in entries: the session that
// was quiet for longest is forgotten first. Owned by a policy; no errors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/flat_map.h"
#include "base/ids.h"
#include "base/time.h"

namespace lodestar {

class SessionTable {
 public:
  struct Home {
    InstanceId instance;
    Incarnation incarnation = 0;
    bool known = false;
  };

  explicit SessionTable(std::size_t max_sessions) : max_(max_sessions == 0 ? 1 : max_sessions) {}

  // known = false if never seen, forgotten, or quiet for longer than `ttl`.
  Home find(std::uint64_t session, TimeNs now, DurationNs ttl) const;
  // Also makes the session the most recent one.
  void put(std::uint64_t session, InstanceId instance, Incarnation incarnation, TimeNs now);
  std::size_t size() const { return at_.size(); }

 private:
  static constexpr std::uint32_t kNil = 0xffffffffu;
  struct Entry {
    std::uint64_t session = 0;
    TimeNs used = 0;
    InstanceId instance;
    Incarnation incarnation = 0;
    std::uint32_t older = kNil, newer = kNil;
  };
  void unlink(std::uint32_t i);
  void link_newest(std::uint32_t i);

  std::size_t max_;
  FlatMap64 at_;  // session -> entry
  std::vector<Entry> entries_;
  std::uint32_t oldest_ = kNil, newest_ = kNil;
};

}  // namespace lodestar
