// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/flat_map.h"
#include "sim/trace_data.h"
#include "sim/trace_json.h"
#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

using Json = nlohmann::json;
constexpr double kMaxTimestampMs = 4e12;

// Ids of any 64-bit value become 0, 1, 2, ... in order of first sight, so that
// id * block_tokens cannot overflow and ids that count up stay runs.
class DenseIds {
 public:
  std::uint64_t of(std::uint64_t id) {
    std::uint32_t dense = map_.find(id);
    if (dense == FlatMap64::kAbsent) map_.put(id, dense = static_cast<std::uint32_t>(map_.size()));
    return dense;
  }

 private:
  FlatMap64 map_;
};

void add_id(Trace& out, std::size_t begin, std::uint64_t id) {
  if (out.runs.size() > begin) {
    IdRun& last = out.runs.back();
    if (last.first + static_cast<std::uint64_t>(last.count) == id) {
      ++last.count;
      return;
    }
  }
  out.runs.push_back({id, 1});
}

Result<void> read_row(const LineSource& lines, const Json& json, DenseIds& ids, Trace& out) {
  const auto field = [&](const char* name) -> const Json* {
    const auto found = json.find(name);
    return found == json.end() ? nullptr : &*found;
  };
  const Json* timestamp = field("timestamp");
  const auto ms = timestamp ? json_number(*timestamp, 0, kMaxTimestampMs) : std::nullopt;
  if (!ms) return lines.fail_here("expected \"timestamp\": milliseconds, a number >= 0");
  const Json* input = field("input_length");
  const auto in = input ? json_integer(*input, 0, kMaxTraceTokens) : std::nullopt;
  if (!in)
    return lines.fail_here(
        fmt::format("expected \"input_length\": an integer from 0 to {}", kMaxTraceTokens));
  const Json* output = field("output_length");
  const auto out_tokens = output ? json_integer(*output, 0, kMaxTraceTokens) : std::nullopt;
  if (!out_tokens)
    return lines.fail_here(
        fmt::format("expected \"output_length\": an integer from 0 to {}", kMaxTraceTokens));
  const Json* hash_ids = field("hash_ids");
  if (!hash_ids || !hash_ids->is_array())
    return lines.fail_here("expected \"hash_ids\": a list of integers");

  TraceRow row;
  row.timestamp = from_ms(*ms);
  row.input_tokens = std::max<std::int64_t>(1, *in);
  row.output_tokens = std::max<std::int64_t>(1, *out_tokens);
  row.runs_begin = out.runs.size();
  for (const Json& id : *hash_ids) {
    if (!id.is_number_integer())
      return lines.fail_here(
          fmt::format("\"hash_ids\" holds {}, expected integers only",
                      id.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40)));
    add_id(out, row.runs_begin,
           ids.of(id.is_number_unsigned() ? id.get<std::uint64_t>()
                                          : static_cast<std::uint64_t>(id.get<std::int64_t>())));
  }
  row.runs_end = out.runs.size();
  out.rows.push_back(row);
  return {};
}

}  // namespace

Result<void> read_mooncake(LineSource& lines, Trace& out) {
  DenseIds ids;
  std::string_view line;
  for (;;) {
    auto more = lines.next(line);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object())
      return lines.fail_here(
          "expected one JSON object {\"timestamp\", \"input_length\", "
          "\"output_length\", \"hash_ids\"} per line");
    if (auto ok = read_row(lines, json, ids, out); !ok) return ok;
  }
}

}  // namespace lodestar::sim
