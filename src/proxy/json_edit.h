// SPDX-License-Identifier: Apache-2.0
// Small edits of a JSON object's text that leave every other byte alone. Works on
// text that a JSON parser has accepted already; on other text it returns an error.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lodestar::proxy {

struct JsonField {
  std::string_view key, value;        // the key without quotes, the value's raw text
  std::size_t begin = 0, end = 0;     // from the key's quote to behind the value
  bool escaped_key = false;           // the key holds a backslash: compare with care
};
// The fields of the top-level object, in order. kInvalidArgument if it is none.
Result<std::vector<JsonField>> top_level_fields(std::string_view object);

struct JsonEdit {
  std::string key;
  std::string value;     // raw JSON; empty: remove the field
  bool if_present = false;  // do not add it when it is absent
};
// Replaces, adds (at the end) or removes top-level fields. Repeated keys are edited
// alike.
Result<std::string> edit_json(std::string_view object, const std::vector<JsonEdit>& edits);

}  // namespace lodestar::proxy
