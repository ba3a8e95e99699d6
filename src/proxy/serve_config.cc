// SPDX-License-Identifier: Apache-2.0
#include "proxy/serve_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace lodestar::proxy {
namespace {

using config::FieldSpec;
using config::Node;
using config::Schema;

Schema<EngineEntry> engine_schema() {
  return Schema<EngineEntry>("engine")
      .field("url", &EngineEntry::url,
             {.required = true, .help = "http://host[:port][/base] of the engine."})
      .field("name", &EngineEntry::name, {.help = "For labels and logs; default host:port."})
      .field("hardware", &EngineEntry::hardware,
             {.help = "Label of the GPU kind, for policies that use it."})
      .field("served_models", &EngineEntry::served_models,
             {.help = "Names that it serves; default: what its /v1/models lists."})
      .field("api_key_env", &EngineEntry::api_key_env,
             {.help = "Environment variable with the key for this engine; default: the client's "
                      "Authorization passes through."})
      .field("prefill_tokens_per_s", &EngineEntry::prefill_tokens_per_s,
             {.min = 0, .unit = "tokens/s", .help = "Prefill rate told to the *-speeds policies."})
      .field(
          "kv_capacity_tokens", &EngineEntry::kv_capacity_tokens,
          {.min = 0, .unit = "tokens", .help = "Size of its KV cache; 0: asked from the engine."});
}

Schema<LimitsSection> limits_schema() {
  using L = LimitsSection;
  return Schema<L>("limits")
      .field("max_body_bytes", &L::max_body_bytes,
             {.min = 1024, .unit = "bytes", .help = "Largest request body; beyond: 413."})
      .field("max_header_bytes", &L::max_header_bytes,
             {.min = 1024,
              .max = 1 << 20,
              .unit = "bytes",
              .help = "Largest request head; beyond: 431."})
      .field("max_connections", &L::max_connections,
             {.min = 1, .help = "Client connections; beyond: 503."})
      .field("max_inflight", &L::max_inflight,
             {.min = 1, .help = "Routed requests at a time; beyond: 503."})
      .field("prefix_index_bytes", &L::prefix_index_bytes,
             {.min = 1 << 20, .unit = "bytes", .help = "Memory of the prefix index."});
}

Schema<TimeoutsSection> timeouts_schema() {
  using T = TimeoutsSection;
  const auto ms = [](const char* help, double min = 1) {
    return FieldSpec{.min = min, .unit = "ms", .help = help};
  };
  return Schema<T>("timeouts")
      .field("connect_ms", &T::connect_ms, ms("To connect to an engine, name look-up included."))
      .field("first_byte_ms", &T::first_byte_ms,
             ms("From the request sent to the head of the engine's answer."))
      .field("stream_idle_ms", &T::stream_idle_ms, ms("Between two pieces of an engine's answer."))
      .field("hold_ms", &T::hold_ms, ms("Longest that a policy may hold a request; then 503."))
      .field("request_ms", &T::request_ms, ms("For a whole request; 0: no limit.", 0))
      .field("client_header_ms", &T::client_header_ms, ms("For a client to send a request's head."))
      .field("client_body_ms", &T::client_body_ms, ms("For a client to send a request's body."))
      .field("client_idle_ms", &T::client_idle_ms, ms("Between two requests of a connection."))
      .field("client_write_ms", &T::client_write_ms,
             ms("For a client to take a piece of its answer."))
      .field("drain_ms", &T::drain_ms, ms("For running requests to finish after SIGTERM.", 0));
}

Schema<JournalSection> journal_schema() {
  using J = JournalSection;
  return Schema<J>("journal")
      .field("path", &J::path, {.help = "Decision log (JSON lines, no prompt text); empty: none."})
      .field("max_bytes", &J::max_bytes,
             {.min = 1 << 16, .unit = "bytes", .help = "Size at which a file is rotated."})
      .field("files", &J::files,
             {.min = 1, .max = 1000, .help = "Files kept, the current one included."});
}

Schema<LearningSection> learning_schema() {
  using L = LearningSection;
  return Schema<L>("learning")
      .field("state_file", &L::state_file,
             {.help = "What was learned is kept here across restarts; empty: not kept. A file that "
                      "cannot be used is moved to <file>.bad."})
      .field("save_every_s", &L::save_every_s,
             {.min = 1, .max = 86400, .unit = "s", .help = "Between two saves; also at the end."});
}

Result<void> read_policies(const Node& node, const std::string& path, ServeConfig& out) {
  if (node.kind != Node::Kind::kMap)
    return config::fail_at(node, path, "expected a mapping from served model to policy");
  out.policies.clear();
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    std::string policy;
    const std::string place = path + "." + node.keys[i];
    if (auto ok = config::read_value(node.items[i], place, {.min = 1}, policy); !ok) return ok;
    out.policies.emplace(node.keys[i], std::move(policy));
  }
  return {};
}

