// SPDX-License-Identifier: Apache-2.0
#include "policies/preble_window.h"

#include <algorithm>

namespace lodestar {

std::int64_t PrebleWindow::number_of(TimeNs now, DurationNs window) {
  return now / std::max<DurationNs>(window / static_cast<DurationNs>(kParts), 1);
}

void PrebleWindow::add(TimeNs now, DurationNs window, const Sums& request) {
  const std::int64_t number = number_of(now, window);
  Part& part = parts_[static_cast<std::size_t>(number) % kParts];
  if (part.number != number) part = {number, {}};
  part.sums.work_s += request.work_s;
  part.sums.prompt_tokens += request.prompt_tokens;
  part.sums.hit_tokens += request.hit_tokens;
  part.sums.requests += request.requests;
}

PrebleWindow::Sums PrebleWindow::sums(TimeNs now, DurationNs window) const {
  const std::int64_t oldest = number_of(now, window) - static_cast<std::int64_t>(kParts) + 1;
  Sums total;
  for (const Part& part : parts_) {
    if (part.number < 0 || part.number < oldest) continue;
    total.work_s += part.sums.work_s;
    total.prompt_tokens += part.sums.prompt_tokens;
    total.hit_tokens += part.sums.hit_tokens;
    total.requests += part.sums.requests;
  }
  return total;
}

void PrebleAnswers::add(double output_tokens, double tpot_s) {
  tokens_[count_ % kKept] = output_tokens;
  tpot_s_[count_ % kKept] = tpot_s;
  ++count_;
  const std::size_t n = std::min(count_, kKept);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += tokens_[i];
  mean_tokens_ = sum / static_cast<double>(n);
  std::array<double, kKept> sorted = tpot_s_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(n / 2);
  std::nth_element(sorted.begin(), middle, sorted.begin() + static_cast<std::ptrdiff_t>(n));
  median_tpot_s_ = *middle;
}

double preble_prefill_s(double fresh, double cached) {
  if (!(fresh > 0)) return 0;
  constexpr double kFlatMs = 44.77, kSlopeMs = 0.22064632, kOffsetMs = 8.56689631;
  const auto line = [](double n) { return kSlopeMs * n + kOffsetMs; };
  double ms = kFlatMs;
  if (fresh >= 384)
    ms = line(fresh);
  else if (fresh >= 192)
    ms = kFlatMs + (line(384) - kFlatMs) * (fresh - 192) / 192;
  ms += std::max(0.448, 2.418e-4 * cached + 0.21465);
  if (fresh >= 4096) ms += -13.6345 + 7.141e-3 * fresh + 3.996e-6 * fresh * fresh;
  return ms / 0.9 * 1e-3;
}

}  // namespace lodestar
