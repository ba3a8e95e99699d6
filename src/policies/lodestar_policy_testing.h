// SPDX-License-Identifier: Apache-2.0
// For tests of `lodestar`: a learned state whose forecasts can be worked out on paper.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "policies/catalog.h"
#include "policies/lodestar_paper_testing.h"
#include "policies/lodestar_policy.h"

namespace lodestar::lodestar_testing {

using paper_testing::Bench;  // instances i0, i1, ... in slots 0, 1, ...

// For an instance of pace p without anybody waiting:
//   TTFT = p x (0.1 + 0.1 per 1,000 tokens to compute)   [s]
//   TPOT = 0.02 s; 100 tokens of answer expected, so 2 s of decoding
inline learn::Forecaster::Snapshot handmade(const std::map<std::string, double>& pace = {}) {
  learn::Forecaster::Snapshot s;
  s.ttft.shape = {};
  s.ttft.shape[learn::kOne] = s.ttft.shape[learn::kTokens] = 0.1;
  s.ttft.samples = 1000;
  s.tpot.shape = {};
  s.tpot.shape[learn::kStepOne] = 0.02;
  s.tpot.samples = 1000;
  s.output_tokens = 100;
  for (const auto& [name, p] : pace) {
    learn::Forecaster::Remembered r;
    r.ttft.shape = s.ttft.shape;
    r.ttft.pace = p;
    r.ttft.samples = 1000;
    r.ttft.evidence = 1000;
    r.ttft.error = 1e-3;  // nothing is in doubt
    r.tpot.shape = s.tpot.shape;
    s.instances[name] = r;
  }
  return s;
}

// A policy of these parameters ("k=2,near=0") with a handmade state. What they do not say
// is not the default, which is tuned, but as simple as can be: the toll is the only price
// besides that of decoding, and there is no exploration.
inline std::unique_ptr<Policy> make(std::string_view params,
                                    const std::map<std::string, double>& pace = {}) {
  std::string text = "lodestar:" + std::string(params);
  for (const std::string_view plain :
       {"decode_weight=0.03", "toll=1", "crowding=0", "externality=0", "explore=0", "near=0.01"}) {
    const std::string_view key = plain.substr(0, plain.find('=') + 1);
    if (params.find(key) != std::string_view::npos) continue;
    if (text.back() != ':') text += ',';
    text += plain;
  }
  auto made = make_policy(text);
  LODESTAR_CHECK(made.has_value());
  PolicyActions actions;
  (*made)->on_predictor(0, std::make_shared<LodestarPredictor>(handmade(pace)), actions);
  return std::move(*made);
}

}  // namespace lodestar::lodestar_testing
