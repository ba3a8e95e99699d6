// SPDX-License-Identifier: Apache-2.0
// One function per policy file: its catalog row. Read by catalog.cc only.
#pragma once
#include "policies/catalog.h"

namespace lodestar {

CatalogRow random_row();
CatalogRow round_robin_row();
CatalogRow least_request_row();
CatalogRow power_of_two_row();
CatalogRow least_prefill_tokens_row();
CatalogRow least_kv_cache_row();
CatalogRow consistent_hash_row();
CatalogRow session_affinity_row();
CatalogRow prefix_cache_row();
CatalogRow prefix_cache_16_2_row();
CatalogRow prefix_cache_speeds_row();
CatalogRow prefix_hit_threshold_row();
CatalogRow cache_aware_row();
CatalogRow lmetric_row();
CatalogRow lmetric_speeds_row();
CatalogRow dynamo_kv_row();
CatalogRow llm_d_row();
CatalogRow preble_row();
CatalogRow mooncake_row();

}  // namespace lodestar
