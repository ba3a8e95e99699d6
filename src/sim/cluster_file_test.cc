// SPDX-License-Identifier: Apache-2.0
#include "sim/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/gpu_presets.h"

namespace lodestar::sim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kRaw =
    "{peak_tflops: 165, bandwidth_gb_s: 933, eta_c: 0.74, eta_m: 0.75, eta_kv: 0.80, eta_kvm: "
    "0.40, eta_a: 0.60, p: 2.0";

std::string group(const std::string& rest) { return "groups: [{" + rest + "}]\n"; }

Result<Cluster> parse(const std::string& text) { return parse_cluster(text, "dir/c.yaml", ""); }

std::string error_of(const std::string& text) {
  auto cluster = parse(text);
  return cluster ? "no error" : cluster.error().message;
}

TEST(ClusterFile, DefaultsAreThoseOfTheContract) {
  auto cluster = parse(group("gpu: a30, served_model: llama-3.1-8b"));
  ASSERT_TRUE(cluster) << cluster.error().message;
  ASSERT_EQ(cluster->engines.size(), 1u);
  EXPECT_EQ(cluster->name, "c");
  EXPECT_EQ(cluster->served_model, "llama-3.1-8b");
  EXPECT_EQ(cluster->scrape_period, 100 * kMillisecond);
  EXPECT_EQ(cluster->scrape_delay, 0);
  EXPECT_EQ(cluster->scrape_loss, 0);
  EXPECT_EQ(cluster->network_delay, 0);
  const WorldEngine& engine = cluster->engines[0];
  EXPECT_EQ(engine.config.max_num_batched_tokens, 2048);
  EXPECT_EQ(engine.config.max_num_seqs, 256);
  EXPECT_EQ(engine.config.block_tokens, 16);
  EXPECT_TRUE(engine.config.prefix_caching);
  EXPECT_TRUE(engine.config.chunked_prefill);
  EXPECT_FALSE(engine.config.async_scheduling);
  EXPECT_TRUE(engine.config.reserve_full_prompt);
  EXPECT_EQ(engine.config.jitter.sigma, 0);
  EXPECT_EQ(engine.config.speed_factor, 1);
  EXPECT_EQ(engine.info.name, "a30-0");
  EXPECT_EQ(engine.info.hardware, "a30");
  EXPECT_EQ(
      engine.config.kv_capacity_tokens,
      *kv_capacity_tokens(find_gpu("a30")->params, find_served_model("llama-3.1-8b")->params));
}

TEST(ClusterFile, RawNumbersGiveTheSameStepTimesAsThePreset) {
  auto preset = parse(group("gpu: a30, served_model: llama-3.1-8b, kv_capacity_tokens: 41900"));
  auto raw = parse(group(std::string("gpu: ") + kRaw +
                         "}, served_model: llama-3.1-8b, kv_capacity_tokens: 41900"));
  ASSERT_TRUE(preset && raw) << raw.error().message;
  StepShape shape;
  shape.tokens = 700;
  shape.sampling_seqs = 20;
  shape.decode_seqs = 19;
  shape.decode_context = 20000;
  shape.prefill_attention = 300000;
  EXPECT_EQ(preset->engines[0].step_time->step_ms(shape),
            raw->engines[0].step_time->step_ms(shape));
  EXPECT_EQ(raw->engines[0].info.hardware, "165TF-933GBs");
}

