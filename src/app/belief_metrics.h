// SPDX-License-Identifier: Apache-2.0
// What the router's belief of the engines' caches is worth: Prometheus text, and a log
// line for each repair.
#pragma once
#include <cstdint>
#include <string>

#include "routing/router.h"

namespace lodestar::app {

// Appends to a page. On the brain's thread.
void append_belief_metrics(std::string& page, const Router& router);

// Logs repairs that it has not seen yet. On the brain's thread, after outcomes; a
// repair by a scrape is logged with the next outcome.
class BeliefLog {
 public:
  void update(const Router& router);

 private:
  std::uint64_t seen_ = 0;
};

}  // namespace lodestar::app
