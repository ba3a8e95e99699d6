// SPDX-License-Identifier: Apache-2.0
#include "app/belief_metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "telemetry/metrics.h"

namespace lodestar::app {
namespace {

using telemetry::Kind;
using Report = CacheBelief::Report;

template <class Value>
void per_instance(telemetry::TextWriter& w, const Router& router, std::string_view name,
                  std::string_view help, Kind kind, Value value) {
  w.family(name, help, kind);
  for (Fleet::Slot slot : router.fleet().present())
    w.sample(static_cast<double>(value(router.belief().report(slot))),
             {{"instance", router.fleet().at(slot).info.name}});
}

}  // namespace

void append_belief_metrics(std::string& page, const Router& router) {
  telemetry::TextWriter w(page);
  per_instance(w, router, "lodestar_cache_belief_ratio",
               "Cached tokens that came per believed one, of about the last 50 requests; 1 when "
               "unknown.",
               Kind::kGauge, [](const Report& r) { return r.correction; });
  per_instance(w, router, "lodestar_cache_belief_believed_tokens_total",
               "Believed prefix hits of requests whose truth is known.", Kind::kCounter,
               [](const Report& r) { return r.believed_tokens; });
  per_instance(w, router, "lodestar_cache_belief_confirmed_tokens_total",
               "Of the believed tokens: those that the engine had.", Kind::kCounter,
               [](const Report& r) { return r.confirmed_tokens; });
  per_instance(w, router, "lodestar_cache_belief_unexpected_tokens_total",
               "Cached tokens beyond the belief: answers, other routers' requests.", Kind::kCounter,
               [](const Report& r) { return r.unexpected_tokens; });
  per_instance(w, router, "lodestar_cache_belief_capacity_blocks",
               "Blocks that the engine is believed to hold; 0: unbounded.", Kind::kGauge,
               [](const Report& r) { return r.capacity_blocks; });
  per_instance(w, router, "lodestar_cache_belief_told_blocks",
               "Blocks that the engine says it holds; 0: unknown.", Kind::kGauge,
               [](const Report& r) { return r.told_blocks; });
  w.family("lodestar_cache_belief_repairs_total",
           "Repairs of the belief in this life of the instance, by kind.", Kind::kCounter);
  for (Fleet::Slot slot : router.fleet().present()) {
    const Report r = router.belief().report(slot);
    for (std::size_t k = 0; k < CacheRepair::kKinds; ++k)
      w.sample(r.repairs[k], {{"instance", router.fleet().at(slot).info.name},
                              {"kind", name_of(static_cast<CacheRepair::Kind>(k))}});
  }
}

void BeliefLog::update(const Router& router) {
  const std::uint64_t total = router.belief().repairs_total();
  if (total == seen_) return;
  const auto& repairs = router.belief().repairs();
  const std::uint64_t fresh = std::min<std::uint64_t>(total - seen_, repairs.size());
  seen_ = total;
  for (std::size_t i = repairs.size() - fresh; i < repairs.size(); ++i) {
    const Fleet::Slot slot = router.fleet().find(repairs[i].instance);
    log_warn("router",
             fmt::format("cache belief repaired instance={} kind={} forgotten_blocks={}",
                         slot == Fleet::kNoSlot ? "gone" : router.fleet().at(slot).info.name,
                         name_of(repairs[i].kind), repairs[i].forgotten_blocks));
  }
}

}  // namespace lodestar::app
