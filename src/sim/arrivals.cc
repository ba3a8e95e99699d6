// SPDX-License-Identifier: Apache-2.0
#include "sim/arrivals.h"

#include <algorithm>
#include <limits>

namespace lodestar::sim {
namespace {

constexpr double kHorizonS = 4e9;  // beyond it nanoseconds overflow

}  // namespace

const PhaseSpec* phase_at(std::span<const PhaseSpec> phases, TimeNs at) {
  for (const PhaseSpec& phase : phases)
    if (to_s(at) < phase.end_s) return &phase;
  return phases.empty() ? nullptr : &phases.back();
}

ArrivalProcess::ArrivalProcess(const ArrivalSpec& spec, std::span<const PhaseSpec> phases, Rng rng)
    : spec_(spec), phases_(phases.begin(), phases.end()), rng_(rng) {}

double ArrivalProcess::rate() const {
  return phases_.empty() ? spec_.rate_rps : phases_[phase_].rate_rps.value_or(spec_.rate_rps);
}

double ArrivalProcess::gap() {
  if (spec_.kind == ArrivalKind::kPoisson) return rng_.exponential(1.0);
  const double cv = phases_.empty() ? spec_.cv : phases_[phase_].cv.value_or(spec_.cv);
  if (cv == 0) return 1.0;
  return rng_.gamma(1.0 / (cv * cv), cv * cv);
}

TimeNs ArrivalProcess::next() {
  for (double left = gap();;) {
    const bool last = phase_ + 1 >= phases_.size();
    const double end_s = last ? std::numeric_limits<double>::infinity() : phases_[phase_].end_s;
    const double speed = rate();
    const double in_phase = speed > 0 ? left / speed : std::numeric_limits<double>::infinity();
    if (now_s_ + in_phase < end_s) {
      now_s_ += in_phase;
      return now_s_ < kHorizonS ? from_s(now_s_) : kNever;
    }
    if (last) return kNever;
    left -= (end_s - now_s_) * speed;
    left = std::max(left, 0.0);
    now_s_ = end_s;
    ++phase_;
  }
}

DurationNs detect_bin(std::span<const TimeNs> timestamps) {
  std::vector<DurationNs> gaps;
  for (std::size_t i = 1; i < timestamps.size(); ++i)
    if (timestamps[i] != timestamps[i - 1]) gaps.push_back(timestamps[i] - timestamps[i - 1]);
  if (gaps.empty() || (gaps.size() + 1) * 2 > timestamps.size()) return 0;
  const auto middle = gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 2);
  std::nth_element(gaps.begin(), middle, gaps.end());
  return *middle;
}

void spread_bins(std::vector<TimeNs>& timestamps, DurationNs bin, Rng& rng) {
  std::vector<double> draws;
  for (std::size_t begin = 0; begin < timestamps.size();) {
    std::size_t end = begin + 1;
    while (end < timestamps.size() && timestamps[end] == timestamps[begin]) ++end;
    DurationNs width = bin;
    if (end < timestamps.size()) width = std::min(width, timestamps[end] - timestamps[begin]);
    draws.resize(end - begin);
    for (double& draw : draws) draw = rng.uniform();
    std::sort(draws.begin(), draws.end());
    for (std::size_t i = begin; i < end; ++i)
      timestamps[i] += static_cast<DurationNs>(draws[i - begin] * static_cast<double>(width));
    begin = end;
  }
}

}  // namespace lodestar::sim
