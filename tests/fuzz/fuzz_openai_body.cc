// SPDX-License-Identifier: Apache-2.0
// Request bodies: the scan never changes one, agrees with itself, and what it accepts
// can be edited and is then accepted again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "proxy/json_edit.h"
#include "proxy/parse.h"

using lodestar::proxy::Api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 1) return 0;
  const Api api = static_cast<Api>(bytes[0] % 8);
  const std::string text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  static lodestar::proxy::BodyParser parser({{1, 2}, 32});
  std::string body = text;
  const auto first = parser.parse(api, body, "");
  if (body != text) std::abort();
  if (!first) return 0;
  if (first->info.served_model.empty() || first->info.prompt_bytes < 0) std::abort();
  const auto again = parser.parse(api, body, "");
  if (!again || again->info.block_hashes != first->info.block_hashes) std::abort();
  auto edited = lodestar::proxy::edit_json(
      text, {{"stream", "false"}, {"max_tokens", "1"}, {"stream_options", ""}});
  if (!edited) std::abort();
  const auto after = parser.parse(api, *edited, "");
  if (!after || after->info.served_model != first->info.served_model || after->info.stream)
    std::abort();
  return 0;
}
