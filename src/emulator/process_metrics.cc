// SPDX-License-Identifier: Apache-2.0
#include "emulator/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace lodestar::emulator {
namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::pair<double, double> memory_bytes() {  // virtual, resident
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident = 0;
  statm >> pages >> resident;
  const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  return {pages * page_bytes, resident * page_bytes};
}

double open_files() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; at != end && !error;
       at.increment(error))
    ++count;
  return count;
}

}  // namespace

HttpMetrics::HttpMetrics()
    : all_seconds_({0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,  1.5, 2.0,
                    2.5,  3.0,   3.5,  4.0,   4.5, 5.0,  7.5, 10.0, 30.0, 60.0}) {}

void HttpMetrics::request(std::string_view handler, std::string_view method, int status,
                          std::uint64_t request_bytes, std::uint64_t response_bytes,
                          double seconds) {
  Route& route = routes_[{std::string(handler), std::string(method)}];
  ++route.by_status[std::to_string(status / 100) + "xx"];
  ++route.requests;
  route.request_bytes += request_bytes;
  route.response_bytes += response_bytes;
  route.seconds.observe(seconds);
  all_seconds_.observe(seconds);
}

void HttpMetrics::render(double created, PromPage& page) const {
  std::vector<std::pair<LabelText, double>> totals;
  std::vector<std::pair<LabelText, std::pair<std::uint64_t, double>>> in, out;
  std::vector<std::pair<LabelText, const Histogram*>> durations;
  std::string_view last;
  for (const auto& [key, route] : routes_) {
    const auto& [handler, method] = key;
    for (const auto& [status, count] : route.by_status)
      totals.emplace_back(LabelText{{"handler", handler}, {"method", method}, {"status", status}},
                          static_cast<double>(count));
    // Sizes carry the handler alone: methods of one path follow each other here.
    if (in.empty() || last != handler) {
      in.push_back({LabelText{{"handler", handler}}, {}});
      out.push_back({LabelText{{"handler", handler}}, {}});
      last = handler;
    }
    in.back().second.first += route.requests;
    in.back().second.second += static_cast<double>(route.request_bytes);
    out.back().second.first += route.requests;
    out.back().second.second += static_cast<double>(route.response_bytes);
    durations.emplace_back(LabelText{{"handler", handler}, {"method", method}}, &route.seconds);
  }
  page.counter("http_requests", "Total number of requests by method, status and handler.", created,
               totals);
  page.summary("http_request_size_bytes", "Content length of incoming requests by handler.",
               created, in);
  page.summary("http_response_size_bytes", "Content length of outgoing responses by handler.",
               created, out);
  page.histogram("http_request_duration_highr_seconds",
                 "Latency with many buckets but no API specific labels.", created,
                 {{LabelText(), &all_seconds_}});
  page.histogram("http_request_duration_seconds", "Latency with only few buckets by handler.",
                 created, durations);
}

void render_process_metrics(double created, PromPage& page) {
  const auto generations = [&](const char* name, const char* help) {
    page.header(name, "counter", help);
    for (const char* generation : {"0", "1", "2"})
      page.sample(name, LabelText{{"generation", generation}}, 0);
  };
  generations("python_gc_objects_collected_total", "Objects collected during gc");
  generations("python_gc_objects_uncollectable_total", "Uncollectable objects found during GC");
  generations("python_gc_collections_total", "Number of times this generation was collected");
  page.gauge("python_info", "Python platform information",
             LabelText{{"implementation", "CPython"},
                       {"major", "3"},
                       {"minor", "12"},
                       {"patchlevel", "0"},
                       {"version", "3.12.0"}},
             1);
  const auto [virtual_bytes, resident_bytes] = memory_bytes();
  page.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", {}, virtual_bytes);
  page.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", {}, resident_bytes);
  page.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
             {}, created);
  page.header("process_cpu_seconds_total", "counter",
              "Total user and system CPU time spent in seconds.");
  page.sample("process_cpu_seconds_total", {}, cpu_seconds());
  page.gauge("process_open_fds", "Number of open file descriptors.", {}, open_files());
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  page.gauge("process_max_fds", "Maximum number of open file descriptors.", {},
             static_cast<double>(limit.rlim_cur));
}

}  // namespace lodestar::emulator
