// SPDX-License-Identifier: Apache-2.0
// What vLLM V1 shows on /metrics (vllm/v1/metrics/loggers.py): the same names,
// types, labels and buckets. Durations are in engine time (seconds of the
// emulated engine, whatever the time scale).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "emulator/prom_text.h"
#include "sim/engine.h"

namespace lodestar::emulator {

enum class Ending : std::uint8_t { kStop, kLength, kAbort, kError, kRepetition };
inline constexpr std::size_t kEndings = 5;

// A request that has ended; times are engine time.
struct EndedRequest {
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::int64_t max_tokens = 0;
  TimeNs arrival = 0;
  TimeNs scheduled = kNever;  // first admitted to a batch
  TimeNs first_token = kNever, last_token = kNever;
  TimeNs end = 0;
  Ending ending = Ending::kStop;
};

class VllmMetrics {
 public:
  // `created`: Unix time, s.
  VllmMetrics(std::string served_model, const sim::EngineConfig& config, std::int64_t max_model_len,
              double gpu_memory_utilization, double created);

  // One engine step that gave output.
  void step(std::int64_t prompt_tokens, std::int64_t generated_tokens);
  void first_token(DurationNs since_arrival);
  void inter_token(DurationNs gap);
  void ended(const EndedRequest& request);

  std::uint64_t endings(Ending ending) const { return endings_[static_cast<std::size_t>(ending)]; }
  void render(const sim::EngineStats& stats, PromPage& page) const;

 private:
  LabelText labels(std::string_view name, std::string_view value) const;
  void render_gauges(const sim::EngineStats& stats, PromPage& page) const;
  void render_counters(const sim::EngineStats& stats, PromPage& page) const;
  void render_histograms(PromPage& page) const;

  std::string served_model_;
  double created_;
  LabelText plain_, cache_info_;
  std::array<std::uint64_t, kEndings> endings_{};
  Histogram prompt_, generation_, iteration_, max_generation_, params_n_, params_max_;
  Histogram ttft_, itl_, tpot_, e2e_, queue_, inference_, prefill_, decode_, prefill_computed_;
};

}  // namespace lodestar::emulator
