// SPDX-License-Identifier: Apache-2.0
#include "emulator/prom_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lodestar::emulator {
namespace {

std::string escape_label(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void append_label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out += ',';
  out += name;
  out += "=\"";
  out += escape_label(value);
  out += '"';
}

}  // namespace

LabelText::LabelText(std::initializer_list<std::pair<std::string_view, std::string_view>> labels) {
  std::vector<std::pair<std::string_view, std::string_view>> sorted(labels);
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [name, value] : sorted)
    append_label(name < "le" ? before_le : after_le, name, value);
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value, std::uint64_t times) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<std::size_t>(at - bounds_.begin())] += times;
  sum_ += value * static_cast<double>(times);
  count_ += times;
}

std::vector<double> one_two_five(std::int64_t limit) {
  std::vector<double> bounds;
  for (std::int64_t unit = 1;; unit *= 10)
    for (std::int64_t digit : {1, 2, 5}) {
      if (digit * unit > limit) return bounds;
      bounds.push_back(static_cast<double>(digit * unit));
    }
}

std::string prom_value(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  // Go's style from 1e6 on, as the client has it.
  const std::size_t dot = text.find('.');
  if (value > 0 && dot != std::string::npos && dot > 6 && text.find('e') == std::string::npos) {
    std::string mantissa = text.substr(0, 1) + "." + text.substr(1, dot - 1) + text.substr(dot + 1);
    while (mantissa.back() == '0' || mantissa.back() == '.') mantissa.pop_back();
    return fmt::format("{}e+{:02}", mantissa, dot - 1);
  }
  return text;
}

void PromPage::header(std::string_view name, std::string_view type, std::string_view help) {
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void PromPage::sample(std::string_view name, std::string_view suffix, const LabelText& labels,
                      double value) {
  text_ += name;
  text_ += suffix;
  if (!labels.before_le.empty() || !labels.after_le.empty()) {
    text_ += '{';
    text_ += labels.before_le;
    if (!labels.before_le.empty() && !labels.after_le.empty()) text_ += ',';
    text_ += labels.after_le;
    text_ += '}';
  }
  text_ += ' ';
  text_ += prom_value(value);
  text_ += '\n';
}

void PromPage::sample(std::string_view name, const LabelText& labels, double value) {
  sample(name, "", labels, value);
}

void PromPage::gauge(std::string_view name, std::string_view help, const LabelText& labels,
                     double value) {
  header(name, "gauge", help);
  sample(name, "", labels, value);
}

void PromPage::counter(std::string_view name, std::string_view help, double created,
                       const std::vector<std::pair<LabelText, double>>& series) {
  header(fmt::format("{}_total", name), "counter", help);
  for (const auto& [labels, value] : series) sample(name, "_total", labels, value);
  header(fmt::format("{}_created", name), "gauge", help);
  for (const auto& [labels, value] : series) sample(name, "_created", labels, created);
}

void PromPage::histogram(std::string_view name, std::string_view help, double created,
                         const std::vector<std::pair<LabelText, const Histogram*>>& series) {
  header(name, "histogram", help);
  for (const auto& [labels, histogram] : series) {
    std::uint64_t below = 0;
    LabelText with_le = labels;
    for (std::size_t i = 0; i <= histogram->bounds().size(); ++i) {
      below += histogram->bucket(i);
      const bool last = i == histogram->bounds().size();
      with_le.before_le = labels.before_le;
      append_label(with_le.before_le, "le", last ? "+Inf" : prom_value(histogram->bounds()[i]));
      sample(name, "_bucket", with_le, static_cast<double>(below));
    }
    sample(name, "_count", labels, static_cast<double>(histogram->count()));
    sample(name, "_sum", labels, histogram->sum());
  }
  header(fmt::format("{}_created", name), "gauge", help);
  for (const auto& [labels, histogram] : series) sample(name, "_created", labels, created);
}

void PromPage::summary(
    std::string_view name, std::string_view help, double created,
    const std::vector<std::pair<LabelText, std::pair<std::uint64_t, double>>>& series) {
  header(name, "summary", help);
  for (const auto& [labels, value] : series) {
    sample(name, "_count", labels, static_cast<double>(value.first));
    sample(name, "_sum", labels, value.second);
  }
  header(fmt::format("{}_created", name), "gauge", help);
  for (const auto& [labels, value] : series) sample(name, "_created", labels, created);
}

}  // namespace lodestar::emulator
