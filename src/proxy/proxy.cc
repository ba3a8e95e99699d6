// SPDX-License-Identifier: Apache-2.0
#include "proxy/proxy.h"

#include <sys/random.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/headers.h"

namespace lodestar::proxy {
namespace {

// Ids of requests must differ between processes; nothing else depends on them.
std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
    seed = static_cast<std::uint64_t>(net::now_ns());
  return seed;
}

constexpr std::string_view kModelsPath = "/v1/models";

}  // namespace

net::Task<void> send_error(net::ServerResponse& response, int status, std::string message,
                           std::string type, std::string code, net::Headers headers) {
  headers.set("Content-Type", "application/json");
  const std::string body = net::openai_error_body(status, message, type, code);
  // A client that is gone needs no answer.
  (void)co_await response.send(status, std::move(headers), body);
}

Proxy::Proxy(net::Runtime& runtime, ProxyOptions options,
             std::vector<control::EngineTarget> targets, std::shared_ptr<Brain> brain,
             std::shared_ptr<control::Monitor> monitor, std::shared_ptr<ProxyMetrics> metrics,
             PolicyCheck check_policy)
    : options_(std::move(options)),
      targets_(std::move(targets)),
      metrics_(std::move(metrics)),
      brain_(std::move(brain)),
      monitor_(std::move(monitor)),
      check_policy_(std::move(check_policy)) {
  const std::uint64_t seed = random_seed();
  for (int i = 0; i < runtime.workers(); ++i)
    workers_.push_back(std::make_shared<Worker>(runtime.executor(i), options_, brain_, *metrics_,
                                                seed + static_cast<std::uint64_t>(i)));
}

const control::EngineTarget* Proxy::target(InstanceId id) const {
  const auto it = std::find_if(targets_.begin(), targets_.end(),
                               [&](const control::EngineTarget& t) { return t.id == id; });
  return it == targets_.end() ? nullptr : &*it;
}

std::string Proxy::check_policy(std::string_view name) const {
  return check_policy_ ? check_policy_(name) : std::string();
}

bool Proxy::enter() {
  if (inflight_.fetch_add(1, std::memory_order_relaxed) >= options_.max_inflight) {
    inflight_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  metrics_->inflight.add(1);
  return true;
}

void Proxy::leave() {
  inflight_.fetch_sub(1, std::memory_order_relaxed);
  metrics_->inflight.add(-1);
}

net::Handler Proxy::handler() {
  return [self = shared_from_this()](net::ServerRequest& request, net::ServerResponse& response) {
    return self->handle(request, response);
  };
}

net::Task<void> Proxy::handle(net::ServerRequest& request, net::ServerResponse& response) {
  const std::optional<Api> api = routed_api(request.head.path());
  if (!api) co_return co_await serve_local(request, response);
  if (request.head.method != "POST") {
    net::Headers headers;
    headers.add("Allow", "POST");
    co_return co_await send_error(response, 405, "Only POST is allowed here.", {},
                                  "method_not_allowed", std::move(headers));
  }
  Exchange exchange(shared_from_this(), workers_[static_cast<std::size_t>(request.worker)], request,
                    response, *api);
  co_await exchange.run();
}

net::Task<void> Proxy::serve_local(net::ServerRequest& request, net::ServerResponse& response) {
  const std::string path(request.head.path());
  const bool models = path == kModelsPath || path.starts_with("/v1/models/");
  if (!models && path != "/healthz" && path != "/readyz" && path != "/metrics") {
    co_return co_await send_error(response, 404, "There is nothing at this path.", "NotFoundError",
                                  "not_found");
  }
  if (request.head.method != "GET" && request.head.method != "HEAD") {
    net::Headers headers;
    headers.add("Allow", "GET");
    co_return co_await send_error(response, 405, "Only GET is allowed here.", {},
                                  "method_not_allowed", std::move(headers));
  }
  if (models) co_return co_await serve_models(request, response);
  if (path == "/metrics")
    co_return co_await serve_metrics(
        response, workers_[static_cast<std::size_t>(request.worker)]->executor());
  int status = 200;
  std::string body = "ok\n";
  if (path == "/readyz") {
    const auto fleet = monitor_ ? monitor_->status() : nullptr;
    const bool any =
        !fleet || std::any_of(fleet->begin(), fleet->end(), [](const auto& e) { return e.up; });
    if (draining() || !any) {
      status = 503;
      body = draining() ? "draining\n" : "no engine is up\n";
    }
  }
  net::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  (void)co_await response.send(status, std::move(headers), body);
}

net::Task<void> Proxy::serve_metrics(net::ServerResponse& response, net::Executor home) {
  struct Page {
    explicit Page(net::Executor e) : done(e) {}
    std::string text;
    net::Notifier done;
  };
  const auto page = std::make_shared<Page>(home);
  brain_->inspect([page, home, self = shared_from_this()](const Router& router) {
    std::string text = self->metrics_->registry.render();
    append_router_metrics(text, router);
    if (self->extra_) self->extra_(text, router);
    const auto hand_over = [page, text = std::move(text)] {
      page->text = text;
      page->done.notify();
    };
    if (home.running_in_this_thread()) {
      hand_over();
    } else {
      net::post(home, hand_over);
    }
  });
  const bool rendered = co_await page->done.wait(net::now_ns() + 5 * kSecond);
  if (!rendered) {
    co_await send_error(response, 503, "The router is too busy to render its metrics.");
    co_return;
  }
  net::Headers headers;
  headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  (void)co_await response.send(200, std::move(headers), page->text);
}

net::Task<void> Proxy::serve_models(net::ServerRequest& request, net::ServerResponse& response) {
  std::vector<control::ModelCard> cards;
  if (monitor_) {
    const auto fleet = monitor_->status();
    for (const control::EngineStatus& engine : *fleet)
      cards.insert(cards.end(), engine.cards.begin(), engine.cards.end());
  }
  std::string body;
  if (request.head.path() == kModelsPath) {
    body = control::merged_model_list(cards);
  } else {
    const std::string id(request.head.path().substr(kModelsPath.size() + 1));
    const auto it =
        std::find_if(cards.begin(), cards.end(), [&](const auto& c) { return c.id == id; });
    if (it == cards.end())
      co_return co_await send_error(response, 404,
                                    "The model `" + id.substr(0, 256) + "` does not exist.",
                                    "NotFoundError", "model_not_found");
    body = it->json;
  }
  net::Headers headers;
  headers.add("Content-Type", "application/json");
  (void)co_await response.send(200, std::move(headers), body);
}

}  // namespace lodestar::proxy
