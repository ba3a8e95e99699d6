// SPDX-License-Identifier: Apache-2.0
// What the policies of a running router have learned, as a file that survives it
// (format: learn/forecast_file.h). The router takes it up by StateLoaded events, which
// carry the bytes: a decision log needs no other file to be replayed.
//
// A file that cannot be used never stops a router: it is moved to PATH.bad, logged and
// counted, and learning starts cold.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "routing/router.h"

namespace lodestar::app {

// All learned state of a router; empty when there is none. On the brain's thread.
std::string encode_learned(const Router& router);
// One event per policy and served model. Errors say what is wrong with the bytes.
Result<std::vector<StateLoaded>> decode_learned(std::string_view bytes);

class StateFile {
 public:
  explicit StateFile(std::string path) : path_(std::move(path)) {}

  // The events that bring the file's state back; none when there is no file, or a bad one.
  std::vector<StateLoaded> load();
  // Atomic: the file is the old one or the new one, on the disk too. Any thread. Errors
  // are logged and counted. After the `last` one none is written: an older state that is
  // still on its way must not replace it.
  void save(const std::string& bytes, bool last = false);

  void append_metrics(std::string& page, TimeNs now) const;

 private:
  Result<void> write(const std::string& bytes) const;

  std::string path_;
  std::mutex writing_;
  bool closed_ = false;  // guarded
  std::atomic<std::uint64_t> loaded_{0}, refused_{0}, saved_{0}, failed_{0};
  std::atomic<TimeNs> saved_at_{kNever};
};

}  // namespace lodestar::app
