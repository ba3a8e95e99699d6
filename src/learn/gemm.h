// SPDX-License-Identifier: Apache-2.0
// The one matrix kernel of training and prediction: C = bias + A * B in float32.
//
// Every element of C is summed over k = 0, 1, 2 ... in that order, each product
// rounded before it is added (no fused multiply-add). Vector lanes run across
// the columns of C, never along a sum, so the instruction set and the blocking
// change the speed and not one bit of the result.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace lodestar::learn {

// kBase: what the build targets. The others are used when this CPU has them.
enum class GemmLevel { kBase, kAvx2, kAvx512 };
GemmLevel best_gemm_level();
bool gemm_level_supported(GemmLevel level);

// Columns are processed in panels of this many: widths must be multiples of it.
inline constexpr std::size_t kGemmPanel = 16;

// Element (m, k) is data[m * row_stride + k * column_stride].
struct GemmInput {
  const float* data = nullptr;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;
};

// Rearranges B (k x n, row-major) so that each panel's rows are adjacent.
// `packed` holds k * n floats. n % kGemmPanel == 0.
void gemm_pack(const float* b, std::size_t k, std::size_t n, float* packed);
// The same for the transpose: B = source^T, source is n x k, row-major.
void gemm_pack_transposed(const float* source, std::size_t k, std::size_t n, float* packed);

// C (m x n, row-major, contiguous) = bias (n values, or null for 0) + A * B.
void gemm(GemmLevel level, const float* bias, GemmInput a, const float* packed_b, float* c,
          std::size_t m, std::size_t n, std::size_t k);

// Sum of x[i] * y[i] in 8 fixed lanes, folded (0+4)+(2+6) + (1+5)+(3+7).
// size % 8 == 0.
float dot8(const float* x, const float* y, std::size_t size);

}  // namespace lodestar::learn
