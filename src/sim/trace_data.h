// SPDX-License-Identifier: Apache-2.0
// A trace in memory, the same for every file format: rows with their block ids
// as runs. Readers check everything; what comes out needs no further checks.
//
// Formats (one reader each; all take plain or gzip-compressed files):
//   mooncake       JSON lines {"timestamp": ms, "input_length", "output_length",
//                  "hash_ids": [...]}; further fields are ignored.
//   azure          CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens
//                  in any order; no block ids, hence no reuse.
//   kvcachetester  one session per line, delta-coded: {id, block_size, tool_tokens,
//                  system_tokens, req: [[t, in, out, think_time, api_time, model,
//                  subagent_depth, base_request (-1: none), blocks_kept_from_base,
//                  [[first_id, run_length], ...]], ...]}, times in seconds.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace lodestar::sim {

class LineSource;

enum class TraceFormat { kMooncake, kAzure, kKvCacheTester };

// Ids first, first + 1, ..., each one block.
struct IdRun {
  std::uint64_t first = 0;
  std::int64_t count = 0;
};

struct TraceRow {
  TimeNs timestamp = 0;            // since the trace's (kvcachetester: the session's) start
  std::int64_t input_tokens = 1;   // >= 1
  std::int64_t output_tokens = 1;  // >= 1: a recorded 0 is replayed as 1
  std::size_t runs_begin = 0, runs_end = 0;  // in Trace::runs
  // kvcachetester only.
  DurationNs think = -1;  // after the previous request of the same agent; -1: not recorded
  DurationNs api_time = 0;
  std::uint32_t served_model = 0;  // in Trace::served_models
  std::uint32_t depth = 0;         // 0: the session's main agent, > 0: sub-agents
};

struct TraceSession {
  std::uint64_t id_hash = 0;
  std::int64_t common_tokens = 0;  // tools and system prompt at the head of the session
  std::size_t rows_begin = 0, rows_end = 0;
};

struct Trace {
  TraceFormat format = TraceFormat::kMooncake;
  std::int64_t block_tokens = 0;  // what the file says; 0: it does not
  std::vector<TraceRow> rows;     // in file order; of open-loop formats in time order
  std::vector<IdRun> runs;
  std::vector<TraceSession> sessions;  // kvcachetester only, they partition rows
  std::vector<std::string> served_models;
};

// Lengths above are refused as damage, not replayed.
inline constexpr std::int64_t kMaxTraceTokens = 100'000'000;
inline constexpr DurationNs kMaxTraceSpan = 1'000 * 86'400 * kSecond;

// Errors: cannot be read; a malformed row ("file:line: what is wrong"); no rows.
Result<std::shared_ptr<const Trace>> load_trace(const std::string& path, TraceFormat format);
Result<std::shared_ptr<const Trace>> parse_trace(std::string_view text, const std::string& name,
                                                 TraceFormat format);

// The readers; each fills `out` from the lines.
Result<void> read_mooncake(LineSource& lines, Trace& out);
Result<void> read_azure(LineSource& lines, Trace& out);
Result<void> read_kvcachetester(LineSource& lines, Trace& out);

// "2023-11-16 18:15:46.6805900" ('T' may stand for the blank; 0-9 decimals; "Z",
// "+hh:mm" or nothing after) as ns since 1970 UTC. Errors say what is expected.
Result<TimeNs> parse_timestamp(std::string_view text);

}  // namespace lodestar::sim
