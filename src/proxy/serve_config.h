// SPDX-License-Identifier: Apache-2.0
// The configuration of `lodestar serve`: one declaration per field (config/schema.h).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/schema.h"
#include "control/engine_target.h"
#include "control/monitor.h"
#include "net/server.h"
#include "proxy/options.h"

namespace lodestar::proxy {

struct EngineEntry {
  std::string url;
  std::string name;                        // default: host:port
  std::string hardware;
  std::vector<std::string> served_models;  // default: asked from the engine
  std::string api_key_env;
  double prefill_tokens_per_s = 0;
  std::int64_t kv_capacity_tokens = 0;
};

struct LimitsSection {
  std::uint64_t max_body_bytes = 64u << 20;
  std::uint64_t max_header_bytes = 32u << 10;
  std::uint64_t max_connections = 10'000;
  std::uint64_t max_inflight = 16'384;
  std::uint64_t prefix_index_bytes = 256u << 20;
};

struct TimeoutsSection {
  double connect_ms = 5'000;
  double first_byte_ms = 600'000;
  double stream_idle_ms = 300'000;
  double hold_ms = 120'000;
  double request_ms = 0;
  double client_header_ms = 15'000;
  double client_body_ms = 60'000;
  double client_idle_ms = 75'000;
  double client_write_ms = 60'000;
  double drain_ms = 30'000;
};

struct AdminSection {
  std::string token_env;
};

struct JournalSection {
  std::string path;
  std::uint64_t max_bytes = 256u << 20;
  std::int32_t files = 4;
};

struct LearningSection {
  std::string state_file;
  double save_every_s = 60;
};

struct ServeConfig {
  std::string listen = "127.0.0.1:8080";
  std::vector<EngineEntry> engines;
  std::string policy = "lodestar";
  std::map<std::string, std::string> policies;  // served model -> policy
  double scrape_period_ms = 100;
  double scrape_timeout_ms = 1'000;
  std::int32_t workers = 1;
  std::uint64_t seed = 1;
  std::int32_t max_attempts = 3;
  bool expose_routing = false;
  bool usage_injection = false;
  std::string tenant_header;
  std::string hash_key;                         // default: random per process
  std::uint64_t hash_block_bytes = kDefaultBlockBytes;
  LimitsSection limits;
  TimeoutsSection timeouts;
  AdminSection admin;
  JournalSection journal;
  LearningSection learning;
};

config::Schema<ServeConfig> serve_schema();

// The file's text or the file. Errors name line, field and what is expected.
Result<ServeConfig> parse_serve_config(const std::string& text, const std::string& origin);
Result<ServeConfig> read_serve_config(const std::string& path);

// "host:port", ":port" (all addresses) or "[v6]:port".
struct ListenAddress {
  std::string address;
  std::uint16_t port = 0;
  bool loopback() const;
};
Result<ListenAddress> parse_listen(const std::string& text);

// The engines with ids 1..n in their order. Errors: a bad URL, a name twice, no engine.
// API keys are left empty: reading the environment is the caller's.
Result<std::vector<control::EngineTarget>> engine_targets(const ServeConfig& config);
// `hash_key` as a key; an empty one gives `fallback`.
HashKey hash_key_of(const ServeConfig& config, HashKey fallback);
ProxyOptions proxy_options(const ServeConfig& config, HashKey key);
net::ServerOptions server_options(const ServeConfig& config, const ListenAddress& listen);
control::MonitorOptions monitor_options(const ServeConfig& config);

}  // namespace lodestar::proxy