TEST(ClusterFile, ValuesOverrideThePreset) {
  auto cluster = parse(group("count: 2, name: big, gpu: {preset: h100, memory_gb: 94}, "
                             "served_model: qwen3-8b, gpu_memory_utilization: 0.8,"
                             " max_model_len: 4096, max_num_batched_tokens: 8192, max_num_seqs: "
                             "64, prefix_caching: false, block_tokens: 32,"
                             " async_scheduling: true, reserve_full_prompt: false, overhead_ms: 1, "
                             "overhead_per_seq_us: 7, speed_factor: 0.5,"
                             " jitter: {sigma: 0.03, stall_ms: 30, stall_every_s: 10}, "
                             "frontend_ms: 5, frontend_us_per_token: 2") +
                       "router: {scrape_period_ms: 50, scrape_delay_ms: 7, scrape_loss: 0.1, "
                       "network_delay_ms: 0.5}\n");
  ASSERT_TRUE(cluster) << cluster.error().message;
  ASSERT_EQ(cluster->engines.size(), 2u);
  const WorldEngine& engine = cluster->engines[1];
  EXPECT_EQ(engine.info.name, "big-1");
  EXPECT_EQ(engine.info.id, InstanceId(1));
  EXPECT_EQ(engine.config.max_model_len, 4096);
  EXPECT_EQ(engine.info.max_model_len, 4096);
  EXPECT_EQ(engine.config.max_num_seqs, 64);
  EXPECT_FALSE(engine.config.prefix_caching);
  EXPECT_TRUE(engine.config.async_scheduling);
  EXPECT_FALSE(engine.config.reserve_full_prompt);
  EXPECT_EQ(engine.config.jitter.stall_ms, 30);
  EXPECT_EQ(engine.config.frontend_us_per_token, 2);
  EXPECT_EQ(engine.config.kv_capacity_tokens % 32, 0);
  GpuParams gpu = find_gpu("h100")->params;
  gpu.memory_gb = 94;
  EXPECT_EQ(engine.config.kv_capacity_tokens,
            *kv_capacity_tokens(gpu, find_served_model("qwen3-8b")->params, 0.8, 32));
  EXPECT_EQ(cluster->scrape_period, 50 * kMillisecond);
  EXPECT_EQ(cluster->network_delay, from_ms(0.5));
}

TEST(ClusterFile, ServedModelByNumbers) {
  auto cluster =
      parse(group("gpu: a30, served_model: {name: mine, layers: 32, hidden: 4096, heads: 32, "
                  "kv_heads: 8, head_dim: 128,"
                  " vocab: 128256, params_b: 6.98}"));
  ASSERT_TRUE(cluster) << cluster.error().message;
  EXPECT_EQ(cluster->served_model, "mine");
  EXPECT_NEAR(static_cast<double>(cluster->engines[0].config.kv_capacity_tokens), 41900, 600);
}

TEST(ClusterFile, FaultsGoToTheirEngines) {
  auto cluster =
      parse(group("count: 3, gpu: a30, served_model: llama-3.1-8b, faults: [{kind: slow, at_s: 10, "
                  "until_s: 20, factor: 2},"
                  " {kind: crash, at_s: 30, engine: 1}]"));
  ASSERT_TRUE(cluster) << cluster.error().message;
  EXPECT_EQ(cluster->engines[0].faults.size(), 1u);
  ASSERT_EQ(cluster->engines[1].faults.size(), 2u);
  EXPECT_EQ(cluster->engines[1].faults[0].factor, 2);
  EXPECT_EQ(cluster->engines[1].faults[0].until, 20 * kSecond);
  EXPECT_EQ(cluster->engines[1].faults[1].kind, EngineFault::Kind::kCrash);
  EXPECT_EQ(cluster->engines[1].faults[1].at, 30 * kSecond);
}

