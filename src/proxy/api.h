// SPDX-License-Identifier: Apache-2.0
// The paths of the OpenAI family that engines serve: which are routed by the served
// model that their body names.
#pragma once
#include <optional>
#include <string_view>

namespace lodestar::proxy {

enum class Api {
  kChat,
  kCompletions,
  kResponses,
  kMessages,
  kEmbeddings,
  kRerank,
  kScore,
  kTokenize
};

// The API behind a path that is routed, or nothing.
std::optional<Api> routed_api(std::string_view path);
// Does an answer consist of generated tokens? (A rerank has no first token.)
bool generates(Api api);
std::string_view api_name(Api api);  // for metric labels

}  // namespace lodestar::proxy
