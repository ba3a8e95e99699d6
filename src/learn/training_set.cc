// SPDX-License-Identifier: Apache-2.0
#include "learn/training_set.h"

#include <algorithm>

#include "base/check.h"

namespace lodestar::learn {
namespace {

// Membership by sequence; kept sorted, because rows come in sorted runs.
class SequenceSet {
 public:
  explicit SequenceSet(std::vector<std::uint64_t> sequences) : sorted_(std::move(sequences)) {
    std::sort(sorted_.begin(), sorted_.end());
  }
  bool contains(std::uint64_t s) const {
    return std::binary_search(sorted_.begin(), sorted_.end(), s);
  }

 private:
  std::vector<std::uint64_t> sorted_;
};

SequenceSet sequences_of(const std::vector<Sample>& rows) {
  std::vector<std::uint64_t> all;
  all.reserve(rows.size());
  for (const Sample& row : rows) all.push_back(row.sequence);
  return SequenceSet(std::move(all));
}

// Fisher-Yates on indices: a Sample is large.
std::vector<std::size_t> shuffled(std::size_t n, Rng rng) {
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

}  // namespace

void TrainingSet::add(const Sample& sample) {
  LODESTAR_CHECK(rows_.empty() || sample.sequence > rows_.back().sequence);
  rows_.push_back(sample);
  fresh_ = std::min(fresh_ + 1, sizes_.fresh);
  while (rows_.size() > target() + sizes_.fresh) rows_.pop_front();
}

Round TrainingSet::begin_round(const Rng& rng) {
  const std::size_t old = rows_.size() - fresh_;
  const std::size_t fifo = std::min(sizes_.fifo, old);
  // new and fifo are neighbours in the store: the newest of all.
  std::vector<Sample> set(rows_.end() - static_cast<std::ptrdiff_t>(fresh_ + fifo), rows_.end());
  const SequenceSet recent = sequences_of(set);
  const std::size_t replay = std::min(target() - fifo, replay_.size());
  for (std::size_t i = 0; i < replay; ++i)
    if (!recent.contains(replay_[i].sequence)) set.push_back(replay_[i]);
  const std::size_t missing = target() - fifo - replay;
  if (missing > 0 && old > fifo) {
    const SequenceSet taken = sequences_of(set);
    std::size_t added = 0;
    for (std::size_t i : shuffled(old - fifo, rng.fork("fill"))) {
      if (added == missing) break;
      if (taken.contains(rows_[i].sequence)) continue;
      set.push_back(rows_[i]);
      ++added;
    }
  }
  auto mixed = std::make_shared<std::vector<Sample>>();
  mixed->reserve(set.size());
  for (std::size_t i : shuffled(set.size(), rng.fork("shuffle"))) mixed->push_back(set[i]);
  fresh_ = 0;
  while (rows_.size() > target()) rows_.pop_front();
  return {std::move(mixed), target() - std::min(sizes_.fifo, rows_.size())};
}

void TrainingSet::set_replay(const std::vector<Sample>& set,
                             const std::vector<std::uint32_t>& order) {
  replay_.clear();
  replay_.reserve(order.size());
  for (std::uint32_t i : order) {
    LODESTAR_CHECK(i < set.size());
    replay_.push_back(set[i]);
  }
}

}  // namespace lodestar::learn
