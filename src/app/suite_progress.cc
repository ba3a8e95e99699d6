// SPDX-License-Identifier: Apache-2.0
#include "app/suite_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace lodestar::app {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string span_text(double s) {
  const auto whole = static_cast<long>(s + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

}  // namespace

SuiteProgress::SuiteProgress(std::vector<std::pair<RunKind, std::string>> pending, int jobs,
                             bool quiet)
    : total_(pending.size()), jobs_(std::max(1, jobs)), quiet_(quiet), tty_(isatty(2) != 0) {
  for (auto& [kind, label] : pending) {
    auto& [name, left] = pending_[kind];
    name = std::move(label);
    ++left;
  }
  begin_s_ = drawn_s_ = now_s();
}

void SuiteProgress::learn(RunKind kind, const std::string& label, double wall_s) {
  const std::lock_guard lock(mutex_);
  for (Cost* cost : {&by_kind_[kind], &by_label_[label], &all_}) {
    cost->sum_s += wall_s;
    ++cost->count;
  }
}

void SuiteProgress::done(RunKind kind, const std::string& label, double wall_s) {
  learn(kind, label, wall_s);
  const std::lock_guard lock(mutex_);
  ++done_;
  --pending_[kind].second;
  const double now = now_s();
  if (quiet_ || (now - drawn_s_ < (tty_ ? 0.1 : 10) && done_ < total_)) return;
  drawn_s_ = now;
  draw();
}

// Runs of the same kind are the best guess, then those of the policy elsewhere.
double SuiteProgress::left_s() const {
  double sum = 0;
  for (const auto& [kind, waiting] : pending_) {
    const auto same = by_kind_.find(kind);
    const auto label = by_label_.find(waiting.first);
    const Cost& cost = same != by_kind_.end()     ? same->second
                       : label != by_label_.end() ? label->second
                                                  : all_;
    if (cost.count)
      sum += cost.sum_s / static_cast<double>(cost.count) * static_cast<double>(waiting.second);
  }
  return sum / jobs_;
}

void SuiteProgress::draw() {
  constexpr std::size_t kWidth = 30;
  const std::size_t full = total_ ? done_ * kWidth / total_ : kWidth;
  const std::string bar = std::string(full, '#') + std::string(kWidth - full, '.');
  fmt::print(stderr, "{}[{}] {}/{} runs, {} gone, {} to go{}", tty_ ? "\r\x1b[K" : "", bar, done_,
             total_, span_text(now_s() - begin_s_), span_text(left_s()), tty_ ? "" : "\n");
  std::fflush(stderr);
}

void SuiteProgress::finish() {
  const std::lock_guard lock(mutex_);
  if (quiet_ || !tty_ || total_ == 0) return;
  draw();
  fmt::print(stderr, "\n");
}

}  // namespace lodestar::app