TEST(ClusterFile, FaultsThatNobodyIsToldOf) {
  auto cluster = parse(
      group("gpu: a30, served_model: llama-3.1-8b, faults: [{kind: restart_cache, at_s: 5}, "
            "{kind: shrink_cache, at_s: 6, until_s: 9, factor: 0.25}, "
            "{kind: throttle, at_s: 10, until_s: 60, factor: 3, ramp_s: 20}, "
            "{kind: swap, at_s: 70, until_s: 80, speed_factor: 0.5, served_model: qwen2.5-7b}]"));
  ASSERT_TRUE(cluster) << cluster.error().message;
  const auto& faults = cluster->engines[0].faults;
  ASSERT_EQ(faults.size(), 4u);
  EXPECT_EQ(faults[0].kind, EngineFault::Kind::kRestartCache);
  EXPECT_EQ(faults[1].factor, 0.25);
  EXPECT_EQ(faults[2].ramp, 20 * kSecond);
  ASSERT_NE(faults[3].swap, nullptr);
  EXPECT_EQ(faults[3].swap->config.speed_factor, 0.5);
  EXPECT_NE(faults[3].swap->config.kv_capacity_tokens,
            cluster->engines[0].config.kv_capacity_tokens);
  EXPECT_EQ(cluster->served_model, "llama-3.1-8b");
  const auto error = [](const std::string& fault) {
    return error_of(group("gpu: a30, served_model: llama-3.1-8b, faults: [{" + fault + "}]"));
  };
  EXPECT_THAT(error("kind: shrink_cache, at_s: 1, factor: 1.5"), HasSubstr("below 1"));
  EXPECT_THAT(error("kind: throttle, at_s: 1, factor: 2"), HasSubstr("ramp_s"));
  EXPECT_THAT(error("kind: throttle, at_s: 1, until_s: 3, factor: 2, ramp_s: 5"),
              HasSubstr("over before until_s"));
  EXPECT_THAT(error("kind: swap, at_s: 1"), HasSubstr("speed_factor"));
  EXPECT_THAT(error("kind: crash, at_s: 1, speed_factor: 2"), HasSubstr("kind: swap"));
  EXPECT_THAT(error("kind: restart_cache, at_s: 1, until_s: 2"), HasSubstr("no until_s"));
  EXPECT_THAT(error("kind: swap, at_s: 1, served_model: gpt-9"),
              AllOf(HasSubstr("swap"), HasSubstr("gpt-9")));
}

TEST(ClusterFile, WhatTheRouterSees) {
  const std::string engines = group("gpu: a30, served_model: llama-3.1-8b");
  const auto with = [&](const std::string& router) {
    return parse(engines + "router: {" + router + "}\n");
  };
  auto exact = with("block_tokens: 64, replicas: 3, split: by_session");
  ASSERT_TRUE(exact) << exact.error().message;
  EXPECT_FALSE(exact->view.coarse);
  EXPECT_EQ(exact->view.hash_tokens(), 64);
  EXPECT_EQ(exact->replicas, 3);
  EXPECT_EQ(exact->split, ReplicaSplit::kBySession);
  auto coarse = with("view: coarse");
  ASSERT_TRUE(coarse) << coarse.error().message;
  EXPECT_EQ(coarse->view.block_bytes, 256);
  EXPECT_EQ(coarse->view.hash_tokens(), 64);
  EXPECT_EQ(coarse->view.token_error, 0.15);
  EXPECT_EQ(coarse->replicas, 1);
  coarse = with("view: coarse, block_bytes: 1024, token_error: 0");
  ASSERT_TRUE(coarse) << coarse.error().message;
  EXPECT_EQ(coarse->view.hash_tokens(), 256);
  EXPECT_EQ(coarse->view.token_error, 0);
  const auto error = [&](const std::string& router) {
    auto cluster = with(router);
    return cluster ? "no error" : cluster.error().message;
  };
  EXPECT_THAT(error("block_bytes: 256"), HasSubstr("view: coarse"));
  EXPECT_THAT(error("view: coarse, block_tokens: 16"), HasSubstr("block_bytes"));
  EXPECT_THAT(error("view: coarse, block_bytes: 255"), HasSubstr("multiple of 4"));
  EXPECT_THAT(error("view: blurred"), HasSubstr("coarse"));
  EXPECT_THAT(error("replicas: 0"), HasSubstr(">= 1"));
}

