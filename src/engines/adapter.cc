// SPDX-License-Identifier: Apache-2.0
#include "engines/adapter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "engines/prom_text.h"

namespace lodestar::engines {
namespace {

enum class Field {
  kRunning,
  kWaiting,
  kUsage,
  kQueries,
  kHits,
  kPreemptions,
  kCacheConfig,
  kCapacity,
  kLifetime
};

struct Name {
  std::string_view name;
  Field field;
};

// New and old names side by side: a page has one of them.
// vLLM: vllm/v1/metrics/loggers.py (prefix_cache_* since 0.10; gpu_* before), V0 metrics.py.
constexpr std::array<Name, 12> kVllmNames = {{
    {"vllm:num_requests_running", Field::kRunning},
    {"vllm:num_requests_waiting", Field::kWaiting},
    {"vllm:kv_cache_usage_perc", Field::kUsage},
    {"vllm:gpu_cache_usage_perc", Field::kUsage},
    {"vllm:prefix_cache_queries_total", Field::kQueries},
    {"vllm:gpu_prefix_cache_queries_total", Field::kQueries},
    {"vllm:prefix_cache_hits_total", Field::kHits},
    {"vllm:gpu_prefix_cache_hits_total", Field::kHits},
    {"vllm:num_preemptions_total", Field::kPreemptions},
    {"vllm:cache_config_info", Field::kCacheConfig},
    {"vllm:prompt_tokens_total", Field::kLifetime},
    {"vllm:generation_tokens_total", Field::kLifetime},
}};
// SGLang: python/sglang/srt/metrics/collector.py.
constexpr std::array<Name, 7> kSglangNames = {{
    {"sglang:num_running_reqs", Field::kRunning},
    {"sglang:num_queue_reqs", Field::kWaiting},
    {"sglang:token_usage", Field::kUsage},
    {"sglang:max_total_num_tokens", Field::kCapacity},
    {"sglang:cached_tokens_total", Field::kHits},
    {"sglang:prompt_tokens_total", Field::kQueries},
    {"sglang:generation_tokens_total", Field::kLifetime},
}};
// llama.cpp: tools/server; the cache gauges left in 2025.
constexpr std::array<Name, 7> kLlamaNames = {{
    {"llamacpp:requests_processing", Field::kRunning},
    {"llamacpp:requests_deferred", Field::kWaiting},
    {"llamacpp:kv_cache_usage_ratio", Field::kUsage},
    {"llamacpp:prompt_tokens_total", Field::kQueries},
    {"llamacpp:prompt_tokens_cached_total", Field::kHits},
    {"llamacpp:tokens_predicted_total", Field::kLifetime},
    {"llamacpp:n_decode_total", Field::kLifetime},
}};

struct Kind {
  EngineKind kind;
  std::string_view prefix;
  std::span<const Name> names;
};
constexpr std::array<Kind, 3> kKinds = {{
    {EngineKind::kVllm, "vllm:", kVllmNames},
    {EngineKind::kSglang, "sglang:", kSglangNames},
    {EngineKind::kLlamaCpp, "llamacpp:", kLlamaNames},
}};

const Kind* kind_of(std::string_view page) {
  for (const Kind& kind : kKinds) {
    for (std::size_t at = page.find(kind.prefix); at != std::string_view::npos;
         at = page.find(kind.prefix, at + 1)) {
      // At the start of a sample, or of the name in its HELP or TYPE line.
      if (at == 0 || page[at - 1] == '\n' || page[at - 1] == ' ') return &kind;
    }
  }
  return nullptr;
}

std::int64_t integer_label(std::string_view labels, std::string_view name) {
  std::int64_t value = 0;
  const auto text = prom_label(labels, name);
  if (!text) return 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), value);
  return ec == std::errc() && end == text->data() + text->size() && value > 0 ? value : 0;
}

class Collector {
 public:
  explicit Collector(const Kind& kind) { out_.kind = kind.kind; }

