// SPDX-License-Identifier: Apache-2.0
#include "control/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "net/client.h"

namespace lodestar::control {
namespace {

// A page or list larger than this is no engine's.
constexpr std::size_t kMaxPage = 16u << 20;

struct Engine {
  Engine(net::Executor executor, EngineTarget t, const net::ClientOptions& client)
      : target(std::move(t)), pool(executor, target.url, client) {
    info.id = target.id;
    info.name = target.name;
    info.hardware = target.hardware;
    info.served_models = target.served_models;
    info.told_prefill_tokens_per_s = target.told_prefill_tokens_per_s;
    info.kv_capacity_tokens = target.kv_capacity_tokens;
    status.id = target.id;
    status.name = target.name;
    status.url = "http://" + target.url.authority() + target.url.base_path;
  }
  EngineTarget target;
  net::ClientPool pool;
  InstanceInfo info;
  EngineStatus status;
  TimeNs next_health = 0, next_discovery = 0, next_metrics = 0;
  bool discovered = false;
  bool reachable = false;      // the last exchange worked
  bool health_ok = true;       // /health does not say otherwise
  bool load_known = false;
  bool was_refused = false;    // nobody listened since the last good exchange
  bool announced_up = false;
  bool info_changed = false;
  int failures = 0;            // exchanges in a row without an answer
  int bad_scrapes = 0;         // answers in a row that told no load
  std::optional<double> process_start_s;
  double lifetime_counter = 0;
};

}  // namespace

struct Monitor::State {
  net::Executor executor;
  MonitorOptions options;
  Emit emit;
  std::vector<std::unique_ptr<Engine>> engines;
  bool stopped = false;
  mutable std::mutex mutex;  // for `published` alone
  std::shared_ptr<const FleetStatus> published = std::make_shared<FleetStatus>();

  explicit State(net::Executor e) : executor(e) {}

  void publish() {
    auto fresh = std::make_shared<FleetStatus>();
    for (const auto& engine : engines) fresh->push_back(engine->status);
    const std::lock_guard lock(mutex);
    published = std::move(fresh);
  }

