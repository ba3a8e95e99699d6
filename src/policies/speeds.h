// SPDX-License-Identifier: Apache-2.0
// Told prefill rates, for the *-speeds policies and nobody else: they are the
// baselines that know from a person what a learner has to find out.
#pragma once
#include <span>

#include "routing/features.h"

namespace lodestar {

// Tokens per second; 0 if none was told or the figure cannot be.
inline double told_speed(const FeatureRow& row) {
  const double speed = row.told_prefill_tokens_per_s;
  return speed > 0 && speed < 1e12 ? speed : 0;
}

// Mean of the told rates; 0 if nobody was told one.
inline double mean_told_speed(std::span<const FeatureRow> rows) {
  double sum = 0;
  double known = 0;
  for (const FeatureRow& row : rows) {
    sum += told_speed(row);
    known += told_speed(row) > 0 ? 1 : 0;
  }
  return known > 0 ? sum / known : 0;
}

}  // namespace lodestar
