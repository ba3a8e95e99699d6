// SPDX-License-Identifier: Apache-2.0
#include "policies/session_table.h"

namespace lodestar {

SessionTable::Home SessionTable::find(std::uint64_t session, TimeNs now, DurationNs ttl) const {
  const std::uint32_t i = at_.find(session);
  if (i == FlatMap64::kAbsent || now - entries_[i].used > ttl) return {};
  return {entries_[i].instance, entries_[i].incarnation, true};
}

void SessionTable::put(std::uint64_t session, InstanceId instance, Incarnation incarnation,
                       TimeNs now) {
  std::uint32_t i = at_.find(session);
  if (i != FlatMap64::kAbsent) {
    unlink(i);
  } else if (entries_.size() < max_) {
    i = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    i = oldest_;
    unlink(i);
    at_.erase(entries_[i].session);
  }
  entries_[i] = {session, now, instance, incarnation, kNil, kNil};
  at_.put(session, i);
  link_newest(i);
}

void SessionTable::unlink(std::uint32_t i) {
  const Entry& e = entries_[i];
  (e.older == kNil ? oldest_ : entries_[e.older].newer) = e.newer;
  (e.newer == kNil ? newest_ : entries_[e.newer].older) = e.older;
}

void SessionTable::link_newest(std::uint32_t i) {
  entries_[i].older = newest_;
  entries_[i].newer = kNil;
  (newest_ == kNil ? oldest_ : entries_[newest_].newer) = i;
  newest_ = i;
}

}  // namespace lodestar
