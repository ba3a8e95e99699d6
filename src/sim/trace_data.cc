// SPDX-License-Identifier: Apache-2.0
#include "sim/trace_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

// Recorders write a little out of order now and then; rows of one time keep theirs.
void sort_by_time(std::vector<TraceRow>& rows) {
  std::vector<std::pair<TimeNs, std::size_t>> order;
  for (std::size_t i = 0; i < rows.size(); ++i) order.emplace_back(rows[i].timestamp, i);
  if (std::is_sorted(order.begin(), order.end())) return;
  std::sort(order.begin(), order.end());
  std::vector<TraceRow> sorted;
  for (const auto& [timestamp, i] : order) sorted.push_back(rows[i]);
  rows = std::move(sorted);
}

Result<std::shared_ptr<const Trace>> read_trace(LineSource lines, TraceFormat format) {
  auto trace = std::make_shared<Trace>();
  trace->format = format;
  Result<void> ok;
  switch (format) {
    case TraceFormat::kMooncake:
      ok = read_mooncake(lines, *trace);
      break;
    case TraceFormat::kAzure:
      ok = read_azure(lines, *trace);
      break;
    case TraceFormat::kKvCacheTester:
      ok = read_kvcachetester(lines, *trace);
      break;
  }
  if (!ok) return std::unexpected(ok.error());
  if (trace->rows.empty())
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: holds no requests; is it the right file and format?", lines.name()));
  if (format == TraceFormat::kKvCacheTester) return trace;
  sort_by_time(trace->rows);
  const TimeNs start = trace->rows.front().timestamp;
  if (trace->rows.back().timestamp - start > kMaxTraceSpan)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: its rows lie {:.0f} days apart; is the unit of time right?",
                            lines.name(), to_s(trace->rows.back().timestamp - start) / 86400));
  for (TraceRow& row : trace->rows) row.timestamp -= start;
  return trace;
}

}  // namespace

Result<std::shared_ptr<const Trace>> load_trace(const std::string& path, TraceFormat format) {
  auto lines = LineSource::open(path);
  if (!lines) return std::unexpected(lines.error());
  return read_trace(std::move(*lines), format);
}

Result<std::shared_ptr<const Trace>> parse_trace(std::string_view text, const std::string& name,
                                                 TraceFormat format) {
  return read_trace(LineSource::of_text(text, name), format);
}

}  // namespace lodestar::sim
