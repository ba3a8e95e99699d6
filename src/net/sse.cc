// SPDX-License-Identifier: Apache-2.0
#include "net/sse.h"

#include <algorithm>
#include <cstring>

namespace lodestar::net {

void SseScanner::feed(std::string_view bytes) {
  input_ = bytes;
  newline_ = 0;
}

bool SseScanner::at_boundary() const {
  const bool in_event = data_lines_ > 0 && !clear_next_;
  return !in_event && !line_open_ && !overflow_ && input_.empty() && bom_ % 3 == 0;
}

// Skips a byte order mark at the start of the stream, which may come cut in
// pieces. True when the start has been dealt with.
bool SseScanner::skip_bom() {
  static constexpr char kMark[] = "\xEF\xBB\xBF";
  while (bom_ < 3) {
    if (input_.empty()) return false;
    if (input_.front() != kMark[bom_]) {
      // Not a mark after all: what was swallowed begins the first line.
      if (bom_ > 0) {
        line_open_ = true;
        hold(std::string_view(kMark, bom_));
      }
      bom_ = 3;
      break;
    }
    input_.remove_prefix(1);
    ++bom_;
  }
  return true;
}

// Keeps a piece of an unfinished line, unless its event is over the limit.
void SseScanner::hold(std::string_view part) {
  event_bytes_ += part.size();
  if (event_bytes_ > limit_) overflow_ = true;
  if (overflow_) {
    line_.clear();
    return;
  }
  line_ += part;
}

// Takes the next complete line from the input (or joins it with what was held).
// False: the input is used up.
bool SseScanner::take_line(std::string_view& line) {
  if (skip_lf_ && !input_.empty()) {
    skip_lf_ = false;
    if (input_.front() == '\n') {
      input_.remove_prefix(1);
      if (newline_ > 0) --newline_;
    }
  }
  if (input_.empty()) return false;
  // newline_ remembers how far no LF was found, so that a stream of CR-ended
  // lines is not searched again and again.
  const void* lf = nullptr;
  if (newline_ < input_.size()) {
    lf = std::memchr(input_.data() + newline_, '\n', input_.size() - newline_);
  }
  const std::size_t lf_at =
      lf ? static_cast<std::size_t>(static_cast<const char*>(lf) - input_.data()) : input_.size();
  newline_ = lf_at;
  const void* cr = std::memchr(input_.data(), '\r', lf_at);
  const std::size_t end =
      cr ? static_cast<std::size_t>(static_cast<const char*>(cr) - input_.data()) : lf_at;
  if (end == input_.size()) {
    line_open_ = true;
    hold(input_);
    input_ = {};
    newline_ = 0;
    return false;
  }
  if (line_open_) {
    // May be a blank line only if nothing of it came before.
    hold(input_.substr(0, end));
    line = line_;
  } else {
    line = input_.substr(0, end);
    event_bytes_ += end;
    if (event_bytes_ > limit_) overflow_ = true;
  }
  skip_lf_ = cr != nullptr;
  input_.remove_prefix(end + 1);
  newline_ = newline_ > end + 1 ? newline_ - end - 1 : 0;
  return true;
}

// The view points into bytes that will go away: copy it.
void SseScanner::keep_data() {
  if (data_view_.data() == nullptr) return;
  data_.assign(data_view_);
  data_view_ = {};
}

void SseScanner::process_line(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0) return;  // a comment
  const std::string_view field = line.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view("") : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    ++data_lines_;
    if (data_lines_ == 1 && !line_open_) {
      data_view_ = value;
    } else if (data_lines_ == 1) {
      data_.assign(value);
    } else {
      keep_data();
      data_ += '\n';
      data_ += value;
    }
  } else if (field == "event") {
    name_ = value;
  }
}

// A blank line: hands out the event if it has data; otherwise forgets it.
bool SseScanner::dispatch(SseEvent& event) {
  clear_next_ = true;
  if (overflow_) {
    ++dropped_;
    return false;
  }
  if (data_lines_ == 0) return false;
  event.data = data_view_.data() != nullptr ? data_view_ : std::string_view(data_);
  event.name = name_;
  return true;
}

bool SseScanner::next(SseEvent& event) {
  if (!skip_bom()) return false;
  for (;;) {
    if (clear_next_) {
      clear_next_ = false;
      data_.clear();
      data_view_ = {};
      name_.clear();
      data_lines_ = 0;
      event_bytes_ = 0;
      overflow_ = false;
    }
    std::string_view line;
    if (!take_line(line)) {
      keep_data();
      return false;
    }
    // A line of which a part was dropped for its size is not blank.
    const bool blank = line.empty() && !(line_open_ && overflow_);
    bool dispatched = false;
    if (blank) {
      dispatched = dispatch(event);
    } else if (!overflow_) {
      process_line(line);
    }
    line_open_ = false;
    line_.clear();
    if (dispatched) return true;
  }
}

}  // namespace lodestar::net
