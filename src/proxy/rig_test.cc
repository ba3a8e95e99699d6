// SPDX-License-Identifier: Apache-2.0
// The test rig itself; named so that it is built into the test program only.
#include "proxy/test_rig.h"

#include <conformance/test_policies.h>

#include <future>

namespace lodestar::proxy::testing {

std::string chat_stream(int tokens, bool usage) {
  std::string out =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
  for (int i = 0; i < tokens; ++i)
    out += "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t" + std::to_string(i) +
           "\"},\"finish_reason\":null}]}\n\n";
  out += "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
  if (usage)
    out += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":" +
           std::to_string(tokens) + ",\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";
  return out + "data: [DONE]\n\n";
}

namespace {

net::Headers sse() {
  net::Headers headers;
  headers.add("Content-Type", "text/event-stream; charset=utf-8");
  return headers;
}

net::Task<void> send_stream(net::ServerResponse& response, std::string text, std::size_t piece) {
  if (piece == 0) piece = text.size();
  auto sent = co_await response.start(200, sse());
  for (std::size_t at = 0; at < text.size() && sent; at += piece)
    sent = co_await response.write(std::string_view(text).substr(at, piece));
  if (sent) (void)co_await response.finish();
}

net::Task<void> send_answer(net::ServerResponse& response, int status, std::string body) {
  net::Headers headers;
  headers.add("Content-Type", "application/json");
  (void)co_await response.send(status, std::move(headers), body);
}

net::Task<void> stall(net::ServerResponse& response, std::string text) {
  (void)co_await response.start(200, sse(), text);
  while (!response.disconnected()) co_await net::sleep_for(5 * kMillisecond);
}

net::Task<void> die(net::ServerResponse& response, std::string text) {
  if (!text.empty()) (void)co_await response.start(200, sse(), text);
  co_await net::sleep_for(5 * kMillisecond);  // let the bytes leave first
  response.abort();
}

}  // namespace

namespace {

net::Task<void> tell_when_drained(net::Server& server, std::shared_ptr<std::promise<void>> done) {
  co_await server.drained();
  done->set_value();
}

}  // namespace

FakeEngine::~FakeEngine() {
  server->drain(0);
  const auto done = std::make_shared<std::promise<void>>();
  net::spawn(runtime_.executor(0), tell_when_drained(*server, done), "fake engine");
  done->get_future().wait();
}

FakeEngine::Script streams(std::string text, std::size_t piece) {
  return [text, piece](FakeEngine&, net::ServerRequest&, net::ServerResponse& r) {
    return send_stream(r, text, piece);
  };
}

FakeEngine::Script answers(int status, std::string body) {
  return [status, body](FakeEngine&, net::ServerRequest&, net::ServerResponse& r) {
    return send_answer(r, status, body);
  };
}

FakeEngine::Script stalls_after(std::string text) {
  return
      [text](FakeEngine&, net::ServerRequest&, net::ServerResponse& r) { return stall(r, text); };
}

FakeEngine::Script dies_after(std::string text) {
  return [text](FakeEngine&, net::ServerRequest&, net::ServerResponse& r) { return die(r, text); };
}

FakeEngine::Script ends_after(std::string text) { return streams(std::move(text)); }

Rig::Rig(std::vector<std::uint16_t> engine_ports) : Rig(std::move(engine_ports), Options()) {}

Rig::Rig(std::vector<std::uint16_t> engine_ports, Options options)
    : live(options.workers), metrics(std::make_shared<ProxyMetrics>()) {
  std::vector<control::EngineTarget> targets;
  for (std::uint16_t p : engine_ports) {
    control::EngineTarget t;
    t.id = InstanceId{static_cast<std::uint32_t>(targets.size() + 1)};
    t.name = "e" + std::to_string(targets.size() + 1);
    t.url = *net::parse_url("http://127.0.0.1:" + std::to_string(p));
    targets.push_back(t);
  }
  RouterConfig config;
  config.policy = options.policy;
  auto router = Router::create(config, lodestar::testing::make_test_policy);
  EXPECT_TRUE(router) << (router ? "" : router.error().message);
  brain = std::make_shared<Brain>(live.runtime, std::move(*router), &metrics->decision_seconds);
  options.monitor.scrape_period = 10 * kMillisecond;
  options.proxy.default_policy = options.policy;
  monitor = std::make_shared<control::Monitor>(live.runtime.executor(0), targets, options.monitor,
                                               [weak = std::weak_ptr<Brain>(brain)](Event e) {
                                                 if (const auto b = weak.lock())
                                                   b->report(std::move(e));
                                               });
  proxy = std::make_shared<Proxy>(live.runtime, options.proxy, targets, brain, monitor, metrics,
                                  [](std::string_view name) -> std::string {
                                    const auto made = lodestar::testing::make_test_policy(name);
                                    return made ? "" : made.error().message;
                                  });
  server = std::move(*net::Server::listen(live.runtime, {}, proxy->handler()));
  live.on_worker([this] { monitor->start(); });
  if (!options.wait_ready) return;
  EXPECT_TRUE(eventually([this] {
    const auto fleet = monitor->status();
    return std::all_of(fleet->begin(), fleet->end(),
                       [](const auto& e) { return e.up && e.metrics; });
  }));
}

Rig::~Rig() { live.halt(); }

RouterCounters Rig::counters() {
  return live.on_worker([this] { return brain->router().counters(); });
}
std::size_t Rig::open_leases() {
  return live.on_worker([this] { return brain->router().open_leases(); });
}
std::size_t Rig::active_requests() {
  return live.on_worker([this] { return brain->router().active_requests(); });
}
std::int64_t Rig::own_inflight() {
  return live.on_worker([this] {
    std::int64_t sum = 0;
    for (Fleet::Slot slot : brain->router().fleet().present())
      sum += brain->router().fleet().at(slot).own.inflight;
    return sum;
  });
}

}  // namespace lodestar::proxy::testing
