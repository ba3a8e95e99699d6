// SPDX-License-Identifier: Apache-2.0
#include "engines/prom_text.h"

#include <charconv>
#include <cstring>
#include <limits>

namespace lodestar::engines {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

std::string_view trim_left(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  return s;
}

// Behind the closing brace of a label set, or 0. Quotes hide braces.
std::size_t labels_end(std::string_view s) {
  bool quoted = false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (quoted && s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && s[i] == '}') {
      return i + 1;
    }
  }
  return 0;
}

bool read_value(std::string_view s, double& value) {
  if (!s.empty() && s.front() == '+') s.remove_prefix(1);
  const auto end = s.data() + s.size();
  const auto [ptr, ec] = std::from_chars(s.data(), end, value);
  if (ec == std::errc::result_out_of_range) {
    value = std::numeric_limits<double>::infinity();
  } else if (ec != std::errc()) {
    return false;
  }
  return ptr == end || *ptr == ' ' || *ptr == '\t' || *ptr == '\r';  // a time stamp may follow
}

bool read_line(std::string_view line, PromSample& out) {
  std::size_t n = 0;
  while (n < line.size() && is_name_char(line[n])) ++n;
  if (n == 0) return false;
  out.name = line.substr(0, n);
  line = trim_left(line.substr(n));
  out.labels = {};
  if (!line.empty() && line.front() == '{') {
    line.remove_prefix(1);
    const std::size_t end = labels_end(line);
    if (end == 0) return false;
    out.labels = line.substr(0, end - 1);
    line = trim_left(line.substr(end));
  }
  return read_value(line, out.value);
}

}  // namespace

std::optional<std::string_view> prom_label(std::string_view labels, std::string_view name) {
  while (true) {
    labels = trim_left(labels);
    std::size_t n = 0;
    while (n < labels.size() && is_name_char(labels[n])) ++n;
    const std::string_view found = labels.substr(0, n);
    const std::size_t quote = labels.find('"', n);
    if (n == 0 || quote == std::string_view::npos) return std::nullopt;
    std::size_t end = quote + 1;
    while (end < labels.size() && labels[end] != '"') end += labels[end] == '\\' ? 2 : 1;
    if (end >= labels.size()) return std::nullopt;
    if (found == name) return labels.substr(quote + 1, end - quote - 1);
    labels.remove_prefix(end + 1);
    labels = trim_left(labels);
    if (labels.empty() || labels.front() != ',') return std::nullopt;
    labels.remove_prefix(1);
  }
}

Result<void> read_prom_text(std::string_view page, std::string_view prefix,
                            const std::function<void(const PromSample&)>& sample) {
  std::size_t good = 0, bad = 0;
  while (!page.empty()) {
    const void* newline = std::memchr(page.data(), '\n', page.size());
    const std::size_t size =
        newline == nullptr
            ? page.size()
            : static_cast<std::size_t>(static_cast<const char*>(newline) - page.data());
    std::string_view line = page.substr(0, size);
    page.remove_prefix(newline == nullptr ? size : size + 1);
    if (line.empty() || line.front() == '#' || line == "\r") continue;
    if (!line.starts_with(prefix)) {
      // Not ours; the first character is enough to tell a sample from garbage.
      is_name_char(line.front()) ? ++good : ++bad;
      continue;
    }
    PromSample out;
    if (!read_line(line, out)) {
      ++bad;
      continue;
    }
    ++good;
    sample(out);
  }
  if (good == 0 || bad > good)
    return fail(ErrorCode::kProtocol, "the page is not in the Prometheus text format",
                ErrorSource::kUpstream);
  return {};
}

}  // namespace lodestar::engines
