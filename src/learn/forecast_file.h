// SPDX-License-Identifier: Apache-2.0
// What Forecasters learned as bytes, to keep it across restarts: one file for all
// policy objects of a router. All integers and floats are little-endian; version 1:
//
//   8   magic "LODEPRED"
//   4   format version (1)            4   kind (2 = forecasts)
//   4   kFeatureSetVersion            4   states, at most 1,024
//   8   term hash (names of all terms and levels, in order)
//   ... per state: policy, served model (text: u32 length, bytes);
//       fleet of TTFT, fleet of TPOT (statistics, shape, samples); output tokens (f64);
//       calibration idle, queued (levels, scale, f64; samples, u64);
//       instances (u32), by ascending name: name (text), TTFT, TPOT (statistics,
//       shape, pace, evidence, error, f64; samples, u64), E2E pace (f64)
//   8   SipHash-1-3 (key 0) of all before: finds damage, not malice
//
// Not part of it: what is in flight, the times of samples (the next process has another
// clock), half-made drift alarms. The evidence behind a pace is kept as 20 samples at
// most: while nobody looked, an engine may have changed.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "learn/forecaster.h"

namespace lodestar::learn {

struct ForecastState {
  std::string policy, served_model;
  Forecaster::Snapshot snapshot;
};

// Digest of kFeatureSetVersion and the names of all terms, in order.
std::uint64_t forecast_term_hash();

std::string encode_forecasts(std::span<const ForecastState> states);

// Refuses, with the reason, whatever is not exactly a file of this build's terms: wrong
// magic, version, kind or terms, damage, numbers that make no sense. Never reads out of
// bounds, never allocates by what a header claims.
Result<std::vector<ForecastState>> decode_forecasts(std::string_view bytes);

}  // namespace lodestar::learn
