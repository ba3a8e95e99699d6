// SPDX-License-Identifier: Apache-2.0
// The writing half; journal_parse.cc is the reading half. Field names are a format:
// change them together, and kJournalVersion with them.
#include "telemetry/journal_text.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <iterator>

namespace lodestar::telemetry {
namespace {

void put_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

// JSON has no NaN or infinity: they are written as texts.
void put(std::string& out, double value) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    out += std::isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
  }
}
void put(std::string& out, std::int64_t value) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}
void put(std::string& out, std::uint64_t value) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}
void put(std::string& out, std::uint32_t value) { put(out, std::uint64_t{value}); }
void put(std::string& out, int value) { put(out, std::int64_t{value}); }
void put(std::string& out, bool value) { out += value ? "true" : "false"; }
void put(std::string& out, std::string_view value) { put_string(out, value); }
void put(std::string& out, const std::string& value) { put_string(out, value); }

template <class T>
void field(std::string& out, std::string_view key, const T& value) {
  out.append(",\"").append(key).append("\":");
  put(out, value);
}

template <class List>
void list(std::string& out, std::string_view key, const List& items) {
  out.append(",\"").append(key).append("\":[");
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    put(out, item);
  }
  out += ']';
}

void put_info(std::string& out, const RequestInfo& r) {
  field(out, "model", r.served_model);
  if (!r.adapter.empty()) field(out, "adapter", r.adapter);
  if (!r.tenant.empty()) field(out, "tenant", r.tenant);
  if (!r.session_key.empty()) field(out, "session", r.session_key);
  if (!r.policy.empty()) field(out, "policy", r.policy);
  field(out, "bytes", r.prompt_bytes);
  field(out, "tokens", r.prompt_tokens);
  field(out, "tokens_error", r.prompt_tokens_error);
  list(out, "hashes", r.block_hashes);
  field(out, "block_tokens", r.block_tokens);
  field(out, "block_bytes", r.block_bytes);
  field(out, "max_output", r.max_output_tokens);
  field(out, "slo_ttft", r.slo.ttft_ms);
  field(out, "slo_tpot", r.slo.tpot_ms);
  field(out, "priority", r.priority);
  field(out, "deadline", r.deadline);
  field(out, "stream", r.stream);
}

void put_instance(std::string& out, const InstanceInfo& i) {
  field(out, "i", i.id.value);
  field(out, "inc", i.incarnation);
  field(out, "name", i.name);
  list(out, "models", i.served_models);
  list(out, "adapters", i.adapters);
  field(out, "hardware", i.hardware);
  field(out, "prefill_rate", i.told_prefill_tokens_per_s);
  field(out, "kv_capacity", i.kv_capacity_tokens);
  field(out, "max_len", i.max_model_len);
  field(out, "max_seqs", i.max_num_seqs);
  field(out, "caching", i.prefix_caching);
}

struct EventText {
  std::string& out;
  void name(std::string_view text) const {
    out += "\"e\":";
    put_string(out, text);
  }
  void operator()(const RequestArrived& e) const {
    name("arrived");
    field(out, "id", e.request.value);
    put_info(out, e.info);
  }
  void operator()(const AttemptFailed& e) const {
    name("attempt_failed");
    field(out, "id", e.request.value);
    field(out, "lease", e.lease.value);
    field(out, "error", static_cast<int>(e.error));
  }
  void operator()(const TokenProgress& e) const {
    name("progress");
    out += ",\"items\":[";
    for (std::size_t i = 0; i < e.items.size(); ++i)
      fmt::format_to(std::back_inserter(out), "{}[{},{}]", i ? "," : "", e.items[i].lease.value,
                     e.items[i].tokens);
    out += ']';
  }
  void operator()(const FirstToken& e) const {
    name("first_token");
    field(out, "lease", e.lease.value);
  }
  void operator()(const Ended& e) const {
    name("ended");
    field(out, "lease", e.lease.value);
    field(out, "output", e.output_tokens);
    if (e.usage.prompt_tokens) field(out, "usage_prompt", *e.usage.prompt_tokens);
    if (e.usage.cached_tokens) field(out, "usage_cached", *e.usage.cached_tokens);
    if (e.usage.completion_tokens) field(out, "usage_completion", *e.usage.completion_tokens);
    field(out, "last", e.last_token_at);
  }
  void operator()(const LeaseFailed& e) const {
    name("lease_failed");
    field(out, "lease", e.lease.value);
    field(out, "error", static_cast<int>(e.error));
  }
  void operator()(const Aborted& e) const {
    name("aborted");
    field(out, "id", e.request.value);
  }
  void operator()(const Scraped& e) const {
    name("scraped");
    field(out, "i", e.instance.value);
    field(out, "inc", e.incarnation);
    field(out, "running", e.load.running);
    field(out, "waiting", e.load.waiting);
    field(out, "kv_usage", e.load.kv_usage);
    field(out, "queries", e.load.prefix_queries_tokens);
    field(out, "hits", e.load.prefix_hits_tokens);
    field(out, "preemptions", e.load.preemptions);
    field(out, "taken", e.load.taken_at);
  }
  void operator()(const ScrapeFailed& e) const {
    name("scrape_failed");
    field(out, "i", e.instance.value);
  }
  void operator()(const InstanceUp& e) const {
    name("up");
    put_instance(out, e.info);
  }
  void operator()(const InstanceChanged& e) const {
    name("changed");
    field(out, "i", e.instance.value);
    field(out, "health", static_cast<int>(e.health));
  }
  void operator()(const InstanceDown& e) const {
    name("down");
    field(out, "i", e.instance.value);
  }
  void operator()(const KvEvicted& e) const {
    name("kv_evicted");
    field(out, "i", e.instance.value);
    list(out, "hashes", e.hashes);
  }
  void operator()(const PredictorPublished& e) const {
    name("published");
    field(out, "p", e.policy);
    field(out, "ok", e.predictor != nullptr);
  }
  void operator()(const Timer&) const { name("timer"); }
  void operator()(const StateLoaded& e) const {
    name("state");
    field(out, "policy", e.policy);
    field(out, "model", e.served_model);
    out += ",\"bytes\":\"";
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (const char c : e.bytes) {
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    }
    out += '"';
  }
};