  static net::Task<void> watch(std::shared_ptr<State> self, Engine& engine);
  net::Task<Result<net::Response>> get(Engine& engine, std::string path);
  net::Task<void> discover(Engine& engine);
  net::Task<void> check_health(Engine& engine);
  net::Task<void> scrape(Engine& engine);
  void take_sample(Engine& engine, const engines::EngineSample& sample);
  void no_load(Engine& engine, const std::string& why);
  static void new_life(Engine& engine);
  void announce(Engine& engine);
};

net::Task<Result<net::Response>> Monitor::State::get(Engine& engine, std::string path) {
  net::RequestHead head;
  head.target = std::move(path);
  if (!engine.target.api_key.empty())
    head.headers.set("Authorization", "Bearer " + engine.target.api_key);
  net::RequestOptions request;
  request.deadline = net::now_ns() + options.scrape_timeout;
  auto answer = co_await engine.pool.fetch(std::move(head), {}, std::move(request), kMaxPage);
  engine.status.probed = true;
  if (answer) {
    engine.reachable = true;
    engine.failures = 0;
    co_return answer;
  }
  const Error& error = answer.error();
  ++engine.failures;
  engine.status.why = error.message;
  // Nothing could be sent: nobody listens, which no busy engine looks like.
  const bool refused = error.code == ErrorCode::kConnection && error.retry == Retry::kYes;
  if (refused) {
    engine.was_refused = true;
    engine.next_metrics = 0;  // they will tell whether it restarted
  }
  if (refused || engine.failures >= options.unhealthy_after) engine.reachable = false;
  co_return answer;
}

net::Task<void> Monitor::State::discover(Engine& engine) {
  engine.next_discovery = net::now_ns() + options.discovery_period;
  auto answer = co_await get(engine, "/v1/models");
  if (!answer) {
    engine.next_discovery = 0;
    co_return;
  }
  auto cards =
      answer->head.status == 200
          ? parse_model_list(answer->body)
          : fail(ErrorCode::kProtocol, fmt::format("/v1/models answers {}", answer->head.status));
  if (!cards) {
    engine.status.why = cards.error().message;
    if (!engine.target.served_models.empty()) engine.discovered = true;  // told is enough
    engine.next_discovery = net::now_ns() + kSecond;
    co_return;
  }
  engine.discovered = true;
  InstanceInfo info = engine.info;
  info.max_model_len = cards->front().max_model_len;
  if (engine.target.served_models.empty()) {
    info.served_models.clear();
    for (const ModelCard& card : *cards) info.served_models.push_back(card.id);
  }
  engine.info_changed = engine.info_changed || info.served_models != engine.info.served_models ||
                        info.max_model_len != engine.info.max_model_len;
  engine.info = std::move(info);
  engine.status.cards = std::move(*cards);
}

net::Task<void> Monitor::State::check_health(Engine& engine) {
  engine.next_health = net::now_ns() + options.health_period;
  auto answer = co_await get(engine, "/health");
  if (!answer) co_return;
  // An engine without this path is as healthy as its other answers.
  engine.health_ok = answer->head.status < 500;
  if (!engine.health_ok) engine.status.why = fmt::format("/health answers {}", answer->head.status);
}

net::Task<void> Monitor::State::scrape(Engine& engine) {
  ++engine.status.scrapes;
  auto answer = co_await get(engine, "/metrics");
  if (!answer) {
    ++engine.status.scrape_failures;
    no_load(engine, answer.error().message);
    // It serves but never renders its metrics in time: take it for another life.
    if (engine.was_refused && engine.reachable && engine.discovered && engine.bad_scrapes >= 2)
      new_life(engine);
    co_return;
  }
  auto sample =
      answer->head.status == 200
          ? engines::read_metrics(answer->body, net::now_ns())
          : fail(ErrorCode::kProtocol, fmt::format("/metrics answers {}", answer->head.status));
  if (sample) {
    take_sample(engine, *sample);
    co_return;
  }
  ++engine.status.scrape_failures;
  // An engine without metrics is asked for them less often.
  if (!engine.load_known) engine.next_metrics = net::now_ns() + options.health_period;
  if (engine.was_refused && engine.discovered) new_life(engine);  // all we have: it is back
  no_load(engine, sample.error().message);
}

void Monitor::State::new_life(Engine& engine) {
  ++engine.info.incarnation;
  ++engine.status.restarts;
  engine.info_changed = true;
  engine.was_refused = false;
}

// One lost scrape is covered by the age of the last; then the load is unknown.
void Monitor::State::no_load(Engine& engine, const std::string& why) {
  if (++engine.bad_scrapes < 2 && engine.reachable) return;
  engine.status.metrics = false;
  if (engine.reachable) engine.status.why = why;
  if (std::exchange(engine.load_known, false)) emit(ScrapeFailed{engine.target.id});
}

void Monitor::State::take_sample(Engine& engine, const engines::EngineSample& sample) {
  engine.bad_scrapes = 0;
  engine.status.kind = sample.kind;
  engine.status.metrics = true;
  const bool seen_before = engine.load_known || engine.status.restarts > 0 ||
                           engine.lifetime_counter > 0 || engine.process_start_s.has_value();
  const bool told = sample.process_start_s && engine.process_start_s;
  // A refused connection means that nobody listened. A start time may be rounded to
  // seconds, so an equal one proves nothing; believing in a restart that was none
  // only costs what we believed of its cache.
  const bool restarted =
      seen_before &&
      (engine.was_refused || sample.lifetime_counter < engine.lifetime_counter ||
       (told && std::fabs(*sample.process_start_s - *engine.process_start_s) > 0.005));
  engine.process_start_s = sample.process_start_s;
  engine.lifetime_counter = sample.lifetime_counter;
  engine.was_refused = false;
  if (restarted) {
    ++engine.info.incarnation;
    ++engine.status.restarts;
    engine.info_changed = true;
    engine.next_discovery = 0;  // it may serve something else now
    log_info("control", fmt::format("engine restarted instance={} incarnation={}",
                                    engine.target.name, engine.info.incarnation));
  }
  InstanceInfo info = engine.info;
  if (engine.target.kv_capacity_tokens == 0) info.kv_capacity_tokens = sample.kv_capacity_tokens;
  if (sample.prefix_caching) info.prefix_caching = *sample.prefix_caching;
  engine.info_changed = engine.info_changed ||
                        info.kv_capacity_tokens != engine.info.kv_capacity_tokens ||
                        info.prefix_caching != engine.info.prefix_caching;
  engine.info = std::move(info);
  engine.load_known = true;
  announce(engine);  // before the load, which names the incarnation
  emit(Scraped{engine.target.id, engine.info.incarnation, sample.load});
}

// Tells the router what has changed about the instance as a whole.
void Monitor::State::announce(Engine& engine) {
  // Back after a refusal, but not yet scraped: it may be another life of the engine, whose
  // cache is empty, so it is no candidate before that is known.
  const bool up = engine.reachable && engine.health_ok && engine.discovered && !engine.was_refused;
  if (up) {
    if (!engine.announced_up || engine.info_changed) emit(InstanceUp{engine.info});
    if (!engine.announced_up)
      log_info("control", fmt::format("engine up instance={} kind={}", engine.target.name,
                                      engines::kind_name(engine.status.kind)));
    if (engine.status.metrics) engine.status.why.clear();
    engine.info_changed = false;
  } else if (engine.announced_up) {
    emit(InstanceChanged{engine.target.id, Health::kUnhealthy});
    log_warn("control", fmt::format("engine down instance={} why=\"{}\"", engine.target.name,
                                    engine.status.why));
  }
  engine.announced_up = up;
  engine.status.up = up;
  engine.status.info = engine.info;
}

net::Task<void> Monitor::State::watch(std::shared_ptr<State> self, Engine& engine) {
  TimeNs next = net::now_ns();
  while (!self->stopped) {
    const bool was_up = engine.announced_up, was_probed = engine.status.probed;
    if (net::now_ns() >= engine.next_discovery) co_await self->discover(engine);
    if (!self->stopped && net::now_ns() >= engine.next_metrics) co_await self->scrape(engine);
    if (!self->stopped && net::now_ns() >= engine.next_health) co_await self->check_health(engine);
    if (self->stopped) co_return;
    self->announce(engine);
    if (was_up != engine.announced_up || !was_probed || engine.next_discovery == 0 ||
        engine.status.scrapes % 10 == 0)
      self->publish();
    next = std::max(next + self->options.scrape_period, net::now_ns());
    co_await net::sleep_until(next);
  }
}

Monitor::Monitor(net::Executor executor, std::vector<EngineTarget> targets, MonitorOptions options,
                 Emit emit)
    : state_(std::make_shared<State>(executor)) {
  state_->options = options;
  state_->emit = std::move(emit);
  net::ClientOptions client;
  client.connect_timeout = options.scrape_timeout;
  client.first_byte_timeout = options.scrape_timeout;
  client.read_timeout = options.scrape_timeout;
  client.max_idle = 2;
  for (EngineTarget& target : targets)
    state_->engines.push_back(std::make_unique<Engine>(executor, std::move(target), client));
  state_->publish();
}

Monitor::~Monitor() {
  state_->stopped = true;
  state_->emit = [](Event) {};
}

void Monitor::start() {
  for (const auto& engine : state_->engines) {
    // Known from the start, so that "not yet" is told from "never heard of".
    state_->emit(InstanceUp{engine->info});
    state_->emit(InstanceChanged{engine->target.id, Health::kUnhealthy});
    net::spawn(state_->executor, State::watch(state_, *engine), "engine watch");
  }
}

std::shared_ptr<const FleetStatus> Monitor::status() const {
  const std::lock_guard lock(state_->mutex);
  return state_->published;
}

bool Monitor::all_probed() const {
  const auto fleet = status();
  return std::all_of(fleet->begin(), fleet->end(), [](const EngineStatus& e) { return e.probed; });
}

}  // namespace lodestar::control
