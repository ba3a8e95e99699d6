// SPDX-License-Identifier: Apache-2.0
#include "fuzz_trace.h"
#include "sim/trace_data.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lodestar::sim::fuzz_trace(data, size, lodestar::sim::TraceFormat::kKvCacheTester);
  return 0;
}
