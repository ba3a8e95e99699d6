// SPDX-License-Identifier: Apache-2.0
// The series that stand beside vllm:* on a vLLM server's page: the Python client's
// process_ and python_ families (the former of this process, the latter constant:
// there is no Python here, but a scraper meets them) and the FastAPI
// instrumentator's http_ families.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "emulator/prom_text.h"

namespace lodestar::emulator {

class HttpMetrics {
 public:
  HttpMetrics();
  // `handler`: the path of a known route, "none" otherwise. Wall time.
  void request(std::string_view handler, std::string_view method, int status,
               std::uint64_t request_bytes, std::uint64_t response_bytes, double seconds);
  void render(double created, PromPage& page) const;

 private:
  struct Route {
    std::map<std::string, std::uint64_t> by_status;  // "2xx" -> requests
    std::uint64_t requests = 0, request_bytes = 0, response_bytes = 0;
    Histogram seconds{{0.1, 0.5, 1.0}};
  };
  std::map<std::pair<std::string, std::string>, Route> routes_;  // (handler, method)
  Histogram all_seconds_;
};

// `created`: when the process started, Unix time in s.
void render_process_metrics(double created, PromPage& page);

}  // namespace lodestar::emulator
