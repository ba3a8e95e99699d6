// SPDX-License-Identifier: Apache-2.0
// Why an instance is not a candidate for a request. One pure function; `doctor`
// and the decision log print the same answer that routing used.
#pragma once
#include <string_view>

#include "routing/instance.h"
#include "routing/request.h"

namespace lodestar {

enum class Exclusion { kNone, kWrongModel, kNoAdapter, kUnhealthy, kDraining, kTooLong, kTried };

Exclusion exclusion(const RequestInfo& request, const InstanceState& instance);
std::string_view exclusion_text(Exclusion why);

}  // namespace lodestar
