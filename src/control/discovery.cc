// SPDX-License-Identifier: Apache-2.0
#include "control/discovery.h"

#include <nlohmann/json.hpp>
#include <set>

namespace lodestar::control {

using nlohmann::json;

Result<std::vector<ModelCard>> parse_model_list(std::string_view body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  const auto bad = [](const char* what) {
    return fail(ErrorCode::kProtocol, what, ErrorSource::kUpstream);
  };
  if (!document.is_object()) return bad("the answer to /v1/models is no JSON object");
  const auto data = document.find("data");
  if (data == document.end() || !data->is_array())
    return bad("the answer to /v1/models has no list `data`");
  std::vector<ModelCard> cards;
  for (const json& item : *data) {
    if (!item.is_object()) continue;
    const auto id = item.find("id");
    if (id == item.end() || !id->is_string() || id->get_ref<const std::string&>().empty()) continue;
    ModelCard card;
    card.id = id->get<std::string>();
    if (const auto parent = item.find("parent"); parent != item.end() && parent->is_string())
      card.parent = parent->get<std::string>();
    if (const auto len = item.find("max_model_len"); len != item.end() && len->is_number_integer())
      card.max_model_len = std::max<std::int64_t>(0, len->get<std::int64_t>());
    card.json = item.dump(-1, ' ', false, json::error_handler_t::replace);
    cards.push_back(std::move(card));
  }
  if (cards.empty()) return bad("/v1/models lists no model");
  return cards;
}

std::string merged_model_list(const std::vector<ModelCard>& cards) {
  std::string out = R"({"object":"list","data":[)";
  std::set<std::string_view> seen;
  for (const ModelCard& card : cards) {
    if (!seen.insert(card.id).second) continue;
    if (seen.size() > 1) out += ',';
    out += card.json;
  }
  return out + "]}";
}

}  // namespace lodestar::control
