// SPDX-License-Identifier: Apache-2.0
#include "learn/gemm.h"

#include "base/check.h"

namespace lodestar::learn {
namespace {

#define LODESTAR_GEMM_NAME gemm_base
#define LODESTAR_GEMM_TARGET
#define LODESTAR_GEMM_LANES 4
#define LODESTAR_GEMM_ROWS 3
#define LODESTAR_GEMM_ROWS_FEW 2
#include "learn/gemm_kernel.inc"

#define LODESTAR_GEMM_NAME gemm_avx2
#define LODESTAR_GEMM_TARGET __attribute__((target("avx2")))
#define LODESTAR_GEMM_LANES 8
#define LODESTAR_GEMM_ROWS 6
#define LODESTAR_GEMM_ROWS_FEW 2
#include "learn/gemm_kernel.inc"

#define LODESTAR_GEMM_NAME gemm_avx512
#define LODESTAR_GEMM_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw")))
#define LODESTAR_GEMM_LANES 16
#define LODESTAR_GEMM_ROWS 12
#define LODESTAR_GEMM_ROWS_FEW 4
#include "learn/gemm_kernel.inc"

}  // namespace

bool gemm_level_supported(GemmLevel level) {
  switch (level) {
    case GemmLevel::kBase:
      return true;
    case GemmLevel::kAvx2:
      return __builtin_cpu_supports("avx2") != 0;
    case GemmLevel::kAvx512:
      return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
             __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  }
  return false;
}

GemmLevel best_gemm_level() {
  if (gemm_level_supported(GemmLevel::kAvx512)) return GemmLevel::kAvx512;
  if (gemm_level_supported(GemmLevel::kAvx2)) return GemmLevel::kAvx2;
  return GemmLevel::kBase;
}

void gemm_pack(const float* b, std::size_t k, std::size_t n, float* packed) {
  for (std::size_t column = 0; column < n; column += kGemmPanel)
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < kGemmPanel; ++j) *packed++ = b[i * n + column + j];
}

void gemm_pack_transposed(const float* source, std::size_t k, std::size_t n, float* packed) {
  for (std::size_t column = 0; column < n; column += kGemmPanel)
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < kGemmPanel; ++j) *packed++ = source[(column + j) * k + i];
}

void gemm(GemmLevel level, const float* bias, GemmInput a, const float* packed_b, float* c,
          std::size_t m, std::size_t n, std::size_t k) {
  LODESTAR_CHECK(n % kGemmPanel == 0);
  switch (level) {
    case GemmLevel::kAvx512:
      return gemm_avx512(bias, a, packed_b, c, m, n, k);
    case GemmLevel::kAvx2:
      return gemm_avx2(bias, a, packed_b, c, m, n, k);
    case GemmLevel::kBase:
      return gemm_base(bias, a, packed_b, c, m, n, k);
  }
}

float dot8(const float* x, const float* y, std::size_t size) {
  float lane[8] = {};
  for (std::size_t i = 0; i < size; i += 8)
    for (std::size_t j = 0; j < 8; ++j) lane[j] += x[i + j] * y[i + j];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace lodestar::learn
