// SPDX-License-Identifier: Apache-2.0
// The decision log: every event with its effects, one JSON line each, in files of a
// bounded size and number. Each file starts with the router's configuration; record
// numbers make a gap visible. No prompt text, ever: keyed hashes and counts.
//
// record() runs on the brain and only appends to memory; a thread of the journal's
// own writes. When the disk cannot follow, records are dropped and counted.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/result.h"
#include "routing/router.h"

namespace lodestar::telemetry {

struct JournalOptions {
  std::string path;                       // older files: path.1, path.2, ...
  std::uint64_t max_bytes = 256u << 20;   // a file beyond it is rotated
  int files = 4;                          // kept, the current one included
};

class Journal final : public EventSink {
 public:
  // A file that is there already is rotated away, not overwritten. Errors: it
  // cannot be written.
  static Result<std::unique_ptr<Journal>> open(JournalOptions options, const RouterConfig& config);
  ~Journal() override;  // close()

  void record(TimeNs now, const Event& event, const Effects& effects) override;
  // Writes what is left. Nothing is recorded afterwards.
  void close();

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::uint64_t write_errors() const { return write_errors_.load(std::memory_order_relaxed); }

 private:
  Journal(JournalOptions options, RouterConfig config);
  bool open_file(std::uint64_t next);
  void rotate();
  void loop();
  void write(const std::string& lines, std::uint64_t first);

  JournalOptions options_;
  RouterConfig config_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string pending_;             // whole lines; guarded
  std::uint64_t pending_first_ = 0; // number of the first of them; guarded
  bool closing_ = false;            // guarded
  std::uint64_t next_ = 0;          // the brain's
  std::string line_;                // the brain's scratch
  std::FILE* file_ = nullptr;       // the writer's
  std::uint64_t file_bytes_ = 0;    // the writer's
  bool file_empty_ = true;          // no record in it yet; the writer's
  std::atomic<std::uint64_t> dropped_{0}, write_errors_{0};
  std::thread writer_;
};

}  // namespace lodestar::telemetry
