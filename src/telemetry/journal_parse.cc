// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "telemetry/journal_text.h"

namespace lodestar::telemetry {
namespace {

using nlohmann::json;

// Reads fields of one object; remembers the first thing that was wrong, so that a
// caller checks once at the end.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}
  const std::string& wrong() const { return wrong_; }

  template <class T>
  T get(const char* key, T absent = T{}, bool required = true) {
    const auto it = object_.find(key);
    if (it == object_.end()) {
      if (required) note(key, "is missing");
      return absent;
    }
    T out = absent;
    if (!read(*it, out)) note(key, "has the wrong type");
    return out;
  }
  template <class T>
  std::optional<T> maybe(const char* key) {
    if (!object_.contains(key)) return std::nullopt;
    return get<T>(key);
  }
  // A number that stands for one of `count` values of an enumeration.
  template <class E>
  E enumerated(const char* key, int count) {
    const auto value = get<std::int64_t>(key);
    if (value < 0 || value >= count) note(key, "is out of range");
    return static_cast<E>(value);
  }
  const json* find(const char* key) {
    const auto it = object_.find(key);
    if (it != object_.end()) return &*it;
    note(key, "is missing");
    return nullptr;
  }
  void note(const char* key, const char* what) {
    if (wrong_.empty()) wrong_ = fmt::format("field \"{}\" {}", key, what);
  }

 private:
  static bool read(const json& v, std::string& out) {
    if (v.is_string()) out = v.get<std::string>();
    return v.is_string();
  }
  static bool read(const json& v, bool& out) {
    if (v.is_boolean()) out = v.get<bool>();
    return v.is_boolean();
  }
  static bool read(const json& v, double& out) {
    if (v.is_string()) {
      const auto& text = v.get_ref<const std::string&>();
      constexpr double kInf = std::numeric_limits<double>::infinity();
      out = text == "inf"    ? kInf
            : text == "-inf" ? -kInf
                             : std::numeric_limits<double>::quiet_NaN();
      return text == "inf" || text == "-inf" || text == "nan";
    }
    if (v.is_number()) out = v.get<double>();
    return v.is_number();
  }
  template <class T>
    requires std::is_integral_v<T>
  static bool read(const json& v, T& out) {
    if (v.is_number_unsigned()) {
      const auto u = v.get<std::uint64_t>();
      out = static_cast<T>(u);
      return static_cast<std::uint64_t>(std::numeric_limits<T>::max()) >= u;
    }
    if (!v.is_number_integer() || std::is_unsigned_v<T>) return false;
    const auto i = v.get<std::int64_t>();
    out = static_cast<T>(i);
    return static_cast<std::int64_t>(out) == i;
  }
  template <class T>
  static bool read(const json& v, std::vector<T>& out) {
    if (!v.is_array()) return false;
    for (const json& item : v)
      if (T one{}; read(item, one)) {
        out.push_back(std::move(one));
      } else {
        return false;
      }
    return true;
  }

