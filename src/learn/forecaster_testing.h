// SPDX-License-Identifier: Apache-2.0
// For tests: a Forecaster with leases made by hand, and engines so simple that what
// they deliver is known: one prompt at a time, in order of arrival.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/math.h"
#include "base/rng.h"
#include "learn/forecaster.h"

namespace lodestar::learn::testing {

struct Bench {
  Forecaster f;
  TimeNs now = kSecond;
  std::uint64_t leases = 0;

  static FeatureRow row(double prompt, double hit = 0, double context = 0) {
    FeatureRow r;
    r.prompt_tokens = prompt;
    r.hit_tokens = hit;
    r.decode_context_tokens = context;
    r.kv_capacity_tokens = 0;
    return r;
  }
  void wait(double s) { now += from_s(s); }
  Forecast predict(Forecaster::Slot slot, const FeatureRow& r) {
    f.arrival(now, 1);
    f.offered(now, slot);
    return f.forecast(now, slot, r, 0);
  }
  Outcome place(Forecaster::Slot slot, const FeatureRow& r, bool streamed = true) {
    return place(slot, r, predict(slot, r), streamed);
  }
  Outcome place(Forecaster::Slot slot, const FeatureRow& r, const Forecast& as, bool streamed) {
    Outcome o;
    o.lease = LeaseId(++leases);
    o.request = RequestId(leases);
    o.slot = slot;
    o.row = r;
    o.placed_at = now;
    f.placed(now, o, as, streamed);
    return o;
  }
  // At `now`, which the caller has moved.
  void first(Outcome& o) {
    o.ttft_ms = to_ms(now - o.placed_at);
    f.first_token(now, o);
  }
  void end(Outcome& o, std::int64_t tokens) {
    o.disposition = Disposition::kLearn;
    o.output_tokens = tokens;
    o.e2e_ms = to_ms(now - o.placed_at);
    if (o.ttft_ms && tokens > 1)
      o.tpot_ms = (*o.e2e_ms - *o.ttft_ms) / static_cast<double>(tokens - 1);
    f.settled(now, o);
  }
  void abort(Outcome& o, Disposition why = Disposition::kIgnore) {
    o.disposition = why;
    f.settled(now, o);
  }
  LearnStats stats() const {
    LearnStats s;
    f.report(s);
    return s;
  }
  const LearnStats::Instance& instance(const std::string& name) {
    last_ = stats();
    for (const auto& i : last_.instances)
      if (i.name == name) return i;
    static const LearnStats::Instance none;
    return none;
  }

 private:
  LearnStats last_;
};

// Seconds of prefill on an engine of this pace.
inline double prefill_s(double tokens, double pace = 1) {
  return pace * (0.02 + 0.15 * tokens / 1e3);
}

// n requests of 200..4000 tokens to one slot, in a queue that is `load` full; first
// tokens come when the engine is that far. Returns the mean |log(actual / predicted)|.
inline double feed(Bench& b, Forecaster::Slot slot, int n, double pace, Rng& rng, double load = 0.5,
                   double sigma = 0.05) {
  struct Waiting {
    Outcome outcome;
    TimeNs first_at;
  };
  std::vector<Waiting> queue;
  TimeNs free_at = b.now;
  double sum = 0;
  const auto deliver = [&](TimeNs until) {
    while (!queue.empty() && queue.front().first_at <= until) {
      b.now = queue.front().first_at;
      b.first(queue.front().outcome);
      b.end(queue.front().outcome, 20);
      queue.erase(queue.begin());
    }
    b.now = std::max(b.now, until);
  };
  for (int k = 0; k < n; ++k) {
    const double gap_s = rng.exponential(prefill_s(2100, pace) / load);
    deliver(b.now + from_s(gap_s));
    const double tokens = 200 + 3800 * rng.uniform();
    const FeatureRow r = Bench::row(tokens);
    const Forecast forecast = b.predict(slot, r);
    free_at = std::max(free_at, b.now) + from_s(prefill_s(tokens, pace) * rng.lognormal(0, sigma));
    queue.push_back({b.place(slot, r, forecast, true), free_at});
    sum += std::fabs(det_log(to_s(free_at - b.now) / forecast.ttft));
  }
  deliver(std::max(b.now, free_at));
  return sum / n;
}

}  // namespace lodestar::learn::testing
