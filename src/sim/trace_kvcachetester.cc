// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "sim/trace_data.h"
#include "sim/trace_json.h"
#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

using Json = nlohmann::json;
constexpr double kMaxSeconds = 1e8;
constexpr std::size_t kMaxRuns = 50'000'000;  // a delta-coded text cannot expand beyond

class SessionReader {
 public:
  SessionReader(const LineSource& lines, Trace& out) : lines_(lines), out_(out) {}

  Result<void> read(const Json& json) {
    const auto integer = [&](const char* name, std::int64_t low) -> std::optional<std::int64_t> {
      const auto found = json.find(name);
      if (found == json.end()) return {};
      return json_integer(*found, low, kMaxTraceTokens);
    };
    const auto block = integer("block_size", 1);
    const auto tools = integer("tool_tokens", 0);
    const auto system = integer("system_tokens", 0);
    const auto requests = json.find("req");
    if (!block || !tools || !system)
      return lines_.fail_here(
          "expected integers \"block_size\" >= 1, \"tool_tokens\" >= 0, \"system_tokens\" >= 0");
    if (requests == json.end() || !requests->is_array() || requests->empty())
      return lines_.fail_here("expected \"req\": a list of requests");
    if (out_.block_tokens != 0 && out_.block_tokens != *block)
      return lines_.fail_here(fmt::format("block_size {} differs from {} of the sessions before",
                                          *block, out_.block_tokens));
    out_.block_tokens = *block;
    TraceSession session;
    const auto id = json.find("id");
    session.id_hash = id != json.end() && id->is_string()
                          ? hash_string(id->get_ref<const std::string&>())
                          : mix64(out_.sessions.size() + 1);
    session.common_tokens = *tools + *system;
    first_row_ = session.rows_begin = out_.rows.size();
    for (const Json& request : *requests)
      if (auto ok = read_request(request); !ok) return ok;
    session.rows_end = out_.rows.size();
    out_.sessions.push_back(session);
    return {};
  }

 private:
  std::unexpected<Error> bad(std::string_view what) const {
    return lines_.fail_here(fmt::format("request {}: {}", out_.rows.size() - first_row_, what));
  }

  Result<void> read_request(const Json& r) {
    if (!r.is_array() || r.size() != 10)
      return bad(
          "expected a list of 10: t, in, out, think_time, api_time, model, depth, base, "
          "blocks_kept, runs");
    TraceRow row;
    const auto t = json_number(r[0], 0, kMaxSeconds);
    const auto in = json_integer(r[1], 0, kMaxTraceTokens);
    const auto generated = json_integer(r[2], 0, kMaxTraceTokens);
    const auto think =
        r[3].is_null() ? std::optional<double>(-1) : json_number(r[3], 0, kMaxSeconds);
    const auto api = r[4].is_null() ? std::optional<double>(0) : json_number(r[4], 0, kMaxSeconds);
    if (!t || !in || !generated)
      return bad("t must be seconds >= 0, in and out must be token counts");
    if (!think || !api) return bad("think_time and api_time must be seconds >= 0 or null");
    if (!r[5].is_string()) return bad("the sixth entry must be the model's name");
    const auto depth = json_integer(r[6], 0, 1000);
    if (!depth) return bad("the sub-agent depth must be an integer from 0 to 1000");
    row.timestamp = from_s(*t);
    row.input_tokens = std::max<std::int64_t>(1, *in);
    row.output_tokens = std::max<std::int64_t>(1, *generated);
    row.think = *think < 0 ? -1 : from_s(*think);
    row.api_time = from_s(*api);
    row.served_model = served_model(r[5].get_ref<const std::string&>());
    row.depth = static_cast<std::uint32_t>(*depth);
    return read_blocks(r, row);
  }

  Result<void> read_blocks(const Json& r, TraceRow& row) {
    const auto done = static_cast<std::int64_t>(out_.rows.size() - first_row_);
    const auto base = json_integer(r[7], -1, done - 1);
    if (!base) return bad(fmt::format("the base request must be from -1 to {}", done - 1));
    const auto kept = json_integer(r[8], 0, kMaxTraceTokens);
    if (!kept) return bad("the number of blocks kept must be an integer >= 0");
    row.runs_begin = out_.runs.size();
    std::int64_t blocks = 0;
    if (*base >= 0) {
      const TraceRow& from = out_.rows[first_row_ + static_cast<std::size_t>(*base)];
      for (std::size_t i = from.runs_begin; i < from.runs_end && blocks < *kept; ++i) {
        const IdRun run = out_.runs[i];
        add({run.first, std::min(run.count, *kept - blocks)}, row.runs_begin, blocks);
      }
    }
    if (blocks != *kept)
      return bad(fmt::format("keeps {} blocks of its base, which has {}", *kept, blocks));
    if (!r[9].is_array()) return bad("the runs must be a list of [first id, length]");
    for (const Json& item : r[9]) {
      const bool pair = item.is_array() && item.size() == 2;
      const auto first = pair ? json_integer(item[0], 0, std::int64_t{1} << 40) : std::nullopt;
      const auto length = pair ? json_integer(item[1], 1, kMaxTraceTokens) : std::nullopt;
      if (!first || !length) return bad("a run must be [first id >= 0, length >= 1]");
      add({static_cast<std::uint64_t>(*first), *length}, row.runs_begin, blocks);
    }
    if (out_.runs.size() > kMaxRuns) return bad("the trace holds too many runs of blocks");
    if (blocks > row.input_tokens / out_.block_tokens)
      return bad(fmt::format("{} blocks of {} tokens are more than its {} input tokens", blocks,
                             out_.block_tokens, row.input_tokens));
    row.runs_end = out_.runs.size();
    out_.rows.push_back(row);
    return {};
  }

  void add(IdRun run, std::size_t begin, std::int64_t& blocks) {
    if (run.count <= 0) return;
    blocks += run.count;
    if (out_.runs.size() > begin) {
      IdRun& last = out_.runs.back();
      if (last.first + static_cast<std::uint64_t>(last.count) == run.first) {
        last.count += run.count;
        return;
      }
    }
    out_.runs.push_back(run);
  }

  std::uint32_t served_model(const std::string& name) {
    auto& names = out_.served_models;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) names.push_back(name);
    return static_cast<std::uint32_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }

  const LineSource& lines_;
  Trace& out_;
  std::size_t first_row_ = 0;
};

}  // namespace

Result<void> read_kvcachetester(LineSource& lines, Trace& out) {
  std::string_view line;
  for (;;) {
    auto more = lines.next(line);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object())
      return lines.fail_here(
          "expected one JSON object {\"id\", \"block_size\", \"tool_tokens\", "
          "\"system_tokens\", \"req\"} per line");
    if (auto ok = SessionReader(lines, out).read(json); !ok) return ok;
  }
}

}  // namespace lodestar::sim
