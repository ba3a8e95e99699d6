// SPDX-License-Identifier: Apache-2.0
// Step times interpolated from measured kernel tables instead of the formula of
// step_time.h. Two families of files (plain or .gz CSV):
//   aiconfigurator  gemm (dtype,m,n,k,latency_ms), context_attention and
//                   generation_attention (batch_size,isl,step,num_heads,
//                   num_kv_heads,latency_ms): one operation of one layer, for any
//                   dense served model. No mixed batches: the attention of a step
//                   is prefill plus decode. Element-wise kernels are bounded by
//                   80 % of the memory bandwidth plus 2 us each.
//   LLMServingSim   dense (layer,tokens,time_us), attention (prefill_chunk,
//                   kv_prefill,n_decode,kv_decode,time_us), per_sequence
//                   (layer,sequences,time_us): the layers of one served model on
//                   one GPU, with mixed attention.
// Between points: linear in tokens, in A for prefill attention, in context and
// sequences for decode attention; beyond the last point its slope goes on.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "sim/step_time.h"

namespace lodestar::sim {

// Either the first three or the last three are set.
struct TableFiles {
  std::string gemm, context_attention, generation_attention;
  std::string dense, attention, per_sequence;
};

// The files `<directory>/<prefix>_<table>.csv[.gz]`, e.g. prefix
// aic_h100_sxm_vllm_0.24.0 or lss_RTX4090_Llama-3.1-8B. Errors say what is missing.
Result<TableFiles> find_table_files(const std::string& directory, const std::string& prefix);

// Errors: files and their contents, or tables that do not cover the served
// model's shape. gpu: only bandwidth_gb_s is used, and only by aiconfigurator's.
Result<std::shared_ptr<const StepTime>> load_table_step_time(const TableFiles& files,
                                                             const GpuParams& gpu,
                                                             const ServedModelParams& served_model,
                                                             const StepOverhead& overhead);

// The two families; load_table_step_time() picks by the files given.
Result<std::shared_ptr<const StepTime>> load_kernel_tables(const TableFiles& files,
                                                           const GpuParams& gpu,
                                                           const ServedModelParams& served_model,
                                                           const StepOverhead& overhead);
Result<std::shared_ptr<const StepTime>> load_layer_tables(const TableFiles& files,
                                                          const ServedModelParams& served_model,
                                                          const StepOverhead& overhead);

}  // namespace lodestar::sim
