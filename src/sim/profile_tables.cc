// SPDX-License-Identifier: Apache-2.0
#include "sim/profile_tables.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/check.h"
#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

void split(std::string_view line, std::vector<std::string_view>& out) {
  out.clear();
  for (;;) {
    const std::size_t comma = line.find(',');
    out.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return;
    line.remove_prefix(comma + 1);
  }
}

Result<std::vector<std::size_t>> positions(const std::vector<std::string_view>& header,
                                           const std::vector<std::string>& columns,
                                           const LineSource& source) {
  std::vector<std::size_t> at;
  for (const std::string& column : columns) {
    const auto found = std::find(header.begin(), header.end(), column);
    if (found == header.end())
      return source.fail_here(fmt::format("the header has no column \"{}\"", column));
    at.push_back(static_cast<std::size_t>(found - header.begin()));
  }
  return at;
}

}  // namespace

Result<void> read_csv(const std::string& path, const std::vector<std::string>& columns,
                      const std::function<Result<void>(CsvRow)>& row) {
  auto source = LineSource::open(path);
  if (!source) return std::unexpected(source.error());
  std::string_view line;
  std::vector<std::string_view> fields, wanted;
  std::vector<std::size_t> at;
  for (bool is_header = true;; is_header = false) {
    const auto more = source->next(line);
    if (!more) return std::unexpected(more.error());
    if (!*more && is_header) return source->fail_here("empty file; a CSV header was expected");
    if (!*more) return {};
    if (line.empty()) continue;
    split(line, fields);
    if (is_header) {
      auto found = positions(fields, columns, *source);
      if (!found) return std::unexpected(found.error());
      at = std::move(*found);
      continue;
    }
    wanted.clear();
    for (std::size_t i : at) {
      if (i >= fields.size())
        return source->fail_here(
            fmt::format("{} fields, at least {} expected", fields.size(), i + 1));
      wanted.push_back(fields[i]);
    }
    if (auto done = row(wanted); !done) return source->fail_here(done.error().message);
  }
}

Result<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a number", text));
  return value;
}

Curve::Curve(std::vector<std::pair<double, double>> points) {
  LODESTAR_CHECK(!points.empty());
  std::sort(points.begin(), points.end());
  for (std::size_t i = 0; i < points.size();) {
    double sum = 0;
    std::size_t n = 0;
    const double x = points[i].first;
    for (; i < points.size() && points[i].first == x; ++i, ++n) sum += points[i].second;
    x_.push_back(x);
    y_.push_back(sum / static_cast<double>(n));
  }
}

double Curve::at(double x) const {
  if (x <= x_.front() || x_.size() == 1) return y_.front();
  const GridPlace place = place_on(x_, x);
  const double low = y_[place.low], high = y_[place.low + 1];
  return low + place.high_part * (high - low);
}

GridPlace place_on(std::span<const double> grid, double x) {
  if (grid.size() < 2) return {};
  const auto above = std::upper_bound(grid.begin(), grid.end(), x);
  const auto last_low = static_cast<std::ptrdiff_t>(grid.size()) - 2;
  const auto low =
      static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(above - grid.begin() - 1, 0, last_low));
  return {low, (x - grid[low]) / (grid[low + 1] - grid[low])};
}

}  // namespace lodestar::sim
