// SPDX-License-Identifier: Apache-2.0
// A PaperPredictor as bytes, to keep it across restarts or carry it elsewhere.
// All integers and floats are little-endian; version 1:
//
//   8   magic "LODEPRED"
//   4   format version (1)            4   kind (1 = paper predictor)
//   4   kFeatureSetVersion            4   GPU labels, 0 or 1
//   8   feature hash (names, order)   4   hidden width   4   inputs
//   56  training record: round, rows, trained, epochs (u64); training MSE,
//       hold-out MSE, hold-out MAE (f64)
//   ... statistics: mean, deviation, min, max of each feature (f32), GPUs (u32)
//   ... weights (f32), as learn/mlp.h lays them out
//   8   SipHash-1-3 (key 0) of all before: finds damage, not malice
//
// The replay selection is not part of it: it belongs to a running learner.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "learn/paper_predictor.h"

namespace lodestar::learn {

std::string encode_predictor(const PaperPredictor& predictor);

// Refuses, with the reason, whatever is not exactly a predictor of this build's
// feature set: wrong magic, version, features or size, damage, numbers that are
// not finite. Never reads out of bounds, never allocates by what a header claims.
Result<std::shared_ptr<const PaperPredictor>> decode_predictor(std::string_view bytes);

}  // namespace lodestar::learn
