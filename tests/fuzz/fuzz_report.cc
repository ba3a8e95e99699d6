// SPDX-License-Identifier: Apache-2.0
// Any bytes are a report or a clear error, and any report can be drawn.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sim/html_report.h"
#include "sim/html_report_read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto report = lodestar::sim::parse_report(text);
  if (!report && report.error().message.empty()) std::abort();
  if (report && lodestar::sim::render_html_report(*report).empty()) std::abort();
  return 0;
}
