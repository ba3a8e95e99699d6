// SPDX-License-Identifier: Apache-2.0
// One deadline per connection, cheap to move. Setting a deadline stores a number;
// the timer behind it is touched only when it fires or must fire earlier, so a
// stream that renews its deadline at every piece pays nothing for it.
#pragma once
#include <functional>
#include <memory>

#include "net/task.h"

namespace lodestar::net {

class Watchdog {
 public:
  // `on_expire` runs on the executor's worker when a deadline passes; it is not
  // called any more once the watchdog is destroyed.
  Watchdog(Executor executor, std::function<void()> on_expire);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void set(TimeNs deadline);  // replaces the previous one; re-arms after expiry
  void clear();
  bool expired() const;  // the last deadline set has passed and was acted upon

 private:
  struct State;
  static void arm(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace lodestar::net
