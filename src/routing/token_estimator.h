// SPDX-License-Identifier: Apache-2.0
// Bytes per prompt token, learned per served model from usage.prompt_tokens.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace lodestar {

class TokenEstimator {
 public:
  struct Estimate {
    double tokens;
    double error;  // relative, one sigma
  };
  // Before the first sample: 4 bytes per token, error 0.5.
  Estimate estimate(const std::string& served_model, std::int64_t bytes) const;
  double bytes_per_token(const std::string& served_model) const;
  // One finished request. Samples that make no sense (no bytes, no tokens) are ignored.
  void learn(const std::string& served_model, std::int64_t bytes, std::int64_t tokens);

 private:
  struct Ratio {
    double bytes = 0, tokens = 0;    // exponentially forgotten sums
    double error_sq = 0, weight = 0; // of the relative error of past estimates
  };
  std::map<std::string, Ratio, std::less<>> ratios_;
};

}  // namespace lodestar
