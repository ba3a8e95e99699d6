// SPDX-License-Identifier: Apache-2.0
// Incremental scanner of a text/event-stream (WHATWG HTML §9.2.6) over bytes that
// come in pieces cut anywhere. It only looks: the bytes themselves pass through
// the caller unchanged. Lines end by CRLF, LF or CR; a leading byte order mark,
// comments and unknown fields are skipped; data lines are joined by LF. An event
// counts when its blank line has come. Linear in the input.
//
//   scanner.feed(bytes);
//   for (SseEvent e; scanner.next(e);) use(e.data);
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lodestar::net {

struct SseEvent {
  std::string_view data;  // valid until the next call of next() or feed()
  std::string_view name;  // the "event" field, often empty
};

class SseScanner {
 public:
  // An event with more bytes than the limit in its lines is dropped, counted, and
  // scanning goes on with the next one.
  explicit SseScanner(std::size_t max_event_bytes = 1 << 20) : limit_(max_event_bytes) {}

  // The bytes must stay valid until next() has returned false; call next() until
  // it does before the next feed().
  void feed(std::string_view bytes);
  bool next(SseEvent& event);

  std::uint64_t dropped_events() const { return dropped_; }
  // True between events: no part of an event is held.
  bool at_boundary() const;

 private:
  bool skip_bom();
  bool take_line(std::string_view& line);
  void process_line(std::string_view line);
  bool dispatch(SseEvent& event);
  void keep_data();
  void hold(std::string_view part);

  std::size_t limit_;
  std::string_view input_;     // what is left of the fed bytes
  std::size_t newline_ = 0;    // bytes of input_ known to hold no LF
  std::string line_;           // the start of a line whose end has not come
  std::string data_;           // data of the event so far, if it had to be copied
  std::string_view data_view_; // its data if one line within the fed bytes
  std::string name_;
  std::size_t event_bytes_ = 0;
  std::uint64_t dropped_ = 0;
  unsigned data_lines_ = 0;
  unsigned bom_ = 0;           // bytes of the mark seen; 3: past the start
  bool skip_lf_ = false;       // the last line ended by CR: an LF belongs to it
  bool overflow_ = false;      // the event at hand is too large
  bool line_open_ = false;     // part of a line has been seen
  bool clear_next_ = false;    // the event handed out is to be forgotten
};

}  // namespace lodestar::net
