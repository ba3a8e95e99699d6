// SPDX-License-Identifier: Apache-2.0
#include "emulator/engine_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "emulator/api_text.h"

namespace lodestar::emulator {
namespace {

constexpr std::string_view kVersion = "0.20.0+emulated";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kPageType = "text/plain; version=0.0.4; charset=utf-8";

std::int64_t unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

constexpr std::array kGetPaths{"/v1/models", "/health", "/ping", "/version", "/metrics", "/load"};
constexpr std::array kPostPaths{"/v1/completions", "/v1/chat/completions",
                                "/tokenize",       "/detokenize",
                                "/ping",           "/reset_prefix_cache"};

template <std::size_t N>
bool contains(const std::array<const char*, N>& paths, std::string_view path) {
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

// Labels come from a short list: a client must not make series at will.
std::string_view handler_label(std::string_view path) {
  return contains(kGetPaths, path) || contains(kPostPaths, path) ? path : "none";
}
std::string_view method_label(std::string_view method) {
  for (std::string_view known : {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
    if (method == known) return known;
  return "OTHER";
}

}  // namespace

EngineServer::EngineServer(net::Executor executor, EngineServerOptions options)
    : executor_(executor),
      options_(std::move(options)),
      unix_start_(unix_seconds()),
      rng_(static_cast<std::uint64_t>(net::now_ns()) ^ hash_string(options_.served_model)) {}

EngineServer::~EngineServer() { driver_->stop(); }

Result<std::unique_ptr<EngineServer>> EngineServer::start(net::Runtime& runtime,
                                                          EngineServerOptions options) {
  if (runtime.workers() != 1)
    return fail(ErrorCode::kInvalidArgument, "an emulated engine needs a runtime of one worker");
  std::unique_ptr<EngineServer> self(new EngineServer(runtime.executor(0), std::move(options)));
  const EngineServerOptions& o = self->options_;
  auto driver = EngineDriver::create(self->executor_,
                                     {.engine = o.engine.config,
                                      .step_time = o.engine.step_time,
                                      .faults = o.engine.faults,
                                      .seed = o.seed,
                                      .time_scale = o.time_scale,
                                      .served_model = o.served_model,
                                      .unix_time_s = static_cast<double>(self->unix_start_)});
  if (!driver) return std::unexpected(driver.error());
  self->driver_ = std::move(*driver);
  auto server = net::Server::listen(
      runtime, {.address = o.address, .port = o.port},
      [raw = self.get()](net::ServerRequest& request, net::ServerResponse& response) {
        return raw->handle(request, response);
      });
  if (!server) return std::unexpected(server.error());
  self->server_ = std::move(*server);
  net::spawn(self->executor_, self->driver_->run(), "engine driver");
  return self;
}

std::uint16_t EngineServer::port() const { return server_->port(); }
std::int64_t EngineServer::max_model_len() const { return driver_->max_model_len(); }
void EngineServer::drain(DurationNs patience) { server_->drain(patience); }
net::Task<void> EngineServer::drained() { return server_->drained(); }

net::Task<void> EngineServer::handle(net::ServerRequest& request, net::ServerResponse& response) {
  if (!driver_->up()) {
    // Nobody listens on a dead process' port; a cut connection is the closest.
    response.abort();
    co_return;
  }
  const TimeNs begin = net::now_ns();
  std::uint64_t bytes = 0;
  const int status = co_await route(request, response, bytes);
  if (status > 0)
    http_metrics_.request(handler_label(request.head.path()), method_label(request.head.method),
                          status, request.body.size(), bytes, to_s(net::now_ns() - begin));
}

net::Task<int> EngineServer::route(net::ServerRequest& request, net::ServerResponse& response,
                                   std::uint64_t& bytes) {
  const std::string_view path = request.head.path();
  const std::string& method = request.head.method;
  if (method == "POST" && contains(kPostPaths, path)) {
    const int status = co_await post(request, response, bytes);
    co_return status;
  }
  if ((method == "GET" || method == "HEAD") && contains(kGetPaths, path)) {
    const int status = co_await get(request, response, bytes);
    co_return status;
  }
  const bool known = contains(kGetPaths, path) || contains(kPostPaths, path);
  const std::string_view body =
      known ? R"({"detail":"Method Not Allowed"})" : R"({"detail":"Not Found"})";
  net::Headers headers;
  headers.add("Content-Type", kJson);
  if (known) headers.add("Allow", contains(kPostPaths, path) ? "POST" : "GET");
  bytes = body.size();
  co_await response.send(known ? 405 : 404, std::move(headers), body);
  co_return known ? 405 : 404;
}

net::Task<int> EngineServer::get(net::ServerRequest& request, net::ServerResponse& response,
                                 std::uint64_t& bytes) {
  const std::string_view path = request.head.path();
  std::string body;
  std::string_view type = kJson;
  int status = 200;
  if (path == "/health" || path == "/ping") {
    // A process that is leaving still answers what it has, but wants no more.
    status = driver_->accepting() ? 200 : 503;
  } else if (path == "/metrics") {
    body = metrics_page();
    type = kPageType;
  } else if (path == "/version") {
    body = fmt::format(R"({{"version":"{}"}})", kVersion);
  } else if (path == "/load") {
    body = fmt::format(R"({{"server_load":{}}})", server_load_);
  } else {
    body = models_body(options_.served_model, unix_start_, driver_->max_model_len());
  }
  bytes = body.size();
  net::Headers headers;
  if (!body.empty()) headers.add("Content-Type", type);
  co_await response.send(status, std::move(headers), body);
  co_return status;
}

net::Task<int> EngineServer::post(net::ServerRequest& request, net::ServerResponse& response,
                                  std::uint64_t& bytes) {
  const std::string_view path = request.head.path();
  if (path == "/v1/completions" || path == "/v1/chat/completions") {
    const int status = co_await generate(request, response, path == "/v1/chat/completions", bytes);
    co_return status;
  }
  std::string body;
  int status = 200;
  if (path == "/tokenize" || path == "/detokenize") {
    auto parsed =
        path == "/tokenize" ? parse_tokenize(request.body) : parse_detokenize(request.body);
    if (parsed)
      if (auto error = check_served_model(parsed->served_model)) parsed = std::unexpected(*error);
    if (!parsed) {
      status = parsed.error().status;
      body = error_body(parsed.error());
    } else {
      body = path == "/tokenize" ? tokens_body(parsed->tokens, driver_->max_model_len())
                                 : detokenized_body(detokenize(parsed->tokens));
    }
  } else if (path == "/ping") {
    status = driver_->accepting() ? 200 : 503;
  } else if (!driver_->reset_prefix_cache()) {
    status = 503;
    body = error_body({.status = 503,
                       .type = "ServiceUnavailable",
                       .message = "The prefix cache can be reset only while nothing runs.",
                       .param = {}});
  }
  bytes = body.size();
  net::Headers headers;
  if (!body.empty()) headers.add("Content-Type", kJson);
  co_await response.send(status, std::move(headers), body);
  co_return status;
}

std::string EngineServer::metrics_page() const {
  PromPage page;
  const auto created = static_cast<double>(unix_start_);
  render_process_metrics(created, page);
  driver_->metrics().render(driver_->engine().stats(), page);
  http_metrics_.render(created, page);
  return page.take();
}

}  // namespace lodestar::emulator
