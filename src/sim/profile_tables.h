// SPDX-License-Identifier: Apache-2.0
// Reading measured kernel tables: CSV (plain or gzip) and the curves made of them.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lodestar::sim {

// One row: the wanted columns' fields, in the wanted order.
using CsvRow = std::span<const std::string_view>;

// Calls `row` for each data row. Errors: file, a column that is missing, a row
// that is too short or that `row` refuses (the message gets "file:line: ").
Result<void> read_csv(const std::string& path, const std::vector<std::string>& columns,
                      const std::function<Result<void>(CsvRow)>& row);

// Finite decimal number. Errors quote the text.
Result<double> parse_number(std::string_view text);

// Piecewise linear function through measured points. Left of the first point it
// is flat, right of the last it goes on with the last segment's slope.
class Curve {
 public:
  Curve() = default;
  // Points in any order; of equal x the mean of y counts. At least one.
  explicit Curve(std::vector<std::pair<double, double>> points);
  double at(double x) const;
  std::span<const double> xs() const { return x_; }
  bool empty() const { return x_.empty(); }

 private:
  std::vector<double> x_, y_;
};

// Where x lies on an ascending grid: between grid[low] and grid[low + 1], the
// upper one with weight `high_part`. Outside the grid the weight leaves [0, 1].
struct GridPlace {
  std::size_t low = 0;
  double high_part = 0;
};
GridPlace place_on(std::span<const double> grid, double x);

}  // namespace lodestar::sim
