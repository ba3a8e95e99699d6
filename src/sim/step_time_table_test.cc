// SPDX-License-Identifier: Apache-2.0
#include "sim/step_time_table.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/gpu_presets.h"
#include "sim/profile_tables.h"

namespace lodestar::sim {
namespace {

using testing::HasSubstr;

ServedModelParams llama() { return find_served_model("llama-3.1-8b")->params; }

StepShape decode(std::int64_t n, std::int64_t context) {
  return {.tokens = n, .sampling_seqs = n, .decode_seqs = n, .decode_context = n * context};
}
StepShape prefill(std::int64_t n, std::int64_t below = 0) {
  StepShape s{.tokens = n, .sampling_seqs = 1};
  s.prefill_attention =
      static_cast<double>(n) * (static_cast<double>(below) + 0.5 * static_cast<double>(n));
  return s;
}

TEST(Curve, IsLinearBetweenPointsAndGoesOnBeyond) {
  const Curve curve({{10, 5}, {2, 1}, {4, 1.5}, {4, 2.5}});
  EXPECT_EQ(curve.at(0), 1);
  EXPECT_EQ(curve.at(3), 1.5);
  EXPECT_EQ(curve.at(4), 2);
  EXPECT_EQ(curve.at(7), 3.5);
  EXPECT_EQ(curve.at(12), 6);
  EXPECT_EQ(Curve({{1, 3}}).at(9), 3);
}

class Files : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const auto dir = std::filesystem::path(testing::TempDir());
    const auto path = dir / ("tables_" + std::to_string(counter_++) + "_" + name);
    std::ofstream(path) << text;
    return path;
  }
  static inline int counter_ = 0;
};

TEST_F(Files, CsvErrorsNameFileAndLine) {
  const auto keep = [](CsvRow f) -> Result<void> {
    const auto number = parse_number(f[0]);
    return number ? Result<void>{} : std::unexpected(number.error());
  };
  EXPECT_TRUE(read_csv(write("a.csv", "x,y\n1,2\r\n\n3,4"), {"y"}, keep));
  EXPECT_THAT(read_csv("no/such/file.csv", {"y"}, keep).error().message, HasSubstr("no/such"));
  EXPECT_THAT(read_csv(write("b.csv", "x\n1\n"), {"y"}, keep).error().message, HasSubstr("\"y\""));
  EXPECT_THAT(read_csv(write("c.csv", ""), {"y"}, keep).error().message, HasSubstr("empty"));
  EXPECT_THAT(read_csv(write("d.csv", "x,y\n1,2\n1\n"), {"y"}, keep).error().message,
              HasSubstr(":3:"));
  EXPECT_THAT(read_csv(write("e.csv", "x,y\n1,2x\n"), {"y"}, keep).error().message,
              HasSubstr("2x"));
  EXPECT_THAT(read_csv(write("f.csv", "x,y\n1,nan\n"), {"y"}, keep).error().message,
              HasSubstr("nan"));
}

// A served model of one layer, all figures round.
ServedModelParams tiny() {
  ServedModelParams m;
  m.layers = 1;
  m.hidden = 100;
  m.heads = 10;
  m.kv_heads = 10;
  m.head_dim = 10;
  m.vocab = 1000;
  m.params_b = (100 * 400 + 3 * 100 * 200) * 1e-9;  // MLP width 200
  return m;
}

TEST_F(Files, KernelTablesByHand) {
  TableFiles files;
  // 1 ms per 10,000 weights up to 10 tokens, twice that at 20.
  files.gemm = write("gemm.csv",
                     "dtype,m,n,k,latency_ms\n"
                     "bfloat16,1,100,100,1\nbfloat16,10,100,100,1\n"
                     "bfloat16,20,100,100,2\nfp8,1,100,100,9\n");
  files.context_attention = write("context.csv",
                                  "batch_size,isl,step,num_heads,num_kv_heads,latency_ms\n"
                                  "1,10,0,10,10,5\n1,20,0,10,10,20\n1,20,0,8,8,99\n");
  files.generation_attention = write("generation.csv",
                                     "batch_size,isl,step,num_heads,num_kv_heads,latency_ms\n"
                                     "1,1,99,10,10,1\n1,1,199,10,10,2\n"
                                     "4,1,99,10,10,4\n4,1,199,10,10,8\n");
  GpuParams gpu;
  gpu.bandwidth_gb_s = 1e12;  // element-wise work is 4 launches of 2 us
  const auto time = load_table_step_time(files, gpu, tiny(), {0.5, 100});
  ASSERT_TRUE(time) << time.error().message;
  // qkv 3 + o 1 + gate-up 4 + down 2 = 10 ms; head 10 ms; attention of 2 x 150: 3.
  EXPECT_NEAR((*time)->step_ms(decode(2, 150)), 10 + 0.008 + 10 + 3 + 0.5 + 0.2, 1e-9);
  // 15 tokens: 1.5 x; A = 112.5 is half-way from 50 to 200 less 12.5: 5 + 15*62.5/150.
  EXPECT_NEAR((*time)->step_ms(prefill(15)), 15 + 0.008 + 10 + 11.25 + 0.5 + 0.1, 1e-9);
  // Beyond the tables the last slope goes on: 30 tokens 30 ms, A = 450: 45 ms.
  EXPECT_NEAR((*time)->step_ms(prefill(30)), 30 + 0.008 + 10 + 45 + 0.6, 1e-9);
  ServedModelParams other = tiny();
  other.heads = other.kv_heads = 5;
  EXPECT_THAT(load_table_step_time(files, gpu, other, {}).error().message,
              HasSubstr("nothing measured for 5 heads"));
  files.gemm.clear();
  EXPECT_FALSE(load_table_step_time(files, gpu, tiny(), {}));
}

