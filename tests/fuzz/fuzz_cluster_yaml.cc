// SPDX-License-Identifier: Apache-2.0
// Any text as a cluster file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sim/cluster_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lodestar::sim;
  auto cluster =
      parse_cluster(std::string(reinterpret_cast<const char*>(data), size), "fuzz.yaml", "");
  if (!cluster && cluster.error().message.empty()) std::abort();
  if (cluster && cluster->engines.empty()) std::abort();
  return 0;
}