DurationNs ms(double value) { return from_ms(value); }

}  // namespace

Schema<ServeConfig> serve_schema() {
  using C = ServeConfig;
  return Schema<C>("serve")
      .field("listen", &C::listen, {.help = "host:port to listen on; :port for all addresses."})
      .list("engines", &C::engines, engine_schema(),
            {.required = true, .help = "The engines to route to."})
      .field("policy", &C::policy, {.help = "Policy for every served model without its own."})
      .custom("policies", "mapping of served model to policy", read_policies,
              {.help = "Policy per served model."})
      .field("scrape_period_ms", &C::scrape_period_ms,
             {.min = 10, .unit = "ms", .help = "Between two scrapes of an engine's /metrics."})
      .field("scrape_timeout_ms", &C::scrape_timeout_ms,
             {.min = 10, .unit = "ms", .help = "For one scrape or health check."})
      .field("workers", &C::workers,
             {.min = 1,
              .max = 256,
              .help = "I/O threads; with one, decisions need no hop between threads."})
      .field("seed", &C::seed, {.help = "Of the router's random streams."})
      .field("max_attempts", &C::max_attempts,
             {.min = 1, .max = 100, .help = "Placements of one request, the first included."})
      .field("expose_routing", &C::expose_routing,
             {.help = "Honour the header routing-strategy and name the instance in answers. For "
                      "trusted clients."})
      .field(
          "usage_injection", &C::usage_injection,
          {.help =
               "Ask engines for usage in streams whose client did not ask, and take it out again."})
      .field(
          "tenant_header", &C::tenant_header,
          {.help = "Header whose value separates the prefix keys of tenants; empty: one tenant."})
      .field("hash_key", &C::hash_key,
             {.help = "Secret of the prefix hashes, any text; default: random per process."})
      .field("hash_block_bytes", &C::hash_block_bytes,
             {.min = 16,
              .max = 65536,
              .unit = "bytes",
              .help = "Prompt bytes per prefix block; a multiple of 4."})
      .section("limits", &C::limits, limits_schema(), {.help = "What is refused."})
      .section("timeouts", &C::timeouts, timeouts_schema(), {.help = "How long things may take."})
      .section(
          "admin", &C::admin,
          Schema<AdminSection>("admin").field(
              "token_env", &AdminSection::token_env,
              {.help = "Environment variable with the token that exposes routing to one request."}),
          {.help = "What only operators may do."})
      .section("journal", &C::journal, journal_schema(), {.help = "The decision log."})
      .section("learning", &C::learning, learning_schema(), {.help = "What policies learn."})
      .check([](const C& c) -> std::string {
        if (c.engines.empty()) return "engines: at least one engine is needed";
        if (c.hash_block_bytes % 4 != 0) return "hash_block_bytes: must be a multiple of 4";
        return {};
      });
}

Result<ServeConfig> parse_serve_config(const std::string& text, const std::string& origin) {
  auto node = config::parse_yaml(text, origin);
  if (!node) return std::unexpected(node.error());
  ServeConfig out;
  if (auto ok = serve_schema().parse(*node, out); !ok) return std::unexpected(ok.error());
  if (auto ok = parse_listen(out.listen); !ok) return std::unexpected(ok.error());
  if (auto ok = engine_targets(out); !ok) return std::unexpected(ok.error());
  return out;
}

