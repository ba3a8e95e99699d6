// SPDX-License-Identifier: Apache-2.0
#include "telemetry/journal.h"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <utility>

#include "telemetry/journal_text.h"

namespace lodestar::telemetry {
namespace {

constexpr std::size_t kMaxPending = 32u << 20;
constexpr auto kWritePeriod = std::chrono::milliseconds(200);
constexpr std::size_t kWriteBytes = 256u << 10;  // or sooner, when so much waits

}  // namespace

Journal::Journal(JournalOptions options, RouterConfig config)
    : options_(std::move(options)), config_(std::move(config)) {}

Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options, const RouterConfig& config) {
  std::unique_ptr<Journal> journal(new Journal(std::move(options), config));
  std::error_code ec;
  if (std::filesystem::exists(journal->options_.path, ec)) journal->rotate();
  if (!journal->open_file(0))
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("journal: cannot write {}: {}", journal->options_.path, std::strerror(errno)));
  journal->writer_ = std::thread([j = journal.get()] { j->loop(); });
  return journal;
}

Journal::~Journal() { close(); }

bool Journal::open_file(std::uint64_t next) {
  file_ = std::fopen(options_.path.c_str(), "wb");
  if (file_ == nullptr) return false;
  const std::string header = journal_header(config_, next);
  file_bytes_ = header.size();
  file_empty_ = true;
  if (std::fwrite(header.data(), 1, header.size(), file_) == header.size()) return true;
  std::fclose(std::exchange(file_, nullptr));
  return false;
}

// path -> path.1 -> path.2 ...; the oldest falls off the end.
void Journal::rotate() {
  if (file_ != nullptr) std::fclose(std::exchange(file_, nullptr));
  const auto name = [&](int i) {
    return i == 0 ? options_.path : fmt::format("{}.{}", options_.path, i);
  };
  std::error_code ec;
  for (int i = options_.files - 1; i > 0; --i) std::filesystem::rename(name(i - 1), name(i), ec);
  if (options_.files <= 1) std::filesystem::remove(options_.path, ec);
}

void Journal::record(TimeNs now, const Event& event, const Effects& effects) {
  line_.clear();
  const std::uint64_t number = next_++;
  fmt::format_to(std::back_inserter(line_), "{{\"n\":{},\"t\":{},", number, now);
  append_event(line_, event);
  line_ += ",\"x\":";
  append_effects(line_, effects);
  line_ += "}\n";
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || pending_.size() + line_.size() > kMaxPending) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (pending_.empty()) pending_first_ = number;
    const bool little = pending_.size() < kWriteBytes;
    pending_ += line_;
    wake = little && pending_.size() >= kWriteBytes;
  }
  if (wake) changed_.notify_one();
}

void Journal::loop() {
  std::string lines;
  while (true) {
    std::uint64_t first = 0;
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kWritePeriod,
                        [this] { return closing_ || pending_.size() >= kWriteBytes; });
      lines.clear();
      std::swap(lines, pending_);
      first = pending_first_;
      last = closing_;
    }
    if (!lines.empty()) write(lines, first);
    if (last) return;
  }
}

void Journal::write(const std::string& lines, std::uint64_t first) {
  if (file_ != nullptr && !file_empty_ && file_bytes_ + lines.size() > options_.max_bytes) rotate();
  if (file_ == nullptr && !open_file(first)) {
    write_errors_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const bool written = std::fwrite(lines.data(), 1, lines.size(), file_) == lines.size();
  if (!written || std::fflush(file_) != 0) {
    // A full disk: the numbers will show the gap. The next batch tries again.
    write_errors_.fetch_add(1, std::memory_order_relaxed);
    std::clearerr(file_);
  }
  file_bytes_ += lines.size();
  file_empty_ = false;
}

void Journal::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
  if (file_ != nullptr) std::fclose(std::exchange(file_, nullptr));
}

}  // namespace lodestar::telemetry
