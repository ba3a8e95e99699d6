// SPDX-License-Identifier: Apache-2.0
// The rows kept for training, and the rule that makes a round's set of them
// (Lodestar, routing_agent_service.py): new + FIFO + replay.
//
//   new     rows that arrived since the last round started. (The published code
//           forgets those that arrive while a round trains; here they count.)
//   fifo    the newest `fifo` of the older rows
//   replay  the head of the stored replay selection, fifo + replay - |fifo| rows
//   fill    if that is still short: older rows chosen uniformly
//   then duplicates are removed and the set is shuffled.
//
// Afterwards only the newest fifo + replay rows stay. Owned by one thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "learn/sample.h"

namespace lodestar::learn {

struct PoolSizes {
  std::size_t fifo = 5000;
  std::size_t replay = 5000;
  std::size_t fresh = 10000;  // limit on new rows: beyond it the oldest new row counts as old
};

struct Round {
  std::shared_ptr<const std::vector<Sample>> set;
  std::size_t replay_rows = 0;  // how many the next round can use: select no more
};

class TrainingSet {
 public:
  explicit TrainingSet(PoolSizes sizes) : sizes_(sizes) {}

  void add(const Sample& sample);  // sample.sequence must rise
  // Rows since the last round started.
  std::size_t fresh() const { return fresh_; }
  std::size_t stored() const { return rows_.size(); }
  std::size_t replay_stored() const { return replay_.size(); }

  // Builds the set of a round and starts the next: fresh() is 0 afterwards.
  // `rng` is forked, not drawn from: the same generator gives the same choice.
  Round begin_round(const Rng& rng);

  // The selection made by a finished round: indices into its set, best first.
  void set_replay(const std::vector<Sample>& set, const std::vector<std::uint32_t>& order);

 private:
  std::size_t target() const { return sizes_.fifo + sizes_.replay; }

  PoolSizes sizes_;
  std::deque<Sample> rows_;  // oldest first; the last fresh_ are new
  std::size_t fresh_ = 0;
  std::vector<Sample> replay_;
};

}  // namespace lodestar::learn
