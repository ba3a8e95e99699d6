// SPDX-License-Identifier: Apache-2.0
// The suite's progress bar: one line on the terminal, rewritten in place, or a
// plain line every ten seconds where standard error is a file. Thread-safe.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace lodestar::app {

// What kind of run costs how long: (point, policy index).
using RunKind = std::pair<std::size_t, std::size_t>;

class SuiteProgress {
 public:
  // `labels`: policy label by kind, for kinds that have not run yet.
  SuiteProgress(std::vector<std::pair<RunKind, std::string>> pending, int jobs, bool quiet);

  // A run that is known already tells how long its like will take.
  void learn(RunKind kind, const std::string& label, double wall_s);
  void done(RunKind kind, const std::string& label, double wall_s);
  void finish();  // leaves the terminal with a clean line

 private:
  struct Cost {
    double sum_s = 0;
    std::size_t count = 0;
  };
  double left_s() const;
  void draw();

  mutable std::mutex mutex_;
  std::map<RunKind, std::pair<std::string, std::size_t>> pending_;  // label, runs left
  std::map<RunKind, Cost> by_kind_;
  std::map<std::string, Cost> by_label_;
  Cost all_;
  std::size_t total_, done_ = 0;
  int jobs_;
  bool quiet_, tty_;
  double begin_s_ = 0, drawn_s_ = 0;
};

}  // namespace lodestar::app
