// SPDX-License-Identifier: Apache-2.0
// lodestar-paper: the published system as intended (Lodestar, arXiv 2606.00946;
// defects of its code that contradict its text are not copied). Catalog rows and
// factory; the policy itself is in lodestar_paper_policy.h.
#pragma once
#include <memory>

#include "policies/catalog.h"

namespace lodestar {

CatalogRow lodestar_paper_row();         // ten inputs
CatalogRow lodestar_paper_labels_row();  // and the GPU one-hot

// `params`: any of the rows' parameters, the others take their defaults.
std::unique_ptr<Policy> make_lodestar_paper(const PolicyParams& params, bool gpu_labels);

}  // namespace lodestar
