// SPDX-License-Identifier: Apache-2.0
#include "engines/adapter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engines/prom_text.h"

namespace lodestar::engines {
namespace {

constexpr const char* kVllm =
    "# HELP process_start_time_seconds Start time\n"
    "# TYPE process_start_time_seconds gauge\n"
    "process_start_time_seconds 1.7e+09\n"
    "# TYPE vllm:num_requests_running gauge\n"
    "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"
    "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 2.0\n"
    "vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 77\n"
    "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n"
    "vllm:prefix_cache_queries_total{engine=\"0\"} 100\n"
    "vllm:prefix_cache_queries_created{engine=\"0\"} 1.7e9\n"
    "vllm:prefix_cache_hits_total{engine=\"0\"} 40\n"
    "vllm:num_preemptions_total{engine=\"0\"} 1\n"
    "vllm:generation_tokens_total{engine=\"0\"} 500\n"
    "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"a,\\\"}b\",enable_prefix_caching="
    "\"True\","
    "engine=\"0\",num_gpu_blocks=\"2588\"} 1.0\n";

TEST(Adapter, ReadsAVllmPage) {
  auto s = read_metrics(kVllm, 42);
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->kind, EngineKind::kVllm);
  EXPECT_EQ(s->load.running, 3);
  EXPECT_EQ(s->load.waiting, 2);
  EXPECT_EQ(s->load.kv_usage, 0.25);
  EXPECT_EQ(s->load.prefix_queries_tokens, 100);
  EXPECT_EQ(s->load.prefix_hits_tokens, 40);
  EXPECT_EQ(s->load.preemptions, 1);
  EXPECT_EQ(s->load.taken_at, 42);
  EXPECT_EQ(s->kv_capacity_tokens, 16 * 2588);
  EXPECT_EQ(s->block_tokens, 16);
  EXPECT_EQ(s->prefix_caching, true);
  EXPECT_EQ(s->process_start_s, 1.7e9);
  EXPECT_EQ(s->lifetime_counter, 100 + 1 + 500);
}

TEST(Adapter, OldVllmNames) {
  auto s = read_metrics(
      "vllm:num_requests_running 1\nvllm:num_requests_waiting 0\nvllm:gpu_cache_usage_perc 0.5\n"
      "vllm:gpu_prefix_cache_hits_total 7\n",
      0);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->load.kv_usage, 0.5);
  EXPECT_EQ(s->load.prefix_hits_tokens, 7);
}

TEST(Adapter, RanksAreAddedUpAndUsageAveraged) {
  auto s = read_metrics(
      "vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 2\n"
      "vllm:num_requests_waiting{engine=\"0\"} 3\nvllm:num_requests_waiting{engine=\"1\"} 4\n"
      "vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.4\n",
      0);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->load.running, 3);
  EXPECT_EQ(s->load.waiting, 7);
  EXPECT_DOUBLE_EQ(s->load.kv_usage, 0.3);
}

TEST(Adapter, SglangAndLlamaCpp) {
  auto s = read_metrics(
      "# TYPE sglang:num_running_reqs gauge\nsglang:num_running_reqs{model_name=\"m\"} 5\n"
      "sglang:num_queue_reqs{model_name=\"m\"} 6\nsglang:token_usage{model_name=\"m\"} 0.1\n"
      "sglang:max_total_num_tokens{model_name=\"m\"} 1000\n",
      0);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->kind, EngineKind::kSglang);
  EXPECT_EQ(s->load.waiting, 6);
  EXPECT_EQ(s->kv_capacity_tokens, 1000);
  auto l = read_metrics("llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n", 0);
  ASSERT_TRUE(l);
  EXPECT_EQ(l->kind, EngineKind::kLlamaCpp);
  EXPECT_EQ(l->load.running, 2);
}

// Trap 17: what is no metrics page is unknown, never zero.
TEST(Adapter, Trap17_GarbageIsAnErrorNeverZero) {
  const std::vector<std::string> pages = {
      "",
      "{\"error\":\"vllm:num_requests_running\"}",
      "<html>vllm: busy</html>",
      "\n\n\n",
      "vllm:num_requests_running 1\n",                                  // no waiting
      "vllm:num_requests_running NaN\nvllm:num_requests_waiting 1\n",   // not a number
      "vllm:num_requests_running -1\nvllm:num_requests_waiting 1\n",
      "vllm:num_requests_running x\nvllm:num_requests_waiting 1\n",
      "vllm:num_requests_running +Inf\nvllm:num_requests_waiting 1\n",
      "go_goroutines 7\nother_metric 1\n"};
  for (const std::string& page : pages) EXPECT_FALSE(read_metrics(page, 0)) << page;
}

TEST(Adapter, CutAnywhereNeverCrashes) {
  const std::string page(kVllm);
  for (std::size_t n = 0; n <= page.size(); ++n)
    (void)read_metrics(std::string_view(page).substr(0, n), 0);
}

TEST(PromText, LabelsAndValues) {
  std::vector<PromSample> got;
  const std::string page =
      "a_x{k=\"v\",le=\"+Inf\"} 1e3 1700000000\r\na_y 5\na_z{q=\"br}ace\\\"\"} -2.5\nb "
      "1\na_bad{k=\"v\" 1\n";
  ASSERT_TRUE(read_prom_text(page, "a_", [&](const PromSample& s) { got.push_back(s); }));
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].value, 1000);
  EXPECT_EQ(prom_label(got[0].labels, "le"), "+Inf");
  EXPECT_EQ(prom_label(got[0].labels, "none"), std::nullopt);
  EXPECT_EQ(got[1].value, 5);
  EXPECT_EQ(got[2].value, -2.5);
  EXPECT_EQ(prom_label(got[2].labels, "q"), "br}ace\\\"");
}

}  // namespace
}  // namespace lodestar::engines
