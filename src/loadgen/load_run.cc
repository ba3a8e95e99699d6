// SPDX-License-Identifier: Apache-2.0
#include "loadgen/load_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "loadgen/stream_reader.h"
#include "net/sse.h"

namespace lodestar::loadgen {

// What one request brings home. Wall times.
struct LoadRun::Sending {
  explicit Sending(bool keep_text) : reader(keep_text) {}

  std::uint32_t slot = 0;
  sim::SimRequest request;
  std::size_t target = 0;
  TimeNs planned = 0;
  std::string body;
  StreamReader reader;
  std::shared_ptr<net::Cancel> cancel = std::make_shared<net::Cancel>();
  TimeNs first = kNever, last = kNever;
  std::string instance;
};

LoadRun::LoadRun(net::Executor executor, std::shared_ptr<const sim::WorkloadPlan> plan,
                 LoadOptions options)
    : executor_(executor),
      options_(std::move(options)),
      workload_(std::move(plan)),
      wake_(executor) {
  net::ClientOptions client;
  client.max_connections = options_.max_connections;
  client.max_idle = std::min<std::size_t>(options_.max_connections, 1024);
  client.first_byte_timeout = client.read_timeout = options_.timeout;
  for (const net::Url& target : options_.targets)
    pools_.push_back(std::make_unique<net::ClientPool>(executor, target, client));
  outcome_.served_model = options_.body.served_model;
}

LoadRun::~LoadRun() = default;

TimeNs LoadRun::workload_time(TimeNs wall) const {
  return static_cast<TimeNs>(static_cast<double>(wall - start_) * options_.time_scale);
}

TimeNs LoadRun::wall_time(TimeNs workload) const {
  return start_ + static_cast<TimeNs>(static_cast<double>(workload) / options_.time_scale);
}

net::RequestHead LoadRun::request_head(const char* method, std::string path) const {
  net::RequestHead head;
  head.method = method;
  head.target = std::move(path);
  if (!options_.api_key.empty()) head.headers.add("Authorization", "Bearer " + options_.api_key);
  return head;
}

net::Task<Result<void>> LoadRun::find_served_model() {
  net::RequestOptions request;
  request.first_byte_timeout = 10 * kSecond;
  const bool v1 = options_.targets.front().base_path.ends_with("/v1");
  net::RequestHead head = request_head("GET", v1 ? "/models" : "/v1/models");
  auto response = co_await pools_.front()->fetch(std::move(head), {}, request);
  if (!response) co_return std::unexpected(response.error());
  const std::string id = first_served_model(response->body);
  if (id.empty())
    co_return fail(ErrorCode::kProtocol,
                   fmt::format("{}/v1/models names no served model (status {}): say --served-model",
                               options_.targets.front().authority(), response->head.status));
  options_.body.served_model = outcome_.served_model = id;
  co_return Result<void>{};
}

net::Task<Result<void>> LoadRun::run() {
  if (options_.body.served_model.empty())
    if (auto ok = co_await find_served_model(); !ok) co_return ok;
  start_ = net::now_ns();
  while (!stopping_) {
    const TimeNs next = workload_.next_arrival();
    if (next == kNever) {
      if (in_flight_ == 0) break;
      co_await wake_.wait();
      continue;
    }
    const TimeNs planned = wall_time(next);
    if (net::now_ns() < planned) {
      // An answer may release a request that comes earlier than this one.
      co_await wake_.wait(planned);
      continue;
    }
    sim::SimRequest request = workload_.take();
    const auto slot = static_cast<std::uint32_t>(outcome_.records.size());
    sim::RequestRecord record{.index = request.index, .arrival = request.arrival};
    record.prompt_tokens = request.prompt_tokens;
    record.counted = request.counted;
    record.slo_ttft_ms = request.slo.ttft_ms;
    record.slo_tpot_ms = request.slo.tpot_ms;
    outcome_.records.push_back(record);
    outcome_.failures.emplace_back();
    outcome_.lateness.push_back(0);
    outcome_.usage_prompt_tokens.push_back(-1);
    cancels_.emplace_back();
    ++in_flight_;
    net::spawn(executor_, send(slot, request, planned), "bench request");
  }
  while (in_flight_ > 0) co_await wake_.wait();
  outcome_.wall = net::now_ns() - start_;
  co_return Result<void>{};
}

net::Task<void> LoadRun::send(std::uint32_t slot, sim::SimRequest request, TimeNs planned_wall) {
  const sim::RequestTruth truth = workload_.truth(request.index);
  // Only a conversation whose stream the answer continues will come back to it.
  const bool keep_text =
      workload_.plan().closed_loop &&
      std::any_of(request.content.begin(), request.content.end(),
                  [&](const sim::TokenSpan& s) { return s.stream == truth.output.stream; });
  Sending sending(keep_text);
  sending.slot = slot;
  sending.request = request;
  sending.target = slot % pools_.size();
  sending.planned = planned_wall;
  sending.body = request_body(request, truth.output_tokens, answers_, options_.body);
  cancels_[slot] = sending.cancel;
  const DurationNs late = std::max<DurationNs>(net::now_ns() - planned_wall, 0);
  outcome_.lateness[slot] = late;
  worst_late_ms_ = std::max(worst_late_ms_, to_ms(late));
  std::string failure = "stopped";
  if (!stopping_) failure = co_await exchange(sending);
  if (keep_text && failure.empty())
    answers_.remember({truth.output.stream, truth.output.first, truth.output_tokens},
                      std::move(sending.reader.totals().text));
  settle(slot, sending, std::move(failure));
}

// Sends and reads; returns what went wrong, "" if nothing.
net::Task<std::string> LoadRun::exchange(Sending& sending) {
  net::RequestOptions request;
  request.deadline = net::now_ns() + options_.timeout;
  request.cancel = sending.cancel;
  const bool chat = options_.body.endpoint == Endpoint::kChat;
  const bool v1 = options_.targets[sending.target].base_path.ends_with("/v1");
  net::RequestHead head = request_head(
      "POST", fmt::format("{}{}", v1 ? "" : "/v1", chat ? "/chat/completions" : "/completions"));
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Accept", "text/event-stream");
  auto stream = co_await pools_[sending.target]->request(std::move(head), sending.body, request);
  sending.body = {};
  if (!stream) co_return failure_name(stream.error());
  const std::string* instance = stream->head().headers.find("x-lodestar-instance");
  if (instance != nullptr && !options_.ignore_instance_header) sending.instance = *instance;
  const int status = stream->head().status;
  if (status != 200) {
    auto body = co_await stream->read_all(64 * 1024);
    const std::string message = body ? error_message_of(*body) : body.error().message;
    co_return fmt::format("HTTP {}: {}", status, message);
  }
  std::string failure = co_await read_stream(sending, *stream);
  co_return failure;
}

net::Task<std::string> LoadRun::read_stream(Sending& sending, net::ResponseStream& stream) {
  net::SseScanner scanner;
  const StreamTotals& totals = sending.reader.totals();
  while (!stream.done()) {
    auto piece = co_await stream.read_some();
    if (!piece) co_return failure_name(piece.error());
    if (piece->empty()) break;
    const TimeNs now = net::now_ns();
    scanner.feed(*piece);
    for (net::SseEvent event; scanner.next(event);) {
      if (!sending.reader.event(event.data)) continue;
      if (sending.first == kNever) {
        sending.first = now;
        ttft_sum_ms_ += to_ms(now - sending.planned);
        ++ttft_count_;
      }
      sending.last = now;
    }
  }
  if (!totals.error.empty()) co_return "error in the stream: " + totals.error;
  if (sending.first == kNever) co_return "no content in the answer";
  if (!totals.done) co_return "the stream ended without [DONE]";
  co_return std::string();
}

void LoadRun::settle(std::uint32_t slot, const Sending& sending, std::string failure) {
  sim::RequestRecord& record = outcome_.records[slot];
  const StreamTotals& totals = sending.reader.totals();
  record.attempts = 1;
  if (sending.first != kNever) record.first_token = workload_time(sending.first);
  if (sending.last != kNever) record.last_token = workload_time(sending.last);
  record.output_tokens =
      totals.completion_tokens.value_or(static_cast<std::int64_t>(totals.content_events));
  record.cached_tokens = totals.cached_tokens.value_or(-1);
  outcome_.usage_prompt_tokens[slot] = totals.prompt_tokens.value_or(-1);
  if (totals.prompt_tokens) {
    outcome_.prompts_as_planned += *totals.prompt_tokens == record.prompt_tokens;
    record.prompt_tokens = *totals.prompt_tokens;
  }
  std::string instance = sending.instance;
  if (instance.empty() && options_.targets.size() > 1)
    instance = options_.targets[sending.target].authority();
  if (!instance.empty()) record.instance = instance_index(instance);
  const bool stopped = stopping_ && !failure.empty();
  if (stopped) {
    record.last_token = kNever;  // unfinished, neither good nor bad
  } else if (!failure.empty()) {
    record.failed = true;
    ++failed_;
    ++outcome_.failure_counts[failure];
    outcome_.failures[slot] = std::move(failure);
  }
  ++done_;
  --in_flight_;
  cancels_[slot] = nullptr;
  workload_.on_complete(sending.request.index, workload_time(net::now_ns()));
  wake_.notify();
}

std::uint32_t LoadRun::instance_index(const std::string& name) {
  const auto [at, fresh] =
      instance_of_.emplace(name, static_cast<std::uint32_t>(outcome_.instances.size()));
  if (fresh) outcome_.instances.push_back(name);
  return at->second;
}

void LoadRun::stop() {
  stopping_ = true;
  outcome_.interrupted = true;
  for (const auto& cancel : cancels_)
    if (cancel) cancel->cancel();
  wake_.notify();
}

LoadProgress LoadRun::progress() {
  LoadProgress p;
  p.wall = start_ == 0 ? 0 : net::now_ns() - start_;
  p.sent = outcome_.records.size();
  p.done = done_;
  p.failed = failed_;
  p.in_flight = in_flight_;
  p.planned = workload_.max_requests();
  if (ttft_count_ > 0)
    p.recent_ttft_ms = ttft_sum_ms_ / static_cast<double>(ttft_count_) * options_.time_scale;
  p.recent_late_ms = worst_late_ms_;
  ttft_sum_ms_ = worst_late_ms_ = 0;
  ttft_count_ = 0;
  return p;
}

LoadOutcome LoadRun::take_outcome() {
  if (outcome_.interrupted)
    outcome_.unsent = workload_.max_requests() -
                      std::min<std::uint64_t>(workload_.max_requests(), workload_.taken());
  return std::move(outcome_);
}

}  // namespace lodestar::loadgen