TEST_F(Files, LayerTablesByHand) {
  TableFiles files;
  std::string dense = "layer,tokens,time_us\n";
  for (const char* layer : {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "layernorm",
                            "rotary_emb", "act_fn", "embedding", "final_layernorm"})
    dense += std::string(layer) + ",1,100\n" + layer + ",11,200\n";
  files.dense = write("dense.csv", dense);
  files.per_sequence = write("seq.csv", "layer,sequences,time_us\nlm_head,1,1000\nsampler,1,500\n");
  // Chunk 10 costs 1 ms on nothing and 3 on 20; a decode costs as its context; both: the sum + 1.
  std::string attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
  for (int c : {0, 20})
    attention += "10," + std::to_string(c) + ",0,0," + std::to_string(1000 + 100 * c) + "\n";
  for (int n : {1, 2})
    for (int k : {10, 20}) {
      attention += "0,0," + std::to_string(n) + "," + std::to_string(k) + "," +
                   std::to_string(100 * n * k) + "\n";
      for (int c : {0, 20})
        attention += "10," + std::to_string(c) + "," + std::to_string(n) + "," + std::to_string(k) +
                     "," + std::to_string(2000 + 100 * c + 100 * n * k) + "\n";
    }
  files.attention = write("attention.csv", attention);
  const auto time = load_table_step_time(files, {}, tiny(), {0, 0});
  ASSERT_TRUE(time) << time.error().message;
  // Dense: 10 layer passes of 0.1 ms at 1 token, 0.2 ms at 11. Head 1.5 ms.
  EXPECT_NEAR((*time)->step_ms(decode(1, 15)), 1 + 1.5 + 1.5, 1e-9);
  EXPECT_NEAR((*time)->step_ms(prefill(10)), 1.9 + 1.5 + 1, 1e-9);
  EXPECT_NEAR((*time)->step_ms(prefill(10, 10)), 1.9 + 1.5 + 2, 1e-9);
  StepShape mixed = prefill(10);
  mixed.tokens = 11;
  mixed.sampling_seqs = 2;
  mixed.decode_seqs = 1;
  mixed.decode_context = 20;
  EXPECT_NEAR((*time)->step_ms(mixed), 2 + 1.5 + 4, 1e-9);
}

std::string profiles() {
  const char* named = std::getenv("LODESTAR_SHARED");
  return std::string(named != nullptr ? named : "../shared") + "/profiles";
}

TEST(StepTimeTable, MeasuredTablesAgreeWithTheFormula) {
  if (!std::filesystem::exists(profiles())) {
    GTEST_SKIP() << "no measured tables under " << profiles() << "; set LODESTAR_SHARED";
  }
  const std::pair<const char*, const char*> sets[] = {
      {"a100-80g", "aic_a100_sxm_vllm_0.14.0"},
      {"h100", "aic_h100_sxm_vllm_0.24.0"},
      {"h200", "aic_h200_sxm_vllm_0.24.0"},
      {"l40s", "aic_l40s_vllm_0.24.0"},
      {"rtx-pro-6000", "aic_rtx_pro_6000_server_vllm_0.24.0"},
      {"rtx-4090", "lss_RTX4090_Llama-3.1-8B"}};
  for (const auto& [name, prefix] : sets) {
    const auto gpu = find_gpu(name);
    const auto files = find_table_files(profiles(), prefix);
    ASSERT_TRUE(files) << files.error().message;
    const auto table = load_table_step_time(*files, gpu->params, llama(), {0, 0});
    ASSERT_TRUE(table) << table.error().message;
    const auto formula = FormulaStepTime::create(gpu->params, llama(), {0, gpu->fitted_per_seq_us});
    double sum = 0;
    int count = 0;
    const auto compare = [&](const StepShape& shape) {
      sum += std::fabs((*table)->step_ms(shape) / (*formula)->step_ms(shape) - 1);
      ++count;
    };
    for (int n : {1, 8, 32, 64, 100}) compare(decode(n, 1024)), compare(decode(n, 300));
    for (int n : {100, 512, 1500, 2048}) compare(prefill(n)), compare(prefill(n, 3000));
    std::printf("%-13s tables against formula: MAPE %.1f %% of %d shapes\n", name,
                100 * sum / count, count);
    EXPECT_LT(sum / count, 0.08) << name;
    for (int n = 1; n < 300; ++n) {
      EXPECT_GE((*table)->step_ms(decode(n, 1000)), 0.98 * (*table)->step_ms(decode(n, 900)));
    }
  }
  EXPECT_THAT(find_table_files(profiles(), "aic_b200").error().message, HasSubstr("aic_b200"));
}

}  // namespace
}  // namespace lodestar::sim
