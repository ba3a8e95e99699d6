// SPDX-License-Identifier: Apache-2.0
#include "emulator/vllm_metrics.h"

#include <fmt/format.h>

namespace lodestar::emulator {
namespace {

std::vector<double> first_token_bounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
          1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
}
std::vector<double> per_token_bounds() {
  return {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
          0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
}
std::vector<double> latency_bounds() {
  return {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
          30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
}
std::vector<double> iteration_bounds() {
  return {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
}

// The labels of cache_config_info: vLLM's CacheConfig, as strings.
LabelText cache_info(const sim::EngineConfig& config, double gpu_memory_utilization) {
  const std::string block_size = std::to_string(config.block_tokens);
  const std::string blocks = std::to_string(config.kv_capacity_tokens / config.block_tokens);
  const std::string utilization = prom_value(gpu_memory_utilization);
  return LabelText{
      {"block_size", block_size},
      {"cache_dtype", "auto"},
      {"calculate_kv_scales", "False"},
      {"cpu_kvcache_space_bytes", "None"},
      {"enable_prefix_caching", config.prefix_caching ? "True" : "False"},
      {"engine", "0"},
      {"gpu_memory_utilization", utilization},
      {"is_attention_free", "False"},
      {"kv_cache_memory_bytes", "None"},
      {"kv_offloading_backend", "native"},
      {"kv_offloading_size", "None"},
      {"kv_sharing_fast_prefill", "False"},
      {"mamba_block_size", "None"},
      {"mamba_cache_dtype", "auto"},
      {"mamba_cache_mode", "none"},
      {"mamba_page_size_padded", "None"},
      {"mamba_ssm_cache_dtype", "auto"},
      {"num_cpu_blocks", "None"},
      {"num_gpu_blocks", blocks},
      {"num_gpu_blocks_override", "None"},
      {"prefix_caching_hash_algo", "sha256"},
      {"sliding_window", "None"},
      {"user_specified_block_size", "False"},
  };
}

}  // namespace

VllmMetrics::VllmMetrics(std::string served_model, const sim::EngineConfig& config,
                         std::int64_t max_model_len, double gpu_memory_utilization, double created)
    : served_model_(std::move(served_model)),
      created_(created),
      plain_{{"model_name", served_model_}, {"engine", "0"}},
      cache_info_(cache_info(config, gpu_memory_utilization)),
      prompt_(one_two_five(max_model_len)),
      generation_(one_two_five(max_model_len)),
      iteration_(iteration_bounds()),
      max_generation_(one_two_five(max_model_len)),
      params_n_({1, 2, 5, 10, 20}),
      params_max_(one_two_five(max_model_len)),
      ttft_(first_token_bounds()),
      itl_(per_token_bounds()),
      tpot_(per_token_bounds()),
      e2e_(latency_bounds()),
      queue_(latency_bounds()),
      inference_(latency_bounds()),
      prefill_(latency_bounds()),
      decode_(latency_bounds()),
      prefill_computed_(one_two_five(max_model_len)) {}

void VllmMetrics::step(std::int64_t prompt_tokens, std::int64_t generated_tokens) {
  iteration_.observe(static_cast<double>(prompt_tokens + generated_tokens));
}

void VllmMetrics::first_token(DurationNs since_arrival) { ttft_.observe(to_s(since_arrival)); }
void VllmMetrics::inter_token(DurationNs gap) { itl_.observe(to_s(gap)); }

void VllmMetrics::ended(const EndedRequest& r) {
  ++endings_[static_cast<std::size_t>(r.ending)];
  e2e_.observe(to_s(r.end - r.arrival));
  prompt_.observe(static_cast<double>(r.prompt_tokens));
  generation_.observe(static_cast<double>(r.generated_tokens));
  max_generation_.observe(static_cast<double>(r.generated_tokens));
  params_n_.observe(1);
  params_max_.observe(static_cast<double>(r.max_tokens));
  // A request that ended in the queue never was in a phase; vLLM counts zeros.
  const bool ran = r.scheduled != kNever, answered = ran && r.first_token != kNever;
  const TimeNs last = answered ? r.last_token : 0;
  queue_.observe(ran ? to_s(r.scheduled - r.arrival) : 0);
  inference_.observe(answered ? to_s(last - r.scheduled) : 0);
  prefill_.observe(answered ? to_s(r.first_token - r.scheduled) : 0);
  decode_.observe(answered ? to_s(last - r.first_token) : 0);
  prefill_computed_.observe(answered ? static_cast<double>(r.prompt_tokens - r.cached_tokens) : 0);
  if (answered && r.generated_tokens > 1)
    tpot_.observe(to_s(last - r.first_token) / static_cast<double>(r.generated_tokens - 1));
}

LabelText VllmMetrics::labels(std::string_view name, std::string_view value) const {
  return LabelText{{name, value}, {"model_name", served_model_}, {"engine", "0"}};
}

void VllmMetrics::render(const sim::EngineStats& stats, PromPage& page) const {
  render_gauges(stats, page);
  render_counters(stats, page);
  render_histograms(page);
  page.gauge("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", cache_info_, 1);
}

void VllmMetrics::render_gauges(const sim::EngineStats& stats, PromPage& page) const {
  const auto running = static_cast<double>(stats.running);
  const auto waiting = static_cast<double>(stats.waiting);
  page.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", plain_,
             running);
  page.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", plain_,
             waiting);
  page.header("vllm:num_requests_waiting_by_reason", "gauge",
              "Number of requests waiting to be processed, by reason.");
  page.sample("vllm:num_requests_waiting_by_reason", labels("reason", "capacity"), waiting);
  page.sample("vllm:num_requests_waiting_by_reason", labels("reason", "deferred"), 0);
  page.header("vllm:engine_sleep_state", "gauge",
              "Engine sleep state; awake = 1 when awake, else the sleep level's state is 1.");
  page.sample("vllm:engine_sleep_state", labels("sleep_state", "awake"), 1);
  page.sample("vllm:engine_sleep_state", labels("sleep_state", "weights_offloaded"), 0);
  page.sample("vllm:engine_sleep_state", labels("sleep_state", "discard_all"), 0);
  page.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", plain_,
             stats.kv_usage);
}