  const json& object_;
  std::string wrong_;
};

RequestInfo request_info(Fields& f) {
  RequestInfo r;
  r.served_model = f.get<std::string>("model");
  r.adapter = f.get<std::string>("adapter", {}, false);
  r.tenant = f.get<std::string>("tenant", {}, false);
  r.session_key = f.get<std::string>("session", {}, false);
  r.policy = f.get<std::string>("policy", {}, false);
  r.prompt_bytes = f.get<std::int64_t>("bytes");
  r.prompt_tokens = f.get<double>("tokens");
  r.prompt_tokens_error = f.get<double>("tokens_error");
  r.block_hashes = f.get<std::vector<std::uint64_t>>("hashes");
  r.block_tokens = f.get<double>("block_tokens");
  r.block_bytes = f.get<std::int64_t>("block_bytes");
  r.max_output_tokens = f.get<std::int64_t>("max_output");
  r.slo.ttft_ms = f.get<double>("slo_ttft");
  r.slo.tpot_ms = f.get<double>("slo_tpot");
  r.priority = f.get<int>("priority");
  r.deadline = f.get<std::int64_t>("deadline");
  r.stream = f.get<bool>("stream");
  return r;
}

InstanceInfo instance_info(Fields& f) {
  InstanceInfo i;
  i.id = InstanceId{f.get<std::uint32_t>("i")};
  i.incarnation = f.get<std::uint32_t>("inc");
  i.name = f.get<std::string>("name");
  i.served_models = f.get<std::vector<std::string>>("models");
  i.adapters = f.get<std::vector<std::string>>("adapters");
  i.hardware = f.get<std::string>("hardware");
  i.told_prefill_tokens_per_s = f.get<double>("prefill_rate");
  i.kv_capacity_tokens = f.get<std::int64_t>("kv_capacity");
  i.max_model_len = f.get<std::int64_t>("max_len");
  i.max_num_seqs = f.get<std::int64_t>("max_seqs");
  i.prefix_caching = f.get<bool>("caching");
  return i;
}

TokenProgress progress(Fields& f) {
  TokenProgress out;
  const json* items = f.find("items");
  if (items == nullptr) return out;
  if (!items->is_array()) f.note("items", "has the wrong type");
  for (const json& item : *items) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_number_unsigned() ||
        !item[1].is_number_integer()) {
      f.note("items", "holds something that is no [lease, tokens]");
      break;
    }
    out.items.push_back({LeaseId{item[0].get<std::uint64_t>()}, item[1].get<std::int64_t>()});
  }
  return out;
}

Ended ended(Fields& f) {
  Ended e;
  e.lease = LeaseId{f.get<std::uint64_t>("lease")};
  e.output_tokens = f.get<std::int64_t>("output");
  e.usage.prompt_tokens = f.maybe<std::int64_t>("usage_prompt");
  e.usage.cached_tokens = f.maybe<std::int64_t>("usage_cached");
  e.usage.completion_tokens = f.maybe<std::int64_t>("usage_completion");
  e.last_token_at = f.get<std::int64_t>("last");
  return e;
}

Scraped scraped(Fields& f) {
  Scraped s;
  s.instance = InstanceId{f.get<std::uint32_t>("i")};
  s.incarnation = f.get<std::uint32_t>("inc");
  s.load.running = f.get<double>("running");
  s.load.waiting = f.get<double>("waiting");
  s.load.kv_usage = f.get<double>("kv_usage");
  s.load.prefix_queries_tokens = f.get<double>("queries");
  s.load.prefix_hits_tokens = f.get<double>("hits");
  s.load.preemptions = f.get<double>("preemptions");
  s.load.taken_at = f.get<std::int64_t>("taken");
  return s;
}

// The state's own decoder judges what it says; here only that it is hexadecimal.
StateLoaded state_loaded(Fields& f) {
  StateLoaded s;
  s.policy = f.get<std::string>("policy");
  s.served_model = f.get<std::string>("model");
  const auto text = f.get<std::string>("bytes");
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (text.size() % 2 != 0) f.note("bytes", "has half a byte");
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const std::size_t high = kDigits.find(text[i]), low = kDigits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      f.note("bytes", "is not hexadecimal");
      break;
    }
    s.bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return s;
}

