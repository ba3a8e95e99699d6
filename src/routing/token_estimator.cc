// SPDX-License-Identifier: Apache-2.0
#include "routing/token_estimator.h"

#include <cmath>

namespace lodestar {
namespace {
constexpr double kPriorBytesPerToken = 4.0;  // typical of English text under BPE vocabularies
constexpr double kPriorError = 0.5;
constexpr double kForget = 0.99;             // memory of about 100 requests
}  // namespace

double TokenEstimator::bytes_per_token(const std::string& served_model) const {
  const auto it = ratios_.find(served_model);
  return it == ratios_.end() ? kPriorBytesPerToken : it->second.bytes / it->second.tokens;
}

TokenEstimator::Estimate TokenEstimator::estimate(const std::string& served_model,
                                                  std::int64_t bytes) const {
  const auto it = ratios_.find(served_model);
  const double tokens = static_cast<double>(bytes) / bytes_per_token(served_model);
  if (it == ratios_.end() || it->second.weight == 0) return {tokens, kPriorError};
  // One prior observation keeps the error honest while samples are few.
  const Ratio& r = it->second;
  return {tokens, std::sqrt((r.error_sq + kPriorError * kPriorError) / (r.weight + 1))};
}

void TokenEstimator::learn(const std::string& served_model, std::int64_t bytes,
                           std::int64_t tokens) {
  if (bytes <= 0 || tokens <= 0) return;
  const auto b = static_cast<double>(bytes), t = static_cast<double>(tokens);
  const double relative = (b / bytes_per_token(served_model) - t) / t;
  Ratio& r = ratios_[served_model];
  if (r.tokens > 0) {  // the first estimate was only the prior's
    r.error_sq = kForget * r.error_sq + relative * relative;
    r.weight = kForget * r.weight + 1;
  }
  r.bytes = kForget * r.bytes + b;
  r.tokens = kForget * r.tokens + t;
}

}  // namespace lodestar
