// SPDX-License-Identifier: Apache-2.0
// A small SVG writer: shapes, escaped text, axes with round ticks. Colours are
// CSS classes (html_report_style.h), so that one file serves light and dark.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestar::sim::report {

// &, <, >, " and ' as entities; control bytes become spaces.
std::string escape(std::string_view text);

// 0.123 -> "0.12 ms", 1234 -> "1,234 ms", 65000 -> "65.0 s"; not finite -> "–".
std::string format_ms(double ms);
// Three significant digits with thousands separators; not finite -> "–".
std::string format_number(double value);
std::string format_count(std::size_t value);    // "12,031"
std::string format_percent(double fraction);    // 0.1234 -> "12.3 %"

// Maps [low, high] to [from, to] pixels, linearly or by logarithm. A range
// without extent is widened; a logarithmic one must be positive.
class Scale {
 public:
  Scale(double low, double high, double from, double to, bool logarithmic);
  double operator()(double value) const;  // clamped to the pixel range
  bool logarithmic() const { return logarithmic_; }
  // Round values inside the range, about `wanted` of them, ascending.
  std::vector<double> ticks(int wanted) const;

 private:
  double low_, high_, from_, to_;
  bool logarithmic_;
};

// Series i: one of seven hues, then the same hues dashed and dotted.
std::string series_class(std::size_t index);   // for lines
std::string fill_class(std::size_t index);     // for areas and text

class Svg {
 public:
  Svg(double width, double height, std::string_view label);
  void line(double x1, double y1, double x2, double y2, std::string_view css);
  void rect(double x, double y, double width, double height, std::string_view css,
            std::string_view tooltip = {});
  void text(double x, double y, std::string_view css, std::string_view content);
  // Breaks where y is NaN.
  void path(const std::vector<std::pair<double, double>>& points, std::string_view css,
            std::string_view tooltip = {});
  // Grid lines and labels of a horizontal (bottom) or vertical (left) axis.
  void axis_x(const Scale& scale, double top, double bottom, std::string_view unit, int wanted);
  void axis_y(const Scale& scale, double left, double right, std::string_view unit, int wanted);
  std::string finish() &&;

 private:
  std::string out_;
};

}  // namespace lodestar::sim::report
