// SPDX-License-Identifier: Apache-2.0
// Predictor files from anywhere: a clear refusal or a predictor that predicts.
// The checksum would stop almost every mutation, so half of the inputs get a
// correct one first.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "fuzz_checksum.h"
#include "learn/predictor_file.h"

using namespace lodestar;
using namespace lodestar::learn;

namespace {

// The mutated head on a valid body: reaches the checks behind the size test.
std::string with_valid_body(std::string_view head) {
  static const std::string whole = [] {
    MlpWeights weights(paper_inputs(false));
    weights.initialise(Rng(1));
    return encode_predictor(PaperPredictor(Mlp(weights), Normalizer(), false, {}));
  }();
  std::string bytes = whole;
  for (std::size_t i = 0; i < head.size() && i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(bytes[i] ^ head[i]);
  return bytes;
}

void check(const std::string& bytes) {
  const auto decoded = decode_predictor(bytes);
  if (!decoded) {
    if (decoded.error().message.empty()) std::abort();
    return;
  }
  if (encode_predictor(**decoded) != bytes) std::abort();  // one predictor, one file
  const PaperFeatures row;
  float out = 0;
  PaperPredictor::Scratch scratch;
  (*decoded)->predict({&row, 1}, {&out, 1}, scratch);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  check(with_checksum(bytes));
  const std::string whole = with_valid_body(bytes);
  check(whole);
  check(with_checksum(whole));
  return 0;
}
