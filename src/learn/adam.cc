// SPDX-License-Identifier: Apache-2.0
#include "learn/adam.h"

#include <cmath>

#include "base/check.h"

namespace lodestar::learn {

Adam::Adam(AdamOptions options, std::size_t size)
    : options_(options), rate_(options.rate), mean_(size, 0.0f), square_(size, 0.0f) {}

void Adam::step(std::span<float> weights, std::span<const float> gradient) {
  LODESTAR_CHECK(weights.size() == mean_.size() && gradient.size() == mean_.size());
  beta1_power_ *= options_.beta1;
  beta2_power_ *= options_.beta2;
  const float step = static_cast<float>(rate_ / (1 - beta1_power_));
  const float inverse_root = static_cast<float>(1 / std::sqrt(1 - beta2_power_));
  const float b1 = static_cast<float>(options_.beta1), c1 = static_cast<float>(1 - options_.beta1);
  const float b2 = static_cast<float>(options_.beta2), c2 = static_cast<float>(1 - options_.beta2);
  const float decay = static_cast<float>(options_.weight_decay);
  const float epsilon = static_cast<float>(options_.epsilon);
  float* w = weights.data();
  float* m = mean_.data();
  float* s = square_.data();
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    const float g = gradient[i] + decay * w[i];
    m[i] = b1 * m[i] + c1 * g;
    s[i] = b2 * s[i] + c2 * (g * g);
    w[i] -= step * m[i] / (std::sqrt(s[i]) * inverse_root + epsilon);
  }
}

}  // namespace lodestar::learn