  void take(Field field, const PromSample& s) {
    const double v = s.value;
    LoadSnapshot& load = out_.load;
    switch (field) {
      case Field::kRunning:
        load.running += v;
        ++running_;
        break;
      case Field::kWaiting:
        load.waiting += v;
        ++waiting_;
        break;
      case Field::kUsage:
        load.kv_usage += v;
        ++usage_;
        break;
      case Field::kQueries:
        load.prefix_queries_tokens += v;
        break;
      case Field::kHits:
        load.prefix_hits_tokens += v;
        break;
      case Field::kPreemptions:
        load.preemptions += v;
        break;
      case Field::kCapacity:
        capacity_ += v;
        break;
      case Field::kCacheConfig:
        take_cache_config(s.labels);
        break;
      case Field::kLifetime:
        break;
    }
    if (field == Field::kLifetime || field == Field::kQueries || field == Field::kPreemptions)
      out_.lifetime_counter += std::isfinite(v) ? v : 0;
  }

  void take_process_start(double v) {
    if (std::isfinite(v) && v > 0) out_.process_start_s = v;
  }

  Result<EngineSample> finish(TimeNs taken_at) {
    LoadSnapshot& load = out_.load;
    const auto sane = [](double v) { return std::isfinite(v) && v >= 0; };
    if (running_ == 0 || waiting_ == 0 || !sane(load.running) || !sane(load.waiting))
      return fail(ErrorCode::kProtocol,
                  "the metrics page lacks the gauges of running and waiting requests",
                  ErrorSource::kUpstream);
    if (usage_ > 0) load.kv_usage /= usage_;
    load.kv_usage = sane(load.kv_usage) ? std::min(load.kv_usage, 1.0) : 0;
    for (double* counter :
         {&load.prefix_queries_tokens, &load.prefix_hits_tokens, &load.preemptions})
      if (!sane(*counter)) *counter = 0;
    if (capacity_ > 0 && capacity_ < 1e15)
      out_.kv_capacity_tokens = static_cast<std::int64_t>(capacity_);
    load.taken_at = taken_at;
    return out_;
  }

 private:
  // num_gpu_blocks x block_size, over all ranks.
  void take_cache_config(std::string_view labels) {
    const std::int64_t block = integer_label(labels, "block_size");
    const std::int64_t blocks = integer_label(labels, "num_gpu_blocks");
    out_.block_tokens = block;
    capacity_ += static_cast<double>(block) * static_cast<double>(blocks);
    if (const auto on = prom_label(labels, "enable_prefix_caching"); on && *on != "None")
      out_.prefix_caching = *on == "True" || *on == "true" || *on == "1";
  }

  EngineSample out_;
  int running_ = 0, waiting_ = 0, usage_ = 0;
  double capacity_ = 0;
};

}  // namespace

std::string_view kind_name(EngineKind kind) {
  switch (kind) {
    case EngineKind::kUnknown:
      return "unknown";
    case EngineKind::kVllm:
      return "vllm";
    case EngineKind::kSglang:
      return "sglang";
    case EngineKind::kLlamaCpp:
      return "llama.cpp";
  }
  return "?";
}

EngineKind detect_kind(std::string_view page) {
  const Kind* kind = kind_of(page);
  return kind == nullptr ? EngineKind::kUnknown : kind->kind;
}

Result<EngineSample> read_metrics(std::string_view page, TimeNs taken_at) {
  const Kind* kind = kind_of(page);
  if (kind == nullptr)
    return fail(ErrorCode::kProtocol,
                "the page has no metrics of a known engine kind (vllm, sglang, llama.cpp)",
                ErrorSource::kUpstream);
  Collector collector(*kind);
  auto read = read_prom_text(page, kind->prefix, [&](const PromSample& s) {
    for (const Name& name : kind->names)
      if (name.name == s.name) collector.take(name.field, s);
  });
  if (!read) return std::unexpected(read.error());
  // Near the start or the end of a page, and found by search: not worth a second pass.
  constexpr std::string_view kStart = "\nprocess_start_time_seconds ";
  if (const std::size_t at = page.find(kStart); at != std::string_view::npos) {
    double value = 0;
    const char* begin = page.data() + at + kStart.size();
    if (std::from_chars(begin, page.data() + page.size(), value).ec == std::errc())
      collector.take_process_start(value);
  }
  return collector.finish(taken_at);
}

}  // namespace lodestar::engines
