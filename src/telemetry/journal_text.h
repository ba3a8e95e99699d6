// SPDX-License-Identifier: Apache-2.0
// Router events and effects as JSON, and back. Numbers keep every bit, so that a log
// replays exactly. No prompt text exists in either; hashes are keyed.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "routing/event.h"
#include "routing/router.h"

namespace lodestar::telemetry {

inline constexpr int kJournalVersion = 2;

void append_event(std::string& out, const Event& event);     // fields, without braces
void append_effects(std::string& out, const Effects& effects);  // a JSON array

// The first line of a journal file: what a router needs to do the same again.
// `next`: the number of the file's first record.
std::string journal_header(const RouterConfig& config, std::uint64_t next);
struct JournalHeader {
  RouterConfig config;
  std::uint64_t next = 0;
};
Result<JournalHeader> parse_journal_header(std::string_view line);

struct JournalRecord {
  std::uint64_t number = 0;
  TimeNs at = 0;
  Event event;
  bool published_null = false;  // of PredictorPublished: the training had failed
  std::string effects;          // the recorded effects, as append_effects wrote them
};
// Errors (kInvalidArgument) say what is wrong with the line.
Result<JournalRecord> parse_journal_record(std::string_view line);

}  // namespace lodestar::telemetry
