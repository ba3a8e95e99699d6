// SPDX-License-Identifier: Apache-2.0
#include "app/learned_state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "learn/forecast_file.h"
#include "net/runtime.h"
#include "policies/lodestar_policy.h"
#include "telemetry/metrics.h"

namespace lodestar::app {
namespace {

constexpr std::uintmax_t kMostBytes = 256u << 20;

std::unexpected<Error> failed(const char* what, const std::string& path) {
  return fail(ErrorCode::kInternal, fmt::format("{} {}: {}", what, path, std::strerror(errno)));
}

// All of it, and on the disk; or an error with nothing promised about the file.
Result<void> write_through(const std::string& path, const std::string& bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return failed("cannot write", path);
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ::ssize_t n = ::write(file, bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    at += static_cast<std::size_t>(n);
  }
  const bool whole = at == bytes.size() && ::fsync(file) == 0;
  const int why = errno;
  ::close(file);
  errno = why;
  if (!whole) return failed("cannot write", path);
  return {};
}

// "" for a file that is not there.
Result<std::string> read_whole(const std::string& path) {
  std::error_code ec;
  const auto status = std::filesystem::status(path, ec);
  if (status.type() == std::filesystem::file_type::not_found) return std::string();
  if (!std::filesystem::is_regular_file(status))
    return fail(ErrorCode::kInvalidArgument, "it is not a file");
  if (const auto size = std::filesystem::file_size(path, ec); ec || size > kMostBytes)
    return fail(ErrorCode::kInvalidArgument, fmt::format("it has {} bytes", size));
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return fail(ErrorCode::kInvalidArgument, "it cannot be read");
  if (bytes.empty()) return fail(ErrorCode::kInvalidArgument, "it is empty");
  return bytes;
}

}  // namespace

std::string encode_learned(const Router& router) {
  std::vector<learn::ForecastState> states;
  for (Router::LearnedState& s : router.learned())
    if (const auto* ours = dynamic_cast<const LodestarPredictor*>(s.predictor.get()))
      states.push_back({std::move(s.policy), std::move(s.served_model), ours->snapshot});
  return states.empty() ? std::string() : learn::encode_forecasts(states);
}

Result<std::vector<StateLoaded>> decode_learned(std::string_view bytes) {
  auto states = learn::decode_forecasts(bytes);
  if (!states) return std::unexpected(states.error());
  std::vector<StateLoaded> events;
  for (learn::ForecastState& s : *states) {
    StateLoaded e;
    e.bytes = learn::encode_forecasts({&s, 1});
    e.policy = std::move(s.policy);
    e.served_model = std::move(s.served_model);
    e.predictor = std::make_shared<LodestarPredictor>(std::move(s.snapshot));
    events.push_back(std::move(e));
  }
  return events;
}

std::vector<StateLoaded> StateFile::load() {
  auto bytes = read_whole(path_);
  if (bytes && bytes->empty()) {
    log_info("learning", fmt::format("no learned state yet file={}", path_));
    return {};
  }
  Result<std::vector<StateLoaded>> states =
      bytes ? decode_learned(*bytes) : std::unexpected(bytes.error());
  if (states) {
    loaded_ += states->size();
    log_info("learning", fmt::format("loaded states={} bytes={} file={}", states->size(),
                                     bytes->size(), path_));
    return std::move(*states);
  }
  ++refused_;
  std::error_code ec;
  std::filesystem::rename(path_, path_ + ".bad", ec);
  log_error("learning",
            fmt::format("{}; learning starts cold file={} {}", states.error().message, path_,
                        ec ? "which could not be moved away: " + ec.message()
                           : "kept as " + path_ + ".bad"));
  return {};
}

Result<void> StateFile::write(const std::string& bytes) const {
  const std::string fresh = path_ + ".tmp";
  if (auto ok = write_through(fresh, bytes); !ok) return ok;
  if (std::rename(fresh.c_str(), path_.c_str()) != 0) return failed("cannot rename to", path_);
  // The new name survives a crash of the machine only when its folder is written too.
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  const int handle = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (handle < 0) return failed("cannot open", folder);
  const bool synced = ::fsync(handle) == 0;
  ::close(handle);
  if (!synced) return failed("cannot write", folder);
  return {};
}

void StateFile::save(const std::string& bytes, bool last) {
  const std::lock_guard lock(writing_);
  if (std::exchange(closed_, closed_ || last) || bytes.empty()) return;
  if (auto ok = write(bytes); !ok) {
    ++failed_;
    log_error("learning", ok.error().message);
    return;
  }
  ++saved_;
  saved_at_ = net::now_ns();
}

void StateFile::append_metrics(std::string& page, TimeNs now) const {
  telemetry::TextWriter w(page);
  w.counter("lodestar_learn_state_loaded_total", "Learned states taken from the state file.",
            loaded_);
  w.counter("lodestar_learn_state_refused_total",
            "State files that could not be used: moved away, learning started cold.", refused_);
  w.counter("lodestar_learn_state_saves_total", "Times that the state file was written.", saved_);
  w.counter("lodestar_learn_state_save_failures_total",
            "Times that the state file could not be written.", failed_);
  if (saved_at_ != kNever)
    w.gauge("lodestar_learn_state_save_age_seconds", "Since the state file was written.",
            to_s(now - saved_at_));
}

}  // namespace lodestar::app
