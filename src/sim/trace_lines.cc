// SPDX-License-Identifier: Apache-2.0
#include "sim/trace_lines.h"

#include <fmt/format.h>
#include <zlib.h>

namespace lodestar::sim {
namespace {

constexpr std::size_t kChunkBytes = 1u << 18;

}  // namespace

Result<LineSource> LineSource::open(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr)
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: cannot be opened; check the path (relative files are looked up "
                            "beside the workload file) and its permissions",
                            path));
  gzbuffer(file, static_cast<unsigned>(kChunkBytes));
  LineSource source;
  source.name_ = path;
  source.file_ = std::shared_ptr<void>(file, [](void* f) { gzclose(static_cast<gzFile>(f)); });
  return source;
}

LineSource LineSource::of_text(std::string_view text, std::string name) {
  LineSource source;
  source.name_ = std::move(name);
  source.text_ = text;
  return source;
}

Result<bool> LineSource::fill() {
  if (!file_ || at_end_) return false;
  buffer_.erase(0, position_);
  position_ = 0;
  if (buffer_.size() > kMaxLineBytes) {
    ++line_number_;
    return fail_here(fmt::format("line longer than {} bytes", kMaxLineBytes));
  }
  const std::size_t old = buffer_.size();
  buffer_.resize(old + kChunkBytes);
  auto* file = static_cast<gzFile>(file_.get());
  const int got = gzread(file, buffer_.data() + old, static_cast<unsigned>(kChunkBytes));
  int code = Z_OK;
  const char* why = gzerror(file, &code);
  if (got < 0 || (got == 0 && code != Z_OK && code != Z_STREAM_END)) {
    ++line_number_;
    return fail_here(fmt::format("cannot be read further: {}", why));
  }
  buffer_.resize(old + static_cast<std::size_t>(got));
  at_end_ = got == 0;
  return got > 0;
}

Result<bool> LineSource::next(std::string_view& line) {
  std::size_t scanned = 0;  // bytes after position_ known to hold no line end
  for (;;) {
    const std::string_view rest =
        file_ ? std::string_view(buffer_).substr(position_) : text_.substr(position_);
    std::size_t end = rest.find('\n', scanned);
    scanned = rest.size();
    bool last = false;
    if (end == std::string_view::npos) {
      auto more = fill();
      if (!more) return std::unexpected(more.error());
      if (*more) continue;
      if (rest.empty()) return false;
      end = rest.size();
      last = true;
    }
    const std::string_view current =
        file_ ? std::string_view(buffer_).substr(position_) : text_.substr(position_);
    line = current.substr(0, end);
    position_ += end + (last ? 0 : 1);
    ++line_number_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line_number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);  // UTF-8 BOM
    return true;
  }
}

std::unexpected<Error> LineSource::fail_here(std::string_view message) const {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}", name_, line_number_, message));
}

}  // namespace lodestar::sim
