// SPDX-License-Identifier: Apache-2.0
#include "proxy/api.h"

#include <array>
#include <utility>

namespace lodestar::proxy {

std::optional<Api> routed_api(std::string_view path) {
  static constexpr std::array<std::pair<std::string_view, Api>, 16> kPaths = {{
      {"/v1/chat/completions", Api::kChat},
      {"/v1/completions", Api::kCompletions},
      {"/v1/responses", Api::kResponses},
      {"/v1/messages", Api::kMessages},
      {"/v1/messages/count_tokens", Api::kTokenize},
      {"/v1/embeddings", Api::kEmbeddings},
      {"/pooling", Api::kEmbeddings},
      {"/classify", Api::kEmbeddings},
      {"/v1/rerank", Api::kRerank},
      {"/v2/rerank", Api::kRerank},
      {"/rerank", Api::kRerank},
      {"/v1/score", Api::kScore},
      {"/score", Api::kScore},
      {"/tokenize", Api::kTokenize},
      {"/v1/tokenize", Api::kTokenize},
      {"/detokenize", Api::kTokenize},
  }};
  for (const auto& [name, api] : kPaths)
    if (name == path) return api;
  return std::nullopt;
}

bool generates(Api api) {
  return api == Api::kChat || api == Api::kCompletions || api == Api::kResponses ||
         api == Api::kMessages;
}

std::string_view api_name(Api api) {
  switch (api) {
    case Api::kChat:
      return "chat";
    case Api::kCompletions:
      return "completions";
    case Api::kResponses:
      return "responses";
    case Api::kMessages:
      return "messages";
    case Api::kEmbeddings:
      return "embeddings";
    case Api::kRerank:
      return "rerank";
    case Api::kScore:
      return "score";
    case Api::kTokenize:
      return "tokenize";
  }
  return "?";
}

}  // namespace lodestar::proxy