void VllmMetrics::render_counters(const sim::EngineStats& stats, PromPage& page) const {
  const auto plain = [&](const char* name, const char* help, std::int64_t value) {
    page.counter(name, help, created_, {{plain_, static_cast<double>(value)}});
  };
  plain("vllm:prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens.",
        stats.prefix_queries);
  plain("vllm:prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.",
        stats.prefix_hits);
  plain("vllm:external_prefix_cache_queries", "External prefix cache queries, in tokens.", 0);
  plain("vllm:external_prefix_cache_hits", "External prefix cache hits, in tokens.", 0);
  plain("vllm:mm_cache_queries", "Multi-modal cache queries, in items.", 0);
  plain("vllm:mm_cache_hits", "Multi-modal cache hits, in items.", 0);
  plain("vllm:num_preemptions", "Cumulative number of preemption from the engine.",
        stats.preemptions);
  plain("vllm:prompt_tokens", "Number of prefill tokens processed.", stats.prompt_tokens);
  const auto cached = static_cast<double>(stats.prompt_tokens_cached);
  page.counter(
      "vllm:prompt_tokens_by_source", "Number of prompt tokens by source.", created_,
      {{labels("source", "local_compute"), static_cast<double>(stats.prompt_tokens) - cached},
       {labels("source", "local_cache_hit"), cached},
       {labels("source", "external_kv_transfer"), 0}});
  plain("vllm:prompt_tokens_cached", "Number of cached prompt tokens.", stats.prompt_tokens_cached);
  plain("vllm:generation_tokens", "Number of generation tokens processed.",
        stats.generation_tokens);
  constexpr const char* kReasons[kEndings] = {"stop", "length", "abort", "error", "repetition"};
  std::vector<std::pair<LabelText, double>> success;
  for (std::size_t i = 0; i < kEndings; ++i)
    success.emplace_back(labels("finished_reason", kReasons[i]), static_cast<double>(endings_[i]));
  page.counter("vllm:request_success", "Count of successfully processed requests.", created_,
               success);
}

void VllmMetrics::render_histograms(PromPage& page) const {
  const auto one = [&](const char* name, const char* help, const Histogram& histogram) {
    page.histogram(name, help, created_, {{plain_, &histogram}});
  };
  one("vllm:request_prompt_tokens", "Number of prefill tokens processed.", prompt_);
  one("vllm:request_generation_tokens", "Number of generation tokens processed.", generation_);
  one("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", iteration_);
  one("vllm:request_max_num_generation_tokens",
      "Histogram of maximum number of requested generation tokens.", max_generation_);
  one("vllm:request_params_n", "Histogram of the n request parameter.", params_n_);
  one("vllm:request_params_max_tokens", "Histogram of the max_tokens request parameter.",
      params_max_);
  one("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", ttft_);
  one("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", itl_);
  one("vllm:request_time_per_output_token_seconds",
      "Histogram of time_per_output_token_seconds per request.", tpot_);
  one("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", e2e_);
  one("vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.",
      queue_);
  one("vllm:request_inference_time_seconds",
      "Histogram of time spent in RUNNING phase for request.", inference_);
  one("vllm:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.",
      prefill_);
  one("vllm:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.",
      decode_);
  one("vllm:request_prefill_kv_computed_tokens",
      "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
      prefill_computed_);
}

}  // namespace lodestar::emulator
