// SPDX-License-Identifier: Apache-2.0
// Reference documentation and JSON schema, made from the declarations alone.
#pragma once
#include <string>

#include "config/schema.h"

namespace lodestar::config {

// A Markdown table per mapping, nested ones after the one that holds them. The
// heading of the first has `level` #s.
std::string to_markdown(const SchemaBase& schema, int level = 2);

// JSON schema (draft 2020-12) of the mapping, for editors and validators.
std::string to_json_schema(const SchemaBase& schema);

}  // namespace lodestar::config