Event event_of(const std::string& name, Fields& f, bool& published_null) {
  constexpr int kErrorCodes = static_cast<int>(ErrorCode::kInternal) + 1;
  constexpr int kHealths = static_cast<int>(Health::kDraining) + 1;
  const auto request = [&] { return RequestId{f.get<std::uint64_t>("id")}; };
  const auto lease = [&] { return LeaseId{f.get<std::uint64_t>("lease")}; };
  const auto instance = [&] { return InstanceId{f.get<std::uint32_t>("i")}; };
  const auto error = [&] { return f.enumerated<ErrorCode>("error", kErrorCodes); };
  if (name == "arrived") return RequestArrived{request(), request_info(f)};
  if (name == "attempt_failed") return AttemptFailed{request(), lease(), error()};
  if (name == "progress") return progress(f);
  if (name == "first_token") return FirstToken{lease()};
  if (name == "ended") return ended(f);
  if (name == "lease_failed") return LeaseFailed{lease(), error()};
  if (name == "aborted") return Aborted{request()};
  if (name == "scraped") return scraped(f);
  if (name == "scrape_failed") return ScrapeFailed{instance()};
  if (name == "up") return InstanceUp{instance_info(f)};
  if (name == "changed")
    return InstanceChanged{instance(), f.enumerated<Health>("health", kHealths)};
  if (name == "down") return InstanceDown{instance()};
  if (name == "kv_evicted")
    return KvEvicted{instance(), f.get<std::vector<std::uint64_t>>("hashes")};
  if (name == "published") {
    published_null = !f.get<bool>("ok");
    return PredictorPublished{f.get<std::uint32_t>("p"), nullptr};
  }
  if (name == "state") return state_loaded(f);
  if (name != "timer") f.note("e", "names no event");
  return Timer{};
}

std::unexpected<Error> bad(const std::string& what) {
  return fail(ErrorCode::kInvalidArgument, "not a line of a decision log: " + what);
}

}  // namespace

Result<JournalHeader> parse_journal_header(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object() || !object.contains("lodestar_journal"))
    return bad("the first line must be the header {\"lodestar_journal\":...}");
  Fields f(object);
  if (const int version = f.get<int>("lodestar_journal"); version != kJournalVersion)
    return bad(fmt::format("version {} is not {}", version, kJournalVersion));
  JournalHeader out;
  out.next = f.get<std::uint64_t>("next");
  out.config.seed = f.get<std::uint64_t>("seed");
  out.config.policy = f.get<std::string>("policy");
  out.config.max_attempts = f.get<std::uint32_t>("max_attempts");
  out.config.scrape_stale_after = f.get<std::int64_t>("scrape_stale_after");
  out.config.prefix_block_tokens = f.get<double>("prefix_block_tokens");
  out.config.prefix.max_bytes = f.get<std::uint64_t>("prefix_max_bytes");
  out.config.fallbacks = f.get<std::uint64_t>("fallbacks");
  if (const json* policies = f.find("policies")) {
    if (!policies->is_object()) f.note("policies", "has the wrong type");
    for (const auto& [served_model, policy] : policies->items()) {
      if (!policy.is_string())
        f.note("policies", "holds a policy that is no text");
      else
        out.config.policy_by_model[served_model] = policy.get<std::string>();
    }
  }
  if (!f.wrong().empty()) return bad(f.wrong());
  if (!(out.config.prefix_block_tokens > 0)) return bad("prefix_block_tokens must be positive");
  return out;
}

Result<JournalRecord> parse_journal_record(std::string_view line) {
  // The effects are compared as text; in strings the quotes would be escaped.
  constexpr std::string_view kMark = ",\"x\":[";
  const std::size_t mark = line.find(kMark);
  if (mark == std::string_view::npos || !line.ends_with('}')) return bad("it is cut off");
  const json object = json::parse(std::string(line.substr(0, mark)) + "}", nullptr, false);
  if (!object.is_object()) return bad("it is no JSON object");
  JournalRecord out;
  Fields f(object);
  out.number = f.get<std::uint64_t>("n");
  out.at = f.get<std::int64_t>("t");
  out.event = event_of(f.get<std::string>("e"), f, out.published_null);
  if (!f.wrong().empty()) return bad(f.wrong());
  const std::size_t begin = mark + kMark.size() - 1;
  out.effects = std::string(line.substr(begin, line.size() - begin - 1));
  return out;
}

}  // namespace lodestar::telemetry
