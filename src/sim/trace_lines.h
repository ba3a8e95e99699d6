// SPDX-License-Identifier: Apache-2.0
// LineSource: the lines of a text, from memory or streamed from a file that may
// be gzip-compressed (told by its content, not its name). Line ends "\n" and
// "\r\n"; a last line without end counts.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lodestar::sim {

class LineSource {
 public:
  static constexpr std::size_t kMaxLineBytes = std::size_t{64} << 20;

  // Errors: cannot be opened.
  static Result<LineSource> open(const std::string& path);
  // `text` must outlive the source; `name` stands for the file in errors.
  static LineSource of_text(std::string_view text, std::string name);

  // True and the next line (valid until the next call); false at the end.
  // Errors: damaged compressed data, a line over kMaxLineBytes.
  Result<bool> next(std::string_view& line);

  const std::string& name() const { return name_; }
  std::size_t line_number() const { return line_number_; }  // of the last line, from 1
  // "name:line: message".
  std::unexpected<Error> fail_here(std::string_view message) const;

 private:
  LineSource() = default;
  Result<bool> fill();  // reads more of the file; false at its end

  std::string name_;
  std::shared_ptr<void> file_;  // a gzFile; null for a text in memory
  std::string buffer_;
  std::size_t position_ = 0;
  std::string_view text_;
  std::size_t line_number_ = 0;
  bool at_end_ = false;
};

}  // namespace lodestar::sim
