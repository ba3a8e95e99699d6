// SPDX-License-Identifier: Apache-2.0
// Bodies sent to the emulated engine: any bytes give a request within bounds or an
// error in vLLM's shape, and the token rule round-trips whatever text they hold.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "emulator/api_request.h"
#include "emulator/api_text.h"

using namespace lodestar::emulator;

namespace {

void check_error(const ApiError& error) {
  if (error.status != 400 || error.message.empty() || error.type.empty()) std::abort();
  if (error_body(error).empty()) std::abort();
}

void check(const ApiResult<GenerateRequest>& parsed) {
  if (!parsed) return check_error(parsed.error());
  if (parsed->prompt.empty() || parsed->min_tokens < 0) std::abort();
  if (parsed->max_tokens && *parsed->max_tokens < parsed->min_tokens) std::abort();
  for (TokenId id : parsed->prompt)
    if (id > kMaxTokenId) std::abort();
  const std::string text = detokenize(parsed->prompt);
  std::vector<TokenId> again;
  tokenize(text, again);
  if (detokenize(again) != text) std::abort();
  if (count_tokens(text) != static_cast<std::int64_t>(again.size())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(bytes), size);
  check(parse_completion(body));
  check(parse_chat_completion(body));
  if (auto tokens = parse_tokenize(body); !tokens) check_error(tokens.error());
  if (auto tokens = parse_detokenize(body); !tokens) check_error(tokens.error());
  return 0;
}