TEST(ClusterFile, NamesStayUniqueOverGroups) {
  auto cluster = parse(
      "groups:\n  - {count: 2, gpu: a30, served_model: llama-3.1-8b}\n"
      "  - {count: 1, gpu: A30, served_model: llama-3.1-8b, prefix_caching: false}\n");
  ASSERT_TRUE(cluster) << cluster.error().message;
  EXPECT_EQ(cluster->engines[2].info.name, "a30-2");
}

TEST(ClusterFile, ErrorsSayWhatToDo) {
  EXPECT_THAT(error_of(""), HasSubstr("expected a mapping"));
  EXPECT_THAT(error_of("groups: []"), HasSubstr("groups is empty"));
  EXPECT_THAT(
      error_of("groups:\n  - gpu: a30\n    served_model: llama-3.1-8b\n    max_num_seq: 3\n"),
      AllOf(HasSubstr("c.yaml:4: groups[0]"), HasSubstr("did you mean \"max_num_seqs\"")));
  EXPECT_THAT(error_of(group("gpu: a31, served_model: llama-3.1-8b")),
              AllOf(HasSubstr("a31"), HasSubstr("a30"), HasSubstr("h100")));
  EXPECT_THAT(error_of(group("gpu: a30, served_model: gpt-9")),
              AllOf(HasSubstr("gpt-9"), HasSubstr("llama-3.1-8b")));
  EXPECT_THAT(error_of(group("gpu: a30")), HasSubstr("\"served_model\" is missing"));
  EXPECT_THAT(error_of(group("gpu: {peak_tflops: 1}, served_model: llama-3.1-8b")),
              HasSubstr("\"bandwidth_gb_s\" is missing"));
  EXPECT_THAT(error_of(group(std::string("gpu: ") + kRaw + "}, served_model: llama-3.1-8b")),
              AllOf(HasSubstr("KV capacity"), HasSubstr("memory_gb")));
  EXPECT_THAT(error_of(group("gpu: l4, served_model: qwen3-32b")), HasSubstr("groups[0]"));
  EXPECT_THAT(
      error_of(group(
          "gpu: a30, served_model: llama-3.1-8b, chunked_prefill: false, max_model_len: 8192")),
      AllOf(HasSubstr("c.yaml:1: groups[0]"), HasSubstr("max_model_len")));
  EXPECT_THAT(error_of(group("gpu: a30, served_model: llama-3.1-8b, count: 0")), HasSubstr(">= 1"));
  EXPECT_THAT(error_of(group("gpu: a30, served_model: llama-3.1-8b, kv_capacity_tokens: 9e9")),
              HasSubstr("blocks"));
  EXPECT_THAT(
      error_of(group("gpu: a30, served_model: llama-3.1-8b, faults: [{kind: slow, at_s: 1}]")),
      HasSubstr("factor"));
  EXPECT_THAT(
      error_of(group("gpu: a30, served_model: llama-3.1-8b, faults: [{kind: freeze, at_s: 1}]")),
      HasSubstr("until_s"));
  EXPECT_THAT(
      error_of(group(
          "gpu: a30, served_model: llama-3.1-8b, faults: [{kind: crash, at_s: 3, until_s: 2}]")),
      HasSubstr("after at_s"));
  EXPECT_THAT(
      error_of(group(
          "gpu: a30, served_model: llama-3.1-8b, faults: [{kind: crash, at_s: 3, engine: 1}]")),
      HasSubstr("names engine 1"));
  EXPECT_THAT(error_of(group("gpu: a30, served_model: llama-3.1-8b, step_model: table")),
              HasSubstr("profile"));
  EXPECT_THAT(error_of(group("gpu: a30, served_model: llama-3.1-8b, step_model: table, "
                             "profile: tests/none/x")),
              AllOf(HasSubstr("groups[0]"), HasSubstr("tests/none")));
  EXPECT_THAT(
      error_of("groups: [{gpu: a30, served_model: llama-3.1-8b}]\nrouter: {scrape_loss: 2}"),
      HasSubstr("scrape_loss"));
}

}  // namespace
}  // namespace lodestar::sim
