// SPDX-License-Identifier: Apache-2.0
// Reader of Prometheus text pages (exposition format 0.0.4), made for pages of
// 60 KB read ten times a second: one pass, no copies, lines of no interest are
// skipped by their first bytes.
#pragma once
#include <functional>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace lodestar::engines {

struct PromSample {
  std::string_view name;
  std::string_view labels;  // between the braces, as written; may be empty
  double value = 0;
};

// The value of a label as written (escapes are not resolved), if it is there.
std::optional<std::string_view> prom_label(std::string_view labels, std::string_view name);

// Calls `sample` for each sample whose name begins with `prefix`. Tolerant: a bad
// line is skipped. Errors (kProtocol): the page is no metrics page at all (JSON, HTML,
// empty, mostly bad lines).
Result<void> read_prom_text(std::string_view page, std::string_view prefix,
                            const std::function<void(const PromSample&)>& sample);

}  // namespace lodestar::engines
