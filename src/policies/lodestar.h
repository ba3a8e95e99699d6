// SPDX-License-Identifier: Apache-2.0
// Catalog row of `lodestar`, the default policy.
#pragma once
#include "policies/catalog.h"

namespace lodestar {

CatalogRow lodestar_row();

}  // namespace lodestar
