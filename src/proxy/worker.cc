// SPDX-License-Identifier: Apache-2.0
#include "proxy/worker.h"

#include <fmt/format.h>

#include <algorithm>

namespace lodestar::proxy {
namespace {
constexpr DurationNs kProgressPeriod = 20 * kMillisecond;
}

Worker::Worker(net::Executor executor, const ProxyOptions& options, std::weak_ptr<Brain> brain,
               ProxyMetrics& metrics, std::uint64_t seed)
    : executor_(executor),
      options_(options),
      brain_(std::move(brain)),
      metrics_(metrics),
      parser_(options.parse),
      ids_(seed) {}

net::ClientPool& Worker::pool(const control::EngineTarget& target) {
  std::unique_ptr<net::ClientPool>& pool = pools_[target.id];
  if (!pool) pool = std::make_unique<net::ClientPool>(executor_, target.url, options_.upstream);
  return *pool;
}

const RouteMetrics& Worker::route_metrics(const std::string& served_model, Api api) {
  std::string key(1, static_cast<char>('0' + static_cast<int>(api)));
  key += metrics_.model_label(served_model, /*known=*/true);
  const auto it = routes_.find(key);
  if (it != routes_.end()) return it->second;
  return routes_.emplace(key, metrics_.route(key.substr(1), api)).first->second;
}

std::string Worker::new_request_id() {
  return fmt::format("{:016x}{:016x}", ids_.next(), ids_.next());
}

void Worker::add_progress(LeaseId lease, std::int64_t tokens) {
  progress_[lease] += tokens;
  if (flush_pending_) return;
  flush_pending_ = true;
  net::spawn(executor_, flush_later(shared_from_this()), "token progress");
}

void Worker::drop_progress(LeaseId lease) { progress_.erase(lease); }

net::Task<void> Worker::flush_later(std::shared_ptr<Worker> self) {
  co_await net::sleep_for(kProgressPeriod);
  self->flush();
}

void Worker::flush() {
  flush_pending_ = false;
  if (progress_.empty()) return;
  TokenProgress batch;
  batch.items.reserve(progress_.size());
  for (const auto& [lease, tokens] : progress_) batch.items.push_back({lease, tokens});
  progress_.clear();
  // In a fixed order, so that a journal does not depend on a hash table's.
  std::sort(batch.items.begin(), batch.items.end(),
            [](const Progress& a, const Progress& b) { return a.lease < b.lease; });
  if (const auto brain = brain_.lock()) brain->report(std::move(batch));
}

}  // namespace lodestar::proxy
