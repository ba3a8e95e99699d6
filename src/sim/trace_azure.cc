// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "sim/trace_data.h"
#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '"'))
    s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '"')) s.remove_suffix(1);
  return s;
}

void split(std::string_view line, std::vector<std::string_view>& out) {
  out.clear();
  for (;;) {
    const std::size_t comma = line.find(',');
    out.push_back(trim(line.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    line.remove_prefix(comma + 1);
  }
}

// Takes exactly `digits` digits off the front.
bool take_number(std::string_view& text, std::size_t digits, std::int64_t& out) {
  if (text.size() < digits) return false;
  out = 0;
  for (char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return false;
    out = out * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// Days since 1970-01-01 of a date of the Gregorian calendar, year >= 1. Counts
// in years that begin in March, so that the leap day comes last.
std::int64_t days_from_date(std::int64_t year, std::int64_t month, std::int64_t day) {
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t m = month <= 2 ? month + 9 : month - 3;
  return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + (day - 1) - 719468;
}

bool take_zone(std::string_view& text, std::int64_t& offset_s) {
  offset_s = 0;
  if (text.empty() || take(text, "Z")) return true;
  const bool east = text.front() == '+';
  std::int64_t hours = 0, minutes = 0;
  if (!take(text, "+-") || !take_number(text, 2, hours)) return false;
  take(text, ":");
  if (!take_number(text, 2, minutes) || hours > 23 || minutes > 59) return false;
  offset_s = (hours * 3600 + minutes * 60) * (east ? 1 : -1);
  return true;
}

struct Columns {
  std::size_t timestamp = 0, input = 0, output = 0, needed = 0;
};

Result<Columns> read_header(const LineSource& lines, const std::vector<std::string_view>& cells) {
  Columns columns;
  const auto find = [&](std::string_view name, std::size_t& at) {
    at = static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
    columns.needed = std::max(columns.needed, at + 1);
    return at < cells.size();
  };
  if (find("TIMESTAMP", columns.timestamp) && find("ContextTokens", columns.input) &&
      find("GeneratedTokens", columns.output))
    return columns;
  return lines.fail_here("expected a header with TIMESTAMP,ContextTokens,GeneratedTokens");
}

Result<std::int64_t> read_tokens(const LineSource& lines, std::string_view cell, const char* name) {
  std::int64_t value = 0;
  const auto [rest, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || rest != cell.data() + cell.size() || value < 0 ||
      value > kMaxTraceTokens)
    return lines.fail_here(fmt::format("{} is \"{}\", expected an integer from 0 to {}", name,
                                       cell.substr(0, 40), kMaxTraceTokens));
  return std::max<std::int64_t>(1, value);
}

}  // namespace

Result<TimeNs> parse_timestamp(std::string_view text) {
  const auto bad = [&] {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is not a time like 2023-11-16 18:15:46.6805900", text.substr(0, 40)));
  };
  std::string_view s = text;
  std::int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offset_s = 0;
  if (!take_number(s, 4, year) || !take(s, "-") || !take_number(s, 2, month) || !take(s, "-") ||
      !take_number(s, 2, day) || !take(s, " T") || !take_number(s, 2, hour) || !take(s, ":") ||
      !take_number(s, 2, minute) || !take(s, ":") || !take_number(s, 2, second))
    return bad();
  std::int64_t fraction_ns = 0;
  if (take(s, ".")) {
    std::int64_t scale = kSecond / 10, digit = 0;
    while (scale > 0 && take_number(s, 1, digit)) {
      fraction_ns += digit * scale;
      scale /= 10;
    }
    if (scale == kSecond / 10) return bad();
  }
  if (!take_zone(s, offset_s) || !s.empty()) return bad();
  if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
      minute > 59 || second > 60)
    return bad();
  const std::int64_t seconds =
      days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
  return seconds * kSecond + fraction_ns;
}

Result<void> read_azure(LineSource& lines, Trace& out) {
  std::vector<std::string_view> cells;
  std::string_view line;
  Columns columns;
  for (bool header = true;;) {
    auto more = lines.next(line);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    if (trim(line).empty()) continue;
    split(line, cells);
    if (header) {
      auto found = read_header(lines, cells);
      if (!found) return std::unexpected(found.error());
      columns = *found;
      header = false;
      continue;
    }
    if (cells.size() < columns.needed)
      return lines.fail_here(
          fmt::format("expected {} cells or more, got {}", columns.needed, cells.size()));
    auto timestamp = parse_timestamp(cells[columns.timestamp]);
    if (!timestamp) return lines.fail_here("TIMESTAMP " + timestamp.error().message);
    auto in = read_tokens(lines, cells[columns.input], "ContextTokens");
    if (!in) return std::unexpected(in.error());
    auto generated = read_tokens(lines, cells[columns.output], "GeneratedTokens");
    if (!generated) return std::unexpected(generated.error());
    TraceRow row;
    row.timestamp = *timestamp;
    row.input_tokens = *in;
    row.output_tokens = *generated;
    out.rows.push_back(row);
  }
}

}  // namespace lodestar::sim
