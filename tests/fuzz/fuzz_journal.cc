// SPDX-License-Identifier: Apache-2.0
// Decision logs: a line that is read is written again as the same event, and no
// sequence of events can bring a router down.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policies/catalog.h"
#include "routing/router.h"
#include "telemetry/journal_text.h"

namespace telemetry = lodestar::telemetry;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(bytes), size);
  lodestar::RouterConfig config;
  config.policy = size % 2 == 0 ? "least-request" : "prefix-cache";
  config.prefix.max_bytes = 1 << 20;
  auto router = lodestar::Router::create(
      config, [](std::string_view name) { return lodestar::make_policy(name); });
  if (!router) std::abort();
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    (void)telemetry::parse_journal_header(line);
    const auto record = telemetry::parse_journal_record(line);
    if (!record) continue;
    std::string written, again;
    telemetry::append_event(written, record->event);
    const auto second =
        telemetry::parse_journal_record("{\"n\":0,\"t\":0," + written + ",\"x\":[]}");
    if (!second) std::abort();
    telemetry::append_event(again, second->event);
    if (again != written) std::abort();
    const auto effects = (*router)->handle(record->at, record->event);
    std::string out;
    telemetry::append_effects(out, effects);
  }
  return 0;
}