struct EffectText {
  std::string& out;
  void operator()(const Dispatch& d) const {
    out += "{\"x\":\"dispatch\"";
    field(out, "id", d.request.value);
    field(out, "attempt", d.attempt);
    out += ",\"to\":[";
    for (std::size_t i = 0; i < d.placements.size(); ++i) {
      const Placement& p = d.placements[i];
      fmt::format_to(std::back_inserter(out), "{}[{},{},{},{},{}]", i ? "," : "",
                     static_cast<int>(p.role), p.instance.value, p.incarnation, p.dp_rank,
                     p.lease.value);
    }
    out += ']';
    std::vector<std::uint32_t> fallbacks;
    for (InstanceId id : d.fallbacks) fallbacks.push_back(id.value);
    list(out, "or", fallbacks);
    field(out, "propensity", d.propensity);
    field(out, "fallback", d.fallback);
    field(out, "why", d.reason);
    field(out, "tokens", d.prompt_tokens);
    field(out, "hit", d.hit_tokens);
    if (d.forecast.ttft_ms == 0) return;  // a rule's
    field(out, "ttft_ms", d.forecast.ttft_ms);
    list(out, "ttft90_ms", std::array{d.forecast.ttft_low_ms, d.forecast.ttft_high_ms});
    field(out, "tpot_ms", d.forecast.tpot_ms);
  }
  void operator()(const Hold& h) const {
    out += "{\"x\":\"hold\"";
    field(out, "id", h.request.value);
  }
  void operator()(const Reject& r) const {
    out += "{\"x\":\"reject\"";
    field(out, "id", r.request.value);
    field(out, "reason", static_cast<int>(r.reason));
    field(out, "after", r.retry_after);
  }
  void operator()(const Cancel& c) const {
    out += "{\"x\":\"cancel\"";
    field(out, "id", c.request.value);
    field(out, "lease", c.lease.value);
  }
  void operator()(const WakeAt& w) const {
    out += "{\"x\":\"wake\"";
    field(out, "at", w.at);
  }
  void operator()(const Train& t) const {
    out += "{\"x\":\"train\"";
    field(out, "p", t.policy);
  }
};

}  // namespace

void append_event(std::string& out, const Event& event) { std::visit(EventText{out}, event); }

void append_effects(std::string& out, const Effects& effects) {
  out += '[';
  bool first = true;
  for (const Effect& effect : effects) {
    if (!first) out += ',';
    first = false;
    std::visit(EffectText{out}, effect);
    out += '}';
  }
  out += ']';
}

std::string journal_header(const RouterConfig& config, std::uint64_t next) {
  std::string out = fmt::format("{{\"lodestar_journal\":{}", kJournalVersion);
  field(out, "next", next);
  field(out, "seed", config.seed);
  field(out, "policy", config.policy);
  out += ",\"policies\":{";
  bool first = true;
  for (const auto& [served_model, policy] : config.policy_by_model) {
    if (!first) out += ',';
    first = false;
    put_string(out, served_model);
    out += ':';
    put_string(out, policy);
  }
  out += '}';
  field(out, "max_attempts", config.max_attempts);
  field(out, "scrape_stale_after", config.scrape_stale_after);
  field(out, "prefix_block_tokens", config.prefix_block_tokens);
  field(out, "prefix_max_bytes", std::uint64_t{config.prefix.max_bytes});
  field(out, "fallbacks", std::uint64_t{config.fallbacks});
  out += "}\n";
  return out;
}

}  // namespace lodestar::telemetry
