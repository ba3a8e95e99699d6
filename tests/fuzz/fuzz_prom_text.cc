// SPDX-License-Identifier: Apache-2.0
// Metrics pages of engines: garbage is an error, never a load.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engines/adapter.h"
#include "engines/prom_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view page(reinterpret_cast<const char*>(bytes), size);
  const auto sample = lodestar::engines::read_metrics(page, 1);
  if (sample) {
    const auto& load = sample->load;
    const auto sane = [](double v) { return std::isfinite(v) && v >= 0; };
    if (!sane(load.running) || !sane(load.waiting) || !sane(load.kv_usage) || load.kv_usage > 1)
      std::abort();
    if (!sane(load.prefix_hits_tokens) || !sane(load.prefix_queries_tokens)) std::abort();
    if (sample->kv_capacity_tokens < 0 || !std::isfinite(sample->lifetime_counter)) std::abort();
  }
  std::size_t labels = 0;
  (void)lodestar::engines::read_prom_text(page, "", [&](const lodestar::engines::PromSample& s) {
    labels += lodestar::engines::prom_label(s.labels, "le").has_value();
  });
  return labels > size ? 1 : 0;
}
