// SPDX-License-Identifier: Apache-2.0
// The Prometheus text format as the Python client prints it: labels sorted, every
// value a float ("1.0", "1e+06", "+Inf"), counters and histograms accompanied by
// a "_created" gauge.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestar::emulator {

// Labels of one series, rendered once: `le` of a histogram goes between the parts.
struct LabelText {
  std::string before_le, after_le;  // without braces, joined by commas

  LabelText() = default;
  // Any order; sorted here. Values are escaped. Call with braces: LabelText{{"a", "b"}}.
  LabelText(std::initializer_list<std::pair<std::string_view, std::string_view>> labels);
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);  // ascending, without +Inf
  void observe(double value, std::uint64_t times = 1);
  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  const std::vector<double>& bounds() const { return bounds_; }
  std::uint64_t bucket(std::size_t i) const { return counts_[i]; }  // not cumulative

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
  std::uint64_t count_ = 0;
};

// 1, 2, 5, 10, 20, 50, ... up to the limit.
std::vector<double> one_two_five(std::int64_t limit);

// As Python's client writes a value.
std::string prom_value(double value);

class PromPage {
 public:
  void gauge(std::string_view name, std::string_view help, const LabelText& labels, double value);
  // `name` without "_total". `created`: Unix time, s.
  void counter(std::string_view name, std::string_view help, double created,
               const std::vector<std::pair<LabelText, double>>& series);
  void histogram(std::string_view name, std::string_view help, double created,
                 const std::vector<std::pair<LabelText, const Histogram*>>& series);
  void summary(std::string_view name, std::string_view help, double created,
               const std::vector<std::pair<LabelText, std::pair<std::uint64_t, double>>>& series);
  // For several series under one header.
  void header(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, const LabelText& labels, double value);

  std::string take() { return std::move(text_); }

 private:
  void sample(std::string_view name, std::string_view suffix, const LabelText& labels,
              double value);

  std::string text_;
};

}  // namespace lodestar::emulator
