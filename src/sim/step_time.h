// SPDX-License-Identifier: Apache-2.0
// How long one engine step takes, from its shape. Two implementations: the
// smooth-max roofline below and step_time_table.h (measured kernel tables).
// Immutable after construction, so one object may serve many engines.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"

namespace lodestar::sim {

// One GPU as the roofline sees it. eta_* are the reached fractions of the data
// sheet: GEMM compute, weight streaming, decode attention (alone / in a step
// that also holds a prefill chunk), prefill attention. p shapes the smooth max.
struct GpuParams {
  double peak_tflops = 0;
  double bandwidth_gb_s = 0;
  double eta_c = 0, eta_m = 0, eta_kv = 0, eta_kvm = 0, eta_a = 0;
  double p = 2.0;
  // Memory the driver reports, in GiB (what vendors print as GB). 0 = unknown.
  double memory_gb = 0;
};

struct ServedModelParams {
  int layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  double params_b = 0;  // parameters without embedding and head, in 1e9
  double weight_bytes = 2, kv_bytes = 2;  // per weight, per KV element
  // All weights on the device, in 1e9 bytes; 0 = derived: body + embedding + head.
  double total_weight_gb = 0;

  // Bytes of KV cache that one token takes.
  double kv_bytes_per_token() const { return 2.0 * layers * kv_heads * head_dim * kv_bytes; }
  double total_weight_bytes() const {
    if (total_weight_gb > 0) return total_weight_gb * 1e9;
    return weight_bytes * (params_b * 1e9 + 2.0 * vocab * hidden);
  }
};

// Host time per step that no kernel hides.
struct StepOverhead {
  double fixed_ms = 0.3;
  double per_seq_us = 10;
};

struct StepShape {
  std::int64_t tokens = 0;          // T: all scheduled tokens
  std::int64_t sampling_seqs = 0;   // S: sequences that get a token from this step
  std::int64_t decode_seqs = 0;     // sequences with one new token on a computed context
  std::int64_t decode_context = 0;  // K: sum of the decode sequences' context lengths
  double prefill_attention = 0;     // A: sum over chunks of q*(c + q/2), q on top of c
  bool has_prefill() const { return tokens > decode_seqs; }
};

class StepTime {
 public:
  virtual ~StepTime() = default;
  // Duration in ms without jitter. Same shape, same bits. tokens >= 1.
  virtual double step_ms(const StepShape& shape) const = 0;
};

// Engine time model: smooth max of compute and weight streaming, plus head,
// decode attention, prefill attention and overhead (tp = 1):
//   (t_c^p + t_m^p)^(1/p) + t_head + t_dec + t_pre + o0 + o1*S
class FormulaStepTime final : public StepTime {
 public:
  // Errors name the parameter that is missing or out of range.
  static Result<std::shared_ptr<const StepTime>> create(const GpuParams& gpu,
                                                        const ServedModelParams& served_model,
                                                        const StepOverhead& overhead);
  double step_ms(const StepShape& shape) const override;

 private:
  FormulaStepTime(const GpuParams& gpu, const ServedModelParams& m, const StepOverhead& overhead);
  double linear_ms(double tokens) const;

  double compute_ms_per_token_ = 0, weights_ms_ = 0, p_ = 2;
  double head_ms_ = 0, fixed_ms_ = 0, per_seq_ms_ = 0;
  double decode_ms_per_token_ = 0, decode_mixed_ms_per_token_ = 0, prefill_ms_per_unit_ = 0;
  std::vector<double> linear_table_ms_;  // linear_ms for small token counts
};

}  // namespace lodestar::sim
