// SPDX-License-Identifier: Apache-2.0
// What learning policies say of themselves, as Prometheus text: the only part of
// the metrics page that must know policies.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "base/time.h"
#include "routing/router.h"
#include "telemetry/metrics.h"

namespace lodestar::app {

// Fills the histogram of prediction errors: policies keep sums, and between two
// outcomes at most one prediction has met its truth.
class PredictionErrors {
 public:
  explicit PredictionErrors(telemetry::Registry& registry) : registry_(registry) {}
  void update(const Router& router);  // on the brain's thread, after every outcome

 private:
  struct Seen {
    std::uint64_t predictions = 0;
    double error_ms_sum = 0;
    telemetry::Histogram* histogram = nullptr;
  };
  telemetry::Registry& registry_;
  std::map<std::string, Seen, std::less<>> seen_;  // by policy object
};

// Appends to a page. On the brain's thread. `started` is when the router began: a learner
// that never learned anything is as old as that.
void append_learn_metrics(std::string& page, const Router& router, TimeNs now, TimeNs started);

}  // namespace lodestar::app
