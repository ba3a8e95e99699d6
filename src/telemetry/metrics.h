// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms, and their Prometheus text form (exposition
// format 0.0.4). Recording is lock-free (relaxed atomics) and may happen on any
// thread. Children are made once, under a lock, and live as long as the registry:
// keep the reference. Whoever makes children keeps the label values bounded.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestar::telemetry {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double v) { value_.store(v, std::memory_order_relaxed); }
  void add(double d) { value_.fetch_add(d, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  // Upper bounds, ascending, without +Inf.
  explicit Histogram(std::span<const double> bounds);
  void observe(double v);  // NaN is dropped: it has no bucket
  std::span<const double> bounds() const { return bounds_; }
  // Of the bucket alone, not cumulated; index bounds().size() is +Inf.
  std::uint64_t bucket(std::size_t i) const { return buckets_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  std::uint64_t count() const;

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> buckets_;
  std::atomic<double> sum_{0};
};

// Ready sets of bounds, seconds.
std::span<const double> latency_bounds();    // 1 ms .. 10 min: TTFT, E2E
std::span<const double> per_token_bounds();  // 1 ms .. 10 s
std::span<const double> decision_bounds();   // 1 us .. 100 ms

enum class Kind { kCounter, kGauge, kHistogram };

// Writes one metric family: HELP and TYPE once, then its samples.
class TextWriter {
 public:
  explicit TextWriter(std::string& out) : out_(out) {}
  void family(std::string_view name, std::string_view help, Kind kind);
  void sample(double value, const Labels& labels = {});           // of the family at hand
  void sample(std::uint64_t value, const Labels& labels = {});
  void sample(const Histogram& value, const Labels& labels = {});
  void counter(std::string_view name, std::string_view help, std::uint64_t value);
  void gauge(std::string_view name, std::string_view help, double value);

 private:
  void line(std::string_view suffix, const Labels& labels, std::string_view le,
            std::string_view value);
  std::string& out_;
  std::string name_;
};

class Registry {
 public:
  // The child with these labels, made at the first call. Name, help and kind of a
  // family are fixed by the first call.
  Counter& counter(const std::string& name, const std::string& help, Labels labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, Labels labels = {});
  Histogram& histogram(const std::string& name, const std::string& help,
                       std::span<const double> bounds, Labels labels = {});
  // The page, families in the order in which they were declared.
  std::string render() const;

 private:
  struct Child {
    Labels labels;
    Counter counter;
    Gauge gauge;
    std::unique_ptr<Histogram> histogram;
  };
  struct Family {
    std::string name, help;
    Kind kind;
    std::deque<Child> children;
  };
  Child& child(const std::string& name, const std::string& help, Kind kind, Labels labels,
               std::span<const double> bounds);

  mutable std::mutex mutex_;
  std::deque<Family> families_;
};

}  // namespace lodestar::telemetry
