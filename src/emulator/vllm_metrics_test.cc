// SPDX-License-Identifier: Apache-2.0
#include "emulator/vllm_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "emulator/process_metrics.h"

namespace lodestar::emulator {
namespace {

struct Page {
  std::map<std::string, std::string> types;    // family -> type
  std::map<std::string, double> samples;       // series with labels -> value
  std::vector<std::string> problems;
};

Page parse(const std::string& text) {
  Page page;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# TYPE ")) {
      const std::size_t space = line.find(' ', 7);
      const std::string family = line.substr(7, space - 7);
      if (!page.types.emplace(family, line.substr(space + 1)).second)
        page.problems.push_back("second TYPE of " + family);
    } else if (!line.starts_with("#")) {
      const std::size_t space = line.rfind(' ');
      const std::string value = line.substr(space + 1);
      if (!page.samples.emplace(line.substr(0, space), std::stod(value)).second)
        page.problems.push_back("twice: " + line);
    }
  }
  return page;
}

sim::EngineConfig config() {
  sim::EngineConfig c;
  c.kv_capacity_tokens = 41904;
  return c;
}

class MetricsPage : public testing::Test {
 protected:
  VllmMetrics metrics_{"m", config(), 41904, 0.9, 1.7e9};
  sim::EngineStats stats_;
  Page page() {
    PromPage text;
    render_process_metrics(1.7e9, text);
    metrics_.render(stats_, text);
    http_.render(1.7e9, text);
    return parse(text.take());
  }
  HttpMetrics http_;
};

constexpr const char* kPlain = "{engine=\"0\",model_name=\"m\"}";

