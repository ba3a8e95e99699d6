// SPDX-License-Identifier: Apache-2.0
// What Preble knows of an instance's recent past: the GPU time that it was given
// within a sliding window, and how much of its prompts came from cache.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace lodestar {

class PrebleWindow {
 public:
  struct Sums {
    double work_s = 0;         // estimated GPU seconds of the requests placed
    double prompt_tokens = 0;
    double hit_tokens = 0;
    double requests = 0;
  };

  void add(TimeNs now, DurationNs window, const Sums& request);
  // Everything added within the last `window`, to one part in kParts.
  Sums sums(TimeNs now, DurationNs window) const;

 private:
  static constexpr std::size_t kParts = 36;  // of 5 s for a window of 3 minutes
  struct Part {
    std::int64_t number = -1;  // which span of window / kParts; -1: empty
    Sums sums;
  };
  static std::int64_t number_of(TimeNs now, DurationNs window);

  std::array<Part, kParts> parts_;
};

// The last answers: mean length and median time per token.
class PrebleAnswers {
 public:
  PrebleAnswers(double default_tokens, double default_tpot_s)
      : default_tokens_(default_tokens), default_tpot_s_(default_tpot_s) {}

  void add(double output_tokens, double tpot_s);
  double mean_tokens() const { return mean_tokens_; }
  double median_tpot_s() const { return median_tpot_s_; }

 private:
  static constexpr std::size_t kKept = 127;
  double default_tokens_, default_tpot_s_;
  double mean_tokens_ = default_tokens_, median_tpot_s_ = default_tpot_s_;
  std::array<double, kKept> tokens_{}, tpot_s_{};
  std::size_t count_ = 0;  // ever added
};

// Prefill time of `fresh` tokens after `cached` ones, seconds: Preble's fit for
// Llama-3-8B on an A30 (linear + attention + quadratic parts, over 0.9), as
// Lodestar's gateway carries it. Between 192 and 384 tokens its polynomial turns
// negative before it reaches the linear part, so the two ends are joined by a
// line instead.
double preble_prefill_s(double fresh, double cached);

}  // namespace lodestar
