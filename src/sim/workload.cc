// SPDX-License-Identifier: Apache-2.0
#include "sim/workload.h"

#include <algorithm>

#include "base/check.h"

namespace lodestar::sim {
namespace {

// Orders a heap so that the earliest, and of equals the lowest index, is in front.
constexpr auto kLater = [](const auto& a, const auto& b) {
  return a.at != b.at ? a.at > b.at : a.index > b.index;
};

}  // namespace

Workload::Workload(std::shared_ptr<const WorkloadPlan> plan) : plan_(std::move(plan)) {
  if (plan_->closed_loop) {
    pending_.reserve(plan_->requests.size());
    for (const PlannedRequest& r : plan_->requests) pending_.push_back(r.pending);
    ready_.assign(plan_->requests.size(), 0);
  }
  if (plan_->concurrency == 0) return;
  session_left_.assign(plan_->sessions, 0);
  for (const PlannedRequest& r : plan_->requests) ++session_left_[r.session_slot];
  while (next_head_ < std::min<std::size_t>(plan_->concurrency, plan_->heads.size()))
    release(plan_->heads[next_head_++], 0);
}

std::uint64_t Workload::max_requests() const {
  return std::min<std::uint64_t>(plan_->max_requests, plan_->requests.size());
}

bool Workload::head_is_next() const {
  if (plan_->concurrency != 0 || next_head_ >= plan_->heads.size()) return false;
  const std::uint32_t head = plan_->heads[next_head_];
  const TimeNs at = plan_->requests[head].arrival;
  return heap_.empty() || at < heap_.front().at ||
         (at == heap_.front().at && head < heap_.front().index);
}

TimeNs Workload::next_arrival() const {
  if (taken_ >= plan_->max_requests) return kNever;
  TimeNs at = kNever;
  if (head_is_next())
    at = plan_->requests[plan_->heads[next_head_]].arrival;
  else if (!heap_.empty())
    at = heap_.front().at;
  return at < plan_->end ? at : kNever;
}

SimRequest Workload::take() {
  LODESTAR_CHECK(next_arrival() != kNever);
  SimRequest out;
  if (head_is_next()) {
    out.index = plan_->heads[next_head_++];
    out.arrival = plan_->requests[out.index].arrival;
  } else {
    out.index = heap_.front().index;
    out.arrival = heap_.front().at;
    std::pop_heap(heap_.begin(), heap_.end(), kLater);
    heap_.pop_back();
  }
  const PlannedRequest& planned = plan_->requests[out.index];
  out.counted = taken_ >= plan_->warmup_requests;
  ++taken_;
  out.prompt_tokens = planned.prompt_tokens;
  out.content = plan_->content(planned);
  out.session = planned.session;
  out.slo_class = planned.slo_class;
  if (planned.slo_class != SimRequest::kNoSlo) out.slo = plan_->slos[planned.slo_class];
  return out;
}

bool Workload::on_complete(std::uint32_t index, TimeNs now) {
  if (!plan_->closed_loop && plan_->concurrency == 0) return false;
  const PlannedRequest& done = plan_->requests[index];
  bool released = false;
  for (std::uint32_t e = done.edges_begin; e < done.edges_end; ++e) {
    const WorkloadPlan::Edge& edge = plan_->edges[e];
    ready_[edge.to] = std::max(ready_[edge.to], now + edge.delay);
    LODESTAR_CHECK(pending_[edge.to] > 0);
    if (--pending_[edge.to] > 0) continue;
    release(edge.to, ready_[edge.to]);
    released = true;
  }
  if (plan_->concurrency == 0) return released;
  std::uint32_t& left = session_left_[done.session_slot];
  LODESTAR_CHECK(left > 0);
  if (--left == 0 && next_head_ < plan_->heads.size()) {
    release(plan_->heads[next_head_++], now);
    released = true;
  }
  return released;
}

RequestTruth Workload::truth(std::uint32_t index) const {
  const PlannedRequest& r = plan_->requests[index];
  return {.output_tokens = r.output_tokens, .output = r.output};
}

void Workload::release(std::uint32_t index, TimeNs at) {
  heap_.push_back({at, index});
  std::push_heap(heap_.begin(), heap_.end(), kLater);
}

}  // namespace lodestar::sim