TEST_F(MetricsPage, HasEveryFamilyOfVllmWithItsType) {
  http_.request("/metrics", "GET", 200, 0, 50'000, 0.01);
  const Page p = page();
  EXPECT_THAT(p.problems, testing::IsEmpty());
  for (const char* name :
       {"num_requests_running", "num_requests_waiting", "num_requests_waiting_by_reason",
        "engine_sleep_state", "kv_cache_usage_perc", "cache_config_info"})
    EXPECT_EQ(p.types.at(std::string("vllm:") + name), "gauge") << name;
  for (const char* name :
       {"prefix_cache_queries", "prefix_cache_hits", "external_prefix_cache_queries",
        "external_prefix_cache_hits", "mm_cache_queries", "mm_cache_hits", "num_preemptions",
        "prompt_tokens", "prompt_tokens_by_source", "prompt_tokens_cached", "generation_tokens",
        "request_success"})
    EXPECT_EQ(p.types.at(std::string("vllm:") + name + "_total"), "counter") << name;
  for (const char* name :
       {"time_to_first_token_seconds", "inter_token_latency_seconds",
        "request_time_per_output_token_seconds", "e2e_request_latency_seconds",
        "request_queue_time_seconds", "request_inference_time_seconds",
        "request_prefill_time_seconds", "request_decode_time_seconds", "iteration_tokens_total",
        "request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens",
        "request_params_max_tokens", "request_params_n", "request_prefill_kv_computed_tokens"})
    EXPECT_EQ(p.types.at(std::string("vllm:") + name), "histogram") << name;
  EXPECT_GE(p.samples.size(), 400u);
}

TEST_F(MetricsPage, BucketsAreVllms) {
  const Page p = page();
  const auto bounds = [&](const std::string& name) {
    std::vector<std::string> out;
    const std::string start = "vllm:" + name + "_bucket{engine=\"0\",le=\"";
    for (const auto& [series, value] : p.samples)
      if (series.starts_with(start))
        out.push_back(series.substr(start.size(), series.find('"', start.size()) - start.size()));
    return out;
  };
  EXPECT_EQ(bounds("time_to_first_token_seconds").size(), 23u);
  EXPECT_THAT(bounds("time_to_first_token_seconds"), testing::Contains("2560.0"));
  EXPECT_EQ(bounds("inter_token_latency_seconds").size(), 20u);
  EXPECT_EQ(bounds("e2e_request_latency_seconds").size(), 22u);
  EXPECT_EQ(bounds("iteration_tokens_total").size(), 14u);
  EXPECT_THAT(bounds("request_prompt_tokens"),
              testing::AllOf(testing::Contains("20000.0"), testing::Contains("+Inf"),
                             testing::Not(testing::Contains("50000.0"))));
  EXPECT_EQ(bounds("request_params_n").size(), 6u);
}

TEST_F(MetricsPage, ShowsWhatHappened) {
  stats_.running = 3;
  stats_.waiting = 2;
  stats_.kv_usage = 0.25;
  stats_.prompt_tokens = 1000;
  stats_.prompt_tokens_cached = 400;
  metrics_.first_token(50 * kMillisecond);
  metrics_.inter_token(30 * kMillisecond);
  metrics_.step(1000, 3);
  metrics_.ended({.prompt_tokens = 1000,
                  .cached_tokens = 400,
                  .generated_tokens = 11,
                  .max_tokens = 11,
                  .arrival = 0,
                  .scheduled = kSecond,
                  .first_token = 2 * kSecond,
                  .last_token = 3 * kSecond,
                  .end = 3 * kSecond,
                  .ending = Ending::kLength});
  metrics_.ended({.prompt_tokens = 5, .arrival = 0, .end = kSecond, .ending = Ending::kAbort});
  const Page p = page();
  const auto at = [&](const std::string& series) { return p.samples.at(series); };
  EXPECT_EQ(at(std::string("vllm:num_requests_running") + kPlain), 3);
  EXPECT_EQ(at(std::string("vllm:num_requests_waiting") + kPlain), 2);
  EXPECT_EQ(at(std::string("vllm:kv_cache_usage_perc") + kPlain), 0.25);
  EXPECT_EQ(at("vllm:prompt_tokens_by_source_total{engine=\"0\",model_name=\"m\","
               "source=\"local_compute\"}"),
            600);
  EXPECT_EQ(at("vllm:request_success_total{engine=\"0\",finished_reason=\"length\","
               "model_name=\"m\"}"),
            1);
  EXPECT_EQ(at("vllm:request_success_total{engine=\"0\",finished_reason=\"abort\","
               "model_name=\"m\"}"),
            1);
  EXPECT_EQ(at("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.04\","
               "model_name=\"m\"}"),
            0);
  EXPECT_EQ(at("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.06\","
               "model_name=\"m\"}"),
            1);
  EXPECT_EQ(at("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"+Inf\","
               "model_name=\"m\"}"),
            1);
  EXPECT_NEAR(at(std::string("vllm:request_queue_time_seconds_sum") + kPlain), 1, 1e-9);
  EXPECT_NEAR(at(std::string("vllm:request_prefill_time_seconds_sum") + kPlain), 1, 1e-9);
  EXPECT_NEAR(at(std::string("vllm:request_decode_time_seconds_sum") + kPlain), 1, 1e-9);
  EXPECT_NEAR(at(std::string("vllm:request_time_per_output_token_seconds_sum") + kPlain), 0.1,
              1e-9);
  EXPECT_EQ(at(std::string("vllm:iteration_tokens_total_sum") + kPlain), 1003);
}

TEST_F(MetricsPage, OnePathWithTwoMethodsKeepsSeriesUnique) {
  http_.request("/v1/completions", "POST", 200, 10, 20, 0.2);
  http_.request("/v1/completions", "GET", 405, 0, 5, 0.001);
  http_.request("none", "GET", 404, 0, 5, 0.001);
  const Page p = page();
  EXPECT_THAT(p.problems, testing::IsEmpty());
  EXPECT_EQ(p.samples.at("http_request_size_bytes_count{handler=\"/v1/completions\"}"), 2);
  EXPECT_EQ(p.samples.at("http_requests_total{handler=\"/v1/completions\",method=\"POST\","
                         "status=\"2xx\"}"),
            1);
}

TEST(PromValue, LooksLikePython) {
  EXPECT_EQ(prom_value(0), "0.0");
  EXPECT_EQ(prom_value(1), "1.0");
  EXPECT_EQ(prom_value(0.001), "0.001");
  EXPECT_EQ(prom_value(100000), "100000.0");
  EXPECT_EQ(prom_value(1e6), "1e+06");
  EXPECT_EQ(prom_value(1234567), "1.234567e+06");
  EXPECT_EQ(prom_value(1795300042), "1.795300042e+09");
  EXPECT_EQ(prom_value(1e-5), "1e-05");
}

TEST(PromText, LabelsAreSortedAndEscaped) {
  const LabelText labels{{"model_name", "a\"b\\c\nd"}, {"engine", "0"}};
  EXPECT_EQ(labels.before_le, "engine=\"0\"");
  EXPECT_EQ(labels.after_le, "model_name=\"a\\\"b\\\\c\\nd\"");
}

TEST(OneTwoFive, StopsAtTheLimit) {
  EXPECT_THAT(one_two_five(100), testing::ElementsAre(1, 2, 5, 10, 20, 50, 100));
  EXPECT_THAT(one_two_five(99), testing::ElementsAre(1, 2, 5, 10, 20, 50));
}

}  // namespace
}  // namespace lodestar::emulator