Result<ServeConfig> read_serve_config(const std::string& path) {
  auto text = config::read_yaml_text(path);
  if (!text) return std::unexpected(text.error());
  return parse_serve_config(*text, path);
}

bool ListenAddress::loopback() const { return address.starts_with("127.") || address == "::1"; }

Result<ListenAddress> parse_listen(const std::string& text) {
  const auto bad = [&] {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("listen: \"{}\" is not of the form host:port, such as 127.0.0.1:8080", text));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad();
  ListenAddress out;
  out.address = text.substr(0, colon);
  const char* end = text.data() + text.size();
  const auto [ptr, ec] = std::from_chars(text.data() + colon + 1, end, out.port);
  if (ec != std::errc() || ptr != end) return bad();
  if (out.address.size() >= 2 && out.address.front() == '[' && out.address.back() == ']')
    out.address = out.address.substr(1, out.address.size() - 2);
  else if (out.address.find(':') != std::string::npos)
    return bad();
  if (out.address == "localhost") out.address = "127.0.0.1";
  if (out.address.empty()) out.address = "0.0.0.0";
  return out;
}

Result<std::vector<control::EngineTarget>> engine_targets(const ServeConfig& config) {
  std::vector<control::EngineTarget> out;
  for (const EngineEntry& entry : config.engines) {
    control::EngineTarget target;
    target.id = InstanceId{static_cast<std::uint32_t>(out.size() + 1)};
    auto url = net::parse_url(entry.url);
    if (!url) return std::unexpected(url.error());
    target.url = std::move(*url);
    target.name = entry.name.empty() ? target.url.authority() + target.url.base_path : entry.name;
    if (std::any_of(out.begin(), out.end(), [&](const auto& t) { return t.name == target.name; }))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("engines: \"{}\" is there twice; give each engine its own name",
                              target.name));
    target.hardware = entry.hardware;
    target.served_models = entry.served_models;
    target.told_prefill_tokens_per_s = entry.prefill_tokens_per_s;
    target.kv_capacity_tokens = entry.kv_capacity_tokens;
    out.push_back(std::move(target));
  }
  if (out.empty())
    return fail(ErrorCode::kInvalidArgument, "engines: at least one engine is needed");
  return out;
}

HashKey hash_key_of(const ServeConfig& config, HashKey fallback) {
  if (config.hash_key.empty()) return fallback;
  return {siphash13({1, 0}, config.hash_key), siphash13({2, 0}, config.hash_key)};
}

ProxyOptions proxy_options(const ServeConfig& config, HashKey key) {
  ProxyOptions o;
  o.parse = {key, config.hash_block_bytes};
  o.expose_routing = config.expose_routing;
  o.usage_injection = config.usage_injection;
  o.tenant_header = config.tenant_header;
  o.default_policy = config.policy;
  o.policy_by_model = config.policies;
  o.max_inflight = config.limits.max_inflight;
  o.hold_timeout = ms(config.timeouts.hold_ms);
  o.request_timeout = ms(config.timeouts.request_ms);
  o.upstream.connect_timeout = ms(config.timeouts.connect_ms);
  o.upstream.first_byte_timeout = ms(config.timeouts.first_byte_ms);
  o.upstream.read_timeout = ms(config.timeouts.stream_idle_ms);
  return o;
}

net::ServerOptions server_options(const ServeConfig& config, const ListenAddress& listen) {
  net::ServerOptions o;
  o.address = listen.address;
  o.port = listen.port;
  o.max_connections = config.limits.max_connections;
  o.max_header_bytes = config.limits.max_header_bytes;
  o.max_body_bytes = config.limits.max_body_bytes;
  o.header_timeout = ms(config.timeouts.client_header_ms);
  o.body_timeout = ms(config.timeouts.client_body_ms);
  o.idle_timeout = ms(config.timeouts.client_idle_ms);
  o.write_timeout = ms(config.timeouts.client_write_ms);
  return o;
}

control::MonitorOptions monitor_options(const ServeConfig& config) {
  control::MonitorOptions o;
  o.scrape_period = ms(config.scrape_period_ms);
  o.scrape_timeout = ms(config.scrape_timeout_ms);
  return o;
}

}  // namespace lodestar::proxy
