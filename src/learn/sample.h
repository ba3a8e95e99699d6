// SPDX-License-Identifier: Apache-2.0
// One labelled decision: what was known when the request was placed, and what
// came of it.
#pragma once
#include <cstdint>

#include "learn/normalizer.h"
#include "learn/paper_features.h"

namespace lodestar::learn {

struct Sample {
  std::uint64_t sequence = 0;  // unique, rising: the row's identity
  PaperFeatures x;             // of the instance that was chosen
  float reward = 0;            // minus TTFT, seconds
  FeatureMoments candidates;   // of all instances that could have been chosen
};

}  // namespace lodestar::learn
