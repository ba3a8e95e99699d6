// SPDX-License-Identifier: Apache-2.0
// Adam (Kingma, Ba 2015) with L2 weight decay added to the gradient, as
// torch.optim.Adam does (not AdamW), and an exponentially falling rate.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace lodestar::learn {

struct AdamOptions {
  double rate = 3e-4;
  double weight_decay = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double rate_decay_per_epoch = 0.95;
};

class Adam {
 public:
  Adam(AdamOptions options, std::size_t size);

  void step(std::span<float> weights, std::span<const float> gradient);
  void end_epoch() { rate_ *= options_.rate_decay_per_epoch; }
  double rate() const { return rate_; }

 private:
  AdamOptions options_;
  double rate_;
  double beta1_power_ = 1, beta2_power_ = 1;  // beta^steps
  std::vector<float> mean_, square_;
};

}  // namespace lodestar::learn
