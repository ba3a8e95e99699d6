// SPDX-License-Identifier: Apache-2.0
#include "sim/html_report_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/math.h"

namespace lodestar::sim::report {
namespace {

constexpr std::size_t kHues = 7;
constexpr double kLn10 = 2.302585092994046;

double log10_of(double value) { return det_log(value) / kLn10; }

double power_of_ten(int exponent) {
  double value = 1;
  for (int i = 0; i < std::abs(exponent); ++i) value *= 10;
  return exponent < 0 ? 1 / value : value;
}

std::string thousands(std::string digits) {
  const std::size_t point = std::min(digits.find('.'), digits.size());
  for (std::size_t at = point; at > 3 && digits[at - 4] != '-';) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string axis_label(double value, std::string_view unit) {
  if (unit == "ms") {
    if (value >= 1000) return fmt::format("{:g} s", value / 1000);
    return fmt::format("{:g} ms", value);
  }
  return unit.empty() ? fmt::format("{:g}", value) : fmt::format("{:g} {}", value, unit);
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string format_number(double value) {
  if (!std::isfinite(value)) return "–";
  const double size = std::fabs(value);
  return thousands(fmt::format("{:.{}f}", value, size < 10 ? 2 : size < 100 ? 1 : 0));
}

std::string format_ms(double ms) {
  if (!std::isfinite(ms)) return "–";
  if (ms >= 20000) return fmt::format("{} s", format_number(ms / 1000));
  return fmt::format("{} ms", format_number(ms));
}

std::string format_count(std::size_t value) { return thousands(fmt::format("{}", value)); }

std::string format_percent(double fraction) {
  if (!std::isfinite(fraction)) return "–";
  return fmt::format("{:.1f} %", fraction * 100);
}

Scale::Scale(double low, double high, double from, double to, bool logarithmic)
    : low_(low), high_(high), from_(from), to_(to), logarithmic_(logarithmic) {
  if (logarithmic_) {
    low_ = std::max(low_, 1e-9);
    if (high_ <= low_ * 1.01) high_ = low_ * 10;
  } else if (!(high_ > low_)) {
    high_ = low_ + 1;
  }
}

double Scale::operator()(double value) const {
  const double clamped = std::clamp(value, low_, high_);
  const double part = logarithmic_ ? det_log(clamped / low_) / det_log(high_ / low_)
                                   : (clamped - low_) / (high_ - low_);
  return from_ + part * (to_ - from_);
}

std::vector<double> Scale::ticks(int wanted) const {
  std::vector<double> found;
  if (logarithmic_) {
    const int first = static_cast<int>(std::floor(log10_of(low_)));
    const int last = static_cast<int>(std::ceil(log10_of(high_)));
    const bool fine = last - first <= wanted / 2;
    for (int exponent = first; exponent <= last; ++exponent) {
      for (double step : {1.0, 2.0, 5.0}) {
        if (step > 1 && !fine) break;
        const double tick = step * power_of_ten(exponent);
        if (tick >= low_ * 0.999 && tick <= high_ * 1.001) found.push_back(tick);
      }
    }
    return found;
  }
  const double raw = (high_ - low_) / std::max(1, wanted);
  const double decade = power_of_ten(static_cast<int>(std::floor(log10_of(raw))));
  const double part = raw / decade;
  const double step = decade * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
  // Counted, not summed: sums of 0.1 would not land on 0.3.
  const double first = std::ceil(low_ / step - 1e-9);
  const double last = std::floor(high_ / step + 1e-9);
  for (double i = first; i <= last; ++i) found.push_back(i * step + 0.0);  // + 0.0: no "-0"
  return found;
}

std::string series_class(std::size_t index) {
  return fmt::format("ln s{} d{}", index % kHues, index / kHues % 3);
}
std::string fill_class(std::size_t index) { return fmt::format("f{}", index % kHues); }

Svg::Svg(double width, double height, std::string_view label) {
  out_ = fmt::format(
      "<div class=\"plot\"><svg viewBox=\"0 0 {0:g} {1:g}\" role=\"img\" aria-label=\"{2}\">"
      "<title>{2}</title>\n",
      width, height, escape(label));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css) {
  fmt::format_to(std::back_inserter(out_),
                 "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n",
                 x1, y1, x2, y2, css);
}

void Svg::rect(double x, double y, double width, double height, std::string_view css,
               std::string_view tooltip) {
  fmt::format_to(std::back_inserter(out_),
                 "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"{}\">",
                 x, y, std::max(0.0, width), height, css);
  if (!tooltip.empty())
    fmt::format_to(std::back_inserter(out_), "<title>{}</title>", escape(tooltip));
  out_ += "</rect>\n";
}

void Svg::text(double x, double y, std::string_view css, std::string_view content) {
  fmt::format_to(std::back_inserter(out_),
                 "<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, css,
                 escape(content));
}

void Svg::path(const std::vector<std::pair<double, double>>& points, std::string_view css,
               std::string_view tooltip) {
  fmt::format_to(std::back_inserter(out_), "<path class=\"{}\" d=\"", css);
  bool pen_down = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto& [x, y] = points[i];
    const bool here = std::isfinite(y);
    if (here)
      fmt::format_to(std::back_inserter(out_), "{}{:.1f} {:.1f}", pen_down ? "L" : "M", x, y);
    // A point between two gaps needs some length, or its round cap is not drawn.
    const bool next = i + 1 < points.size() && std::isfinite(points[i + 1].second);
    if (here && !pen_down && !next) out_ += "h0.1";
    pen_down = here;
  }
  out_ += "\">";
  if (!tooltip.empty())
    fmt::format_to(std::back_inserter(out_), "<title>{}</title>", escape(tooltip));
  out_ += "</path>\n";
}

void Svg::axis_x(const Scale& scale, double top, double bottom, std::string_view unit, int wanted) {
  for (double tick : scale.ticks(wanted)) {
    const double x = scale(tick);
    line(x, top, x, bottom, "grid");
    text(x, bottom + 16, "tick mid", axis_label(tick, unit));
  }
}

void Svg::axis_y(const Scale& scale, double left, double right, std::string_view unit, int wanted) {
  for (double tick : scale.ticks(wanted)) {
    const double y = scale(tick);
    line(left, y, right, y, "grid");
    text(left - 8, y + 4, "tick end", axis_label(tick, unit));
  }
}

std::string Svg::finish() && { return std::move(out_) + "</svg></div>\n"; }

}  // namespace lodestar::sim::report
