// SPDX-License-Identifier: Apache-2.0
// The HTTP face of vLLM over one emulated engine: /v1/completions,
// /v1/chat/completions, /v1/models, /health, /ping, /version, /metrics, /load,
// /tokenize, /detokenize, /reset_prefix_cache. Everything runs on worker 0 of the
// runtime it is started on; that runtime must have one worker. Destroy the server
// after the runtime's run() has returned and before the runtime itself.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "emulator/api_request.h"
#include "emulator/driver.h"
#include "emulator/process_metrics.h"
#include "net/server.h"
#include "sim/world.h"

namespace lodestar::emulator {

struct EngineServerOptions {
  sim::WorldEngine engine;
  std::string served_model;      // what clients must name
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;        // 0: any free port
  double time_scale = 1;         // engine seconds per wall second
  std::uint64_t seed = 1;        // of step jitter
  std::int64_t stream_interval = 1;  // tokens per chunk after the first, as vLLM's flag
  bool prompt_tokens_details = true;   // vLLM's --enable-prompt-tokens-details
  bool request_id_headers = false;     // vLLM's --enable-request-id-headers
  std::int64_t fail_after = 0;   // > 0: the engine dies at the request after so many
};

class EngineServer {
 public:
  static Result<std::unique_ptr<EngineServer>> start(net::Runtime& runtime,
                                                     EngineServerOptions options);
  ~EngineServer();

  std::uint16_t port() const;
  std::int64_t max_model_len() const;
  const EngineDriver& driver() const { return *driver_; }
  // Stops accepting, lets running answers finish for `patience`, then cuts them.
  void drain(DurationNs patience);
  net::Task<void> drained();

 private:
  EngineServer(net::Executor executor, EngineServerOptions options);

  net::Task<void> handle(net::ServerRequest& request, net::ServerResponse& response);
  net::Task<int> route(net::ServerRequest& request, net::ServerResponse& response,
                       std::uint64_t& bytes);
  net::Task<int> get(net::ServerRequest& request, net::ServerResponse& response,
                     std::uint64_t& bytes);
  net::Task<int> post(net::ServerRequest& request, net::ServerResponse& response,
                      std::uint64_t& bytes);
  std::string metrics_page() const;

  // engine_generate.cc
  net::Task<int> generate(net::ServerRequest& request, net::ServerResponse& response, bool chat,
                          std::uint64_t& bytes);
  struct Job;
  ApiResult<Job> prepare(const net::ServerRequest& request, bool chat);
  net::Task<int> stream(Job& job, net::ServerResponse& response, std::uint64_t& bytes);
  net::Task<int> answer(Job& job, const net::ServerRequest& request, net::ServerResponse& response,
                        std::uint64_t& bytes);
  std::optional<ApiError> check_served_model(const std::string& name) const;
  std::string request_id(const net::ServerRequest& request, const GenerateRequest& parsed);
  // Adds X-Request-Id when asked to.
  net::Headers answer_headers(const Job& job, std::string_view content_type) const;

  net::Executor executor_;
  EngineServerOptions options_;
  std::int64_t unix_start_ = 0;
  Rng rng_;
  std::unique_ptr<EngineDriver> driver_;
  std::unique_ptr<net::Server> server_;
  HttpMetrics http_metrics_;
  std::uint64_t generations_ = 0;  // accepted so far
  std::uint64_t server_load_ = 0;  // being answered now
};

}  // namespace lodestar::emulator
