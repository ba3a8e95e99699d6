// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"

namespace lodestar::telemetry {
namespace {

constexpr std::array<double, 24> kLatency = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
                                             0.1,   0.15,   0.25,  0.5,  0.75, 1,    1.5,  2.5,
                                             5,     7.5,    10,    20,   40,   80,   160,  640};
constexpr std::array<double, 17> kPerToken = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.03,
                                              0.04,  0.05,   0.075, 0.1,  0.15, 0.2,
                                              0.3,   0.5,    1,     2.5,  10};
constexpr std::array<double, 16> kDecision = {1e-6, 2e-6, 5e-6, 1e-5, 1.5e-5, 2e-5, 5e-5, 1e-4,
                                              2e-4, 5e-4, 1e-3, 2e-3, 5e-3,   1e-2, 5e-2, 1e-1};

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string number(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", v);
}

const char* type_of(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return "counter";
    case Kind::kGauge:
      return "gauge";
    case Kind::kHistogram:
      return "histogram";
  }
  return "untyped";
}

}  // namespace

std::span<const double> latency_bounds() { return kLatency; }
std::span<const double> per_token_bounds() { return kPerToken; }
std::span<const double> decision_bounds() { return kDecision; }

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()),
      buckets_(std::make_unique<std::atomic<std::uint64_t>[]>(bounds.size() + 1)) {
  LODESTAR_CHECK(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::observe(double v) {
  if (std::isnan(v)) return;
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin();
  buckets_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(v, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i <= bounds_.size(); ++i) total += bucket(i);
  return total;
}

void TextWriter::family(std::string_view name, std::string_view help, Kind kind) {
  name_ = name;
  out_ += "# HELP ";
  out_ += name;
  out_ += ' ';
  append_escaped(out_, help, /*quotes=*/false);
  out_ += "\n# TYPE ";
  out_ += name;
  out_ += ' ';
  out_ += type_of(kind);
  out_ += '\n';
}

void TextWriter::line(std::string_view suffix, const Labels& labels, std::string_view le,
                      std::string_view value) {
  out_ += name_;
  out_ += suffix;
  if (!labels.empty() || !le.empty()) {
    char separator = '{';
    const auto put = [&](std::string_view name, std::string_view v) {
      out_ += separator;
      separator = ',';
      out_ += name;
      out_ += "=\"";
      append_escaped(out_, v, /*quotes=*/true);
      out_ += '"';
    };
    for (const auto& [name, v] : labels) put(name, v);
    if (!le.empty()) put("le", le);
    out_ += '}';
  }
  out_ += ' ';
  out_ += value;
  out_ += '\n';
}

void TextWriter::sample(double value, const Labels& labels) { line("", labels, "", number(value)); }

void TextWriter::sample(std::uint64_t value, const Labels& labels) {
  line("", labels, "", fmt::format("{}", value));
}

void TextWriter::sample(const Histogram& value, const Labels& labels) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < value.bounds().size(); ++i) {
    total += value.bucket(i);
    line("_bucket", labels, number(value.bounds()[i]), fmt::format("{}", total));
  }
  // From the same reads as the buckets: the page must agree with itself.
  total += value.bucket(value.bounds().size());
  line("_bucket", labels, "+Inf", fmt::format("{}", total));
  line("_sum", labels, "", number(value.sum()));
  line("_count", labels, "", fmt::format("{}", total));
}

void TextWriter::counter(std::string_view name, std::string_view help, std::uint64_t value) {
  family(name, help, Kind::kCounter);
  sample(value);
}

void TextWriter::gauge(std::string_view name, std::string_view help, double value) {
  family(name, help, Kind::kGauge);
  sample(value);
}

Registry::Child& Registry::child(const std::string& name, const std::string& help, Kind kind,
                                 Labels labels, std::span<const double> bounds) {
  const std::lock_guard lock(mutex_);
  auto family = std::find_if(families_.begin(), families_.end(),
                             [&](const Family& f) { return f.name == name; });
  if (family == families_.end()) {
    families_.emplace_back().name = name;
    family = families_.end() - 1;
    family->help = help;
    family->kind = kind;
  }
  LODESTAR_CHECK(family->kind == kind);
  for (Child& c : family->children)
    if (c.labels == labels) return c;
  Child& made = family->children.emplace_back();
  made.labels = std::move(labels);
  if (kind == Kind::kHistogram) made.histogram = std::make_unique<Histogram>(bounds);
  return made;
}

Counter& Registry::counter(const std::string& name, const std::string& help, Labels labels) {
  return child(name, help, Kind::kCounter, std::move(labels), {}).counter;
}

Gauge& Registry::gauge(const std::string& name, const std::string& help, Labels labels) {
  return child(name, help, Kind::kGauge, std::move(labels), {}).gauge;
}

Histogram& Registry::histogram(const std::string& name, const std::string& help,
                               std::span<const double> bounds, Labels labels) {
  return *child(name, help, Kind::kHistogram, std::move(labels), bounds).histogram;
}

std::string Registry::render() const {
  std::string out;
  TextWriter writer(out);
  const std::lock_guard lock(mutex_);
  for (const Family& family : families_) {
    writer.family(family.name, family.help, family.kind);
    for (const Child& c : family.children) {
      switch (family.kind) {
        case Kind::kCounter:
          writer.sample(c.counter.value(), c.labels);
          break;
        case Kind::kGauge:
          writer.sample(c.gauge.value(), c.labels);
          break;
        case Kind::kHistogram:
          writer.sample(*c.histogram, c.labels);
          break;
      }
    }
  }
  return out;
}

}  // namespace lodestar::telemetry
