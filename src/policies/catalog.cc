// SPDX-License-Identifier: Apache-2.0
#include "policies/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/edit_distance.h"
#include "policies/lodestar.h"
#include "policies/lodestar_paper.h"
#include "policies/rows.h"

namespace lodestar {
namespace {

// Empty when nothing is near: a far suggestion misleads.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  constexpr std::size_t kLongestName = 64;  // the name may come from a client's header
  if (name.size() > kLongestName) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(name.size() / 2, 2) + 1;
  for (std::string_view candidate : known) {
    const std::size_t d = edit_distance(name, candidate);
    if (d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

std::string join(std::span<const std::string_view> names) {
  std::string text;
  for (std::string_view name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

std::string suggestion(std::string_view name, std::span<const std::string_view> known) {
  const std::string_view near = nearest(name, known);
  return near.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", near);
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t kShown = 80;
  return text.size() <= kShown ? std::string(text) : std::string(text.substr(0, kShown)) + "...";
}

Error bad(std::string message) {
  return Error{ErrorCode::kInvalidArgument, ErrorSource::kDownstream, Retry::kNo,
               std::move(message)};
}

// Empty when `row` takes `value` for `key`.
std::string why_not(const CatalogRow& row, std::string_view key, double value) {
  std::vector<std::string_view> names;
  for (const ParamSpec& spec : row.params) {
    if (spec.name != key) {
      names.push_back(spec.name);
      continue;
    }
    if (value >= spec.min && value <= spec.max) return {};
    return fmt::format("policy \"{}\": {} = {} is out of range; give {} to {} ({})", row.name, key,
                       value, spec.min, spec.max, spec.help);
  }
  if (names.empty())
    return fmt::format("policy \"{}\" takes no parameters, \"{}\" was given", row.name,
                       excerpt(key));
  return fmt::format("policy \"{}\" has no parameter \"{}\"{}{} It takes: {}", row.name,
                     excerpt(key), suggestion(key, names), nearest(key, names).empty() ? "." : "",
                     join(names));
}

// A number, or one of the parameter's named choices.
Result<double> parse_value(const CatalogRow& row, std::string_view key, std::string_view text) {
  std::span<const std::string_view> choices;
  for (const ParamSpec& spec : row.params)
    if (spec.name == key) choices = spec.choices;
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (choices[i] == text) return static_cast<double>(i);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  if (choices.empty())
    return std::unexpected(bad(fmt::format("policy \"{}\": \"{}\" is not a number (parameter {})",
                                           row.name, excerpt(text), excerpt(key))));
  return std::unexpected(
      bad(fmt::format("policy \"{}\": {} = \"{}\"{} It takes: {}", row.name, key, excerpt(text),
                      nearest(text, choices).empty() ? " is unknown." : suggestion(text, choices),
                      join(std::vector<std::string_view>(choices.begin(), choices.end())))));
}

// "key=value,key=value" into `into`.
Result<void> parse_params(const CatalogRow& row, std::string_view text, PolicyParams& into) {
  PolicyParams seen;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return std::unexpected(bad(fmt::format("policy \"{}\": \"{}\" is not of the form key=value",
                                             row.name, excerpt(item))));
    const std::string_view key = item.substr(0, equals), given = item.substr(equals + 1);
    const auto value = parse_value(row, key, given);
    if (!value) return std::unexpected(value.error());
    if (!seen.emplace(key, *value).second)
      return std::unexpected(
          bad(fmt::format("policy \"{}\": parameter {} is given twice", row.name, excerpt(key))));
    into.insert_or_assign(std::string(key), *value);
  }
  return {};
}

}  // namespace

std::span<const CatalogRow> catalog() {
  static const CatalogRow rows[] = {
      random_row(),
      round_robin_row(),
      least_request_row(),
      power_of_two_row(),
      least_prefill_tokens_row(),
      least_kv_cache_row(),
      consistent_hash_row(),
      session_affinity_row(),
      prefix_cache_row(),
      prefix_cache_16_2_row(),
      prefix_hit_threshold_row(),
      cache_aware_row(),
      lmetric_row(),
      dynamo_kv_row(),
      llm_d_row(),
      preble_row(),
      mooncake_row(),
      lmetric_speeds_row(),
      prefix_cache_speeds_row(),
      lodestar_row(),
      lodestar_paper_row(),
      lodestar_paper_labels_row(),
  };
  return rows;
}

std::string unknown_policy_message(std::string_view name, std::span<const std::string_view> extra) {
  std::vector<std::string_view> names;
  for (const CatalogRow& row : catalog()) names.push_back(row.name);
  names.insert(names.end(), extra.begin(), extra.end());
  const std::string hint = suggestion(name, names);
  return fmt::format("unknown policy \"{}\"{} Known: {}", excerpt(name), hint.empty() ? "." : hint,
                     join(names));
}

Result<std::unique_ptr<Policy>> make_policy(std::string_view text, const PolicyParams& params) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const auto rows = catalog();
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const CatalogRow& r) { return r.name == name; });
  if (row == rows.end())
    return fail(ErrorCode::kNotFound, unknown_policy_message(name), ErrorSource::kDownstream);
  PolicyParams given = params;
  if (colon != std::string_view::npos) {
    const auto parsed = parse_params(*row, text.substr(colon + 1), given);
    if (!parsed) return std::unexpected(parsed.error());
  }
  for (const auto& [key, value] : given)
    if (std::string why = why_not(*row, key, value); !why.empty())
      return std::unexpected(bad(std::move(why)));
  for (const ParamSpec& spec : row->params)
    given.try_emplace(std::string(spec.name), spec.default_value);
  return row->make(given);
}

std::vector<std::string> rejoin_policies(std::span<const std::string> pieces) {
  std::vector<std::string> policies;
  for (const std::string& piece : pieces) {
    const bool parameter =
        piece.find('=') != std::string::npos && piece.find(':') == std::string::npos;
    if (parameter && !policies.empty())
      policies.back() += "," + piece;
    else
      policies.push_back(piece);
  }
  return policies;
}

}  // namespace lodestar
