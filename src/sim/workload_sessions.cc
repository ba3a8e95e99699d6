// SPDX-License-Identifier: Apache-2.0
// Closed-loop replay of kvcachetester sessions. Within a session:
//  - the main agent's next request comes think_time after the previous one ended
//    (the recorded think time contains the run of the sub-agents between them);
//  - a sub-agent starts when the main agent's request before it ends, and goes on
//    by its own think times; several sub-agents between two requests of the main
//    agent run side by side;
//  - the main agent waits for its sub-agents too, plus what remained of its think
//    time after they ended in the recording.
#include <algorithm>

#include "sim/workload_build.h"

namespace lodestar::sim {
namespace {

// One agent's requests so far, as rows of the trace and indices of the plan.
struct Agent {
  std::uint32_t first = 0, last = 0;  // plan indices
  const TraceRow* last_row = nullptr;
};

class SessionPlanner {
 public:
  SessionPlanner(const WorkloadSpec& spec, const Trace& trace, PlanBuilder& builder)
      : options_(*spec.trace),
        trace_(trace),
        builder_(builder),
        unit_(options_.replay_block_tokens.value_or(trace.block_tokens)) {}

  // `number` is the session's place in the run: its streams are its own.
  void add(const TraceSession& session, std::uint64_t number, TimeNs start) {
    slot_ = builder_.new_session();
    session_stream_ = stream_id("session", session.id_hash, number);
    find_common(session);
    main_ = {};
    helpers_.clear();
    for (std::size_t i = session.rows_begin; i < session.rows_end; ++i)
      add_row(trace_.rows[i], start);
  }

 private:
  // Ids are local to a session; what sessions share is the head of the first
  // prompt, tools and system prompt, which is the same for one served model.
  void find_common(const TraceSession& session) {
    const TraceRow& first = trace_.rows[session.rows_begin];
    common_stream_ = stream_id("common", first.served_model);
    common_from_ = common_tokens_ = 0;
    if (first.runs_begin == first.runs_end) return;
    const IdRun& run = trace_.runs[first.runs_begin];
    const std::int64_t blocks = std::min(run.count, session.common_tokens / trace_.block_tokens);
    common_from_ = run.first * static_cast<std::uint64_t>(unit_);
    common_tokens_ = blocks * unit_;
  }

  void add_row(const TraceRow& row, TimeNs start) {
    PlannedRequest& r = builder_.open(start);
    r.session_slot = slot_;
    r.session = session_stream_;
    r.output_tokens = builder_.output_tokens(row.output_tokens, start);
    r.output.stream = stream_id("output", builder_.size());
    add_content(row);
    const std::uint32_t index = builder_.close();
    if (row.depth == 0 || !main_.last_row)
      add_to_main(row, index);
    else
      add_to_helper(row, index);
  }

  void add_content(const TraceRow& row) {
    std::int64_t ids = 0;
    for (std::size_t k = row.runs_begin; k < row.runs_end; ++k) ids += trace_.runs[k].count;
    std::int64_t left =
        options_.replay_block_tokens ? std::max<std::int64_t>(1, ids * unit_) : row.input_tokens;
    if (options_.input_cap) left = std::min(left, *options_.input_cap);
    for (std::size_t k = row.runs_begin; k < row.runs_end && left > 0; ++k) {
      const IdRun& run = trace_.runs[k];
      TokenSpan span{session_stream_, run.first * static_cast<std::uint64_t>(unit_),
                     std::min(left, run.count * unit_)};
      left -= span.tokens;
      if (k == row.runs_begin && span.first == common_from_) {
        const std::int64_t shared = std::min(common_tokens_, span.tokens);
        builder_.span({common_stream_, 0, shared});
        span.first += static_cast<std::uint64_t>(shared);
        span.tokens -= shared;
      }
      builder_.span(span);
    }
    builder_.span({stream_id("unshared", builder_.size()), 0, left});
  }

  DurationNs scaled(DurationNs ns) const {
    return static_cast<DurationNs>(static_cast<double>(ns) * options_.time_scale);
  }

  // Pause between two requests of one agent. Where none is recorded, it is what
  // the recorded times leave.
  static DurationNs think(const TraceRow& row, const TraceRow& before) {
    if (row.think >= 0) return row.think;
    return std::max<DurationNs>(0, row.timestamp - before.timestamp - before.api_time);
  }

  void add_to_main(const TraceRow& row, std::uint32_t index) {
    if (main_.last_row != nullptr) {
      const DurationNs pause = think(row, *main_.last_row);
      builder_.wait(main_.last, index, helpers_.empty() ? scaled(pause) : 0);
      for (const Agent& helper : helpers_) {
        // The sub-agent's clock starts with it, when the main agent's request ended.
        const DurationNs ran = helper.last_row->timestamp + helper.last_row->api_time;
        builder_.wait(helper.last, index, scaled(std::max<DurationNs>(0, pause - ran)));
      }
    }
    main_ = {.first = index, .last = index, .last_row = &row};
    helpers_.clear();
  }

  void add_to_helper(const TraceRow& row, std::uint32_t index) {
    const bool starts = helpers_.empty() || row.timestamp < helpers_.back().last_row->timestamp;
    if (starts) {
      builder_.wait(main_.last, index, 0);
      helpers_.push_back({.first = index, .last = index, .last_row = &row});
      return;
    }
    Agent& helper = helpers_.back();
    builder_.wait(helper.last, index, scaled(think(row, *helper.last_row)));
    helper.last = index;
    helper.last_row = &row;
  }

  const TraceSpec& options_;
  const Trace& trace_;
  PlanBuilder& builder_;
  std::int64_t unit_;
  std::uint32_t slot_ = 0;
  std::uint64_t session_stream_ = 0, common_stream_ = 0, common_from_ = 0;
  std::int64_t common_tokens_ = 0;
  Agent main_;
  std::vector<Agent> helpers_;  // sub-agents since the main agent's last request
};

}  // namespace

Result<void> plan_sessions(const WorkloadSpec& spec, const Trace& trace, std::uint64_t seed,
                           PlanBuilder& builder) {
  const TraceSpec& options = *spec.trace;
  if (options.trace_block_tokens && *options.trace_block_tokens != trace.block_tokens)
    return fail(ErrorCode::kInvalidArgument,
                "trace.trace_block_tokens is " + std::to_string(*options.trace_block_tokens) +
                    ", but the trace's blocks are of " + std::to_string(trace.block_tokens) +
                    " tokens; leave the key out");
  const std::size_t sessions = trace.sessions.size();
  const std::size_t start = start_row(seed, options.start_row, sessions);
  std::size_t count = sessions * static_cast<std::size_t>(options.repeat);
  // Each session brings one request at least, so no more of them can be needed.
  if (spec.max_requests) count = std::min(count, static_cast<std::size_t>(*spec.max_requests));
  const std::vector<TimeNs> recorded(count, 0);  // every session's own clock starts at 0
  const std::vector<TimeNs> times = draw_arrivals(spec, seed, count, recorded);
  SessionPlanner planner(spec, trace, builder);
  for (std::size_t i = 0; i < times.size(); ++i)
    planner.add(trace.sessions[(start + i) % sessions], i / sessions, times[i]);
  return {};
}

}  // namespace lodestar::sim
