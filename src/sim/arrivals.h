// SPDX-License-Identifier: Apache-2.0
// Arrival times: Poisson or Gamma renewal processes whose rate follows the
// phases, and recorded times with their bins spread.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "sim/workload_spec.h"

namespace lodestar::sim {

// The phase that time `at` falls into, or nullptr when there are none or all are over.
const PhaseSpec* phase_at(std::span<const PhaseSpec> phases, TimeNs at);

// Draws one arrival after the other. The gaps have mean 1 and the given cv in
// "expected arrivals"; the clock runs through them at the rate of the moment, so
// a change of phase acts at once and no gap is drawn twice. After the end of the
// last phase its rate stays.
class ArrivalProcess {
 public:
  ArrivalProcess(const ArrivalSpec& spec, std::span<const PhaseSpec> phases, Rng rng);
  // kNever when no further arrival comes (the rate stays 0).
  TimeNs next();

 private:
  double gap();
  double rate() const;

  ArrivalSpec spec_;
  std::vector<PhaseSpec> phases_;
  std::size_t phase_ = 0;
  double now_s_ = 0;
  Rng rng_;
};

// Width of the bins that non-decreasing timestamps were rounded to, or 0 when they
// look exact: at least half of the rows share their time with another row, and the
// median distance of distinct times is the width.
DurationNs detect_bin(std::span<const TimeNs> timestamps);

// Spreads rows of equal time uniformly over [time, time + bin), or up to the next
// distinct time if that comes earlier; order is kept. bin > 0.
void spread_bins(std::vector<TimeNs>& timestamps, DurationNs bin, Rng& rng);

}  // namespace lodestar::sim
