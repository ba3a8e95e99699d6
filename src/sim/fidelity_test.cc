// SPDX-License-Identifier: Apache-2.0
// Does the engine model tell the truth? Step times against measured kernels, and
// the whole engine against a measured vLLM 0.19 run. Measured numbers: tables of
// aiconfigurator (Apache-2.0) and LLMServingSim (MIT), Llama-3.1-8B bf16.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "sim/engine.h"
#include "sim/gpu_presets.h"
#include "sim/step_time.h"
#include "sim/step_time_table.h"
#include "sim/trace_lines.h"

namespace lodestar::sim {
namespace {

// A few decode batches at 1024 tokens of context and single prefills, ms.
constexpr int kDecodeBatches[] = {1, 32, 64, 128};
constexpr int kPrefills[] = {512, 2048, 8192};
struct PaperRow {
  const char* gpu;
  double measured[7];   // 0 = not measured
  double predicted[7];  // the published prediction of this formula
};
constexpr PaperRow kFitted[] = {
    {"a100-80g",
     {11.7, 15.2, 17.4, 24.5, 34.4, 126, 568},
     {11.5, 14.4, 17.8, 25.3, 33.4, 126, 564}},
    {"h100", {6.19, 8.29, 10.2, 12.7, 11.2, 42.5, 201}, {6.47, 8.07, 9.8, 13.3, 11.9, 43.6, 202}},
    {"h200", {4.90, 6.33, 7.46, 9.7, 10.8, 40.7, 193}, {5.03, 6.20, 7.43, 10.1, 10.9, 42.1, 193}},
    {"l40s", {21.4, 31.1, 38.8, 53.3, 39.8, 145, 723}, {23.3, 30.2, 37.3, 52.2, 41.2, 152, 729}},
    {"rtx-pro-6000",
     {11.0, 13.0, 17.4, 24.1, 25.7, 89.8, 389},
     {11.0, 13.9, 17.2, 24.1, 25.0, 88.5, 386}},
    {"rtx-4090", {16.8, 23.9, 29.3, 40.5, 0, 193, 0}, {18.1, 22.7, 27.9, 39.4, 0, 193, 0}},
};
// Estimated cards have predictions only, printed with the default overhead and
// p = 2; the A30's with p = 1.8, which the preset does not take over.
constexpr PaperRow kEstimated[] = {
    {"a30", {}, {22, 28, 36, 52, 66, 249, 1117}},   {"a10", {}, {31, 41, 52, 76, 100, 388, 1734}},
    {"l4", {}, {62, 80, 100, 142, 137, 501, 2219}}, {"l20", {}, {21, 28, 36, 53, 72, 285, 1333}},
    {"v100", {}, {23, 32, 43, 68, 105, 444, 2358}},
};

std::shared_ptr<const StepTime> llama_on(const GpuParams& gpu, StepOverhead overhead) {
  auto made = FormulaStepTime::create(gpu, find_served_model("llama-3.1-8b")->params, overhead);
  EXPECT_TRUE(made.has_value());
  return *made;
}

double cell_ms(const StepTime& step_time, int cell) {
  StepShape shape;
  if (cell < 4) {
    const int n = kDecodeBatches[cell];
    shape = {.tokens = n, .sampling_seqs = n, .decode_seqs = n, .decode_context = n * 1024};
  } else {
    const int n = kPrefills[cell - 4];
    shape = {.tokens = n, .sampling_seqs = 1};
    shape.prefill_attention = 0.5 * n * n;
  }
  return step_time.step_ms(shape);
}

TEST(Fidelity, FittedGpusReproduceTheirPublishedPredictions) {
  for (const PaperRow& row : kFitted) {
    const auto gpu = find_gpu(row.gpu);
    ASSERT_TRUE(gpu) << row.gpu;
    const auto time = llama_on(gpu->params, {.fixed_ms = 0, .per_seq_us = gpu->fitted_per_seq_us});
    for (int c = 0; c < 7; ++c) {
      if (row.predicted[c] == 0) continue;
      EXPECT_NEAR(cell_ms(*time, c), row.predicted[c], 0.01 * row.predicted[c])
          << row.gpu << " cell " << c;
    }
  }
}

TEST(Fidelity, FittedGpusAreCloseToMeasuredKernels) {
  for (const PaperRow& row : kFitted) {
    const auto gpu = find_gpu(row.gpu);
    const auto time = llama_on(gpu->params, {.fixed_ms = 0, .per_seq_us = gpu->fitted_per_seq_us});
    double sum = 0;
    int count = 0;
    for (int c = 0; c < 7; ++c) {
      if (row.measured[c] == 0) continue;
      const double error = std::fabs(cell_ms(*time, c) / row.measured[c] - 1);
      EXPECT_LE(error, 0.10) << row.gpu << " cell " << c;
      sum += error;
      ++count;
    }
    std::printf("%-13s MAPE %.1f %%\n", row.gpu, 100 * sum / count);
    EXPECT_LE(sum / count, 0.05) << row.gpu;
  }
}

TEST(Fidelity, EstimatedGpusReproduceTheirPublishedPredictions) {
  constexpr double kRounding = 0.5;  // printed in whole ms
  for (const PaperRow& row : kEstimated) {
    GpuParams gpu = find_gpu(row.gpu)->params;
    EXPECT_EQ(gpu.p, 2.0) << row.gpu;
    const auto preset = llama_on(gpu, {});
    const bool is_a30 = std::string(row.gpu) == "a30";
    if (is_a30) gpu.p = 1.8;
    const auto as_printed = llama_on(gpu, {});
    for (int c = 0; c < 7; ++c) {
      const double printed = row.predicted[c];
      EXPECT_NEAR(cell_ms(*as_printed, c), printed, 0.01 * printed + kRounding) << row.gpu << c;
      EXPECT_NEAR(cell_ms(*preset, c), printed, (is_a30 ? 0.02 : 0.01) * printed + kRounding)
          << row.gpu << c;
    }
  }
}

// ---- the measured run -------------------------------------------------------

std::filesystem::path shared_dir() {
  const char* named = std::getenv("LODESTAR_SHARED");
  return named != nullptr ? named : "../shared";
}

struct Row {
  double arrival_s = 0, ttft_s = 0, e2e_s = 0;
  EngineRequest request;
};

std::vector<nlohmann::json> read_jsonl(const std::string& path) {
  std::vector<nlohmann::json> rows;
  auto source = LineSource::open(path);
  EXPECT_TRUE(source.has_value()) << path;
  std::string_view line;
  while (source && source->next(line).value_or(false)) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

// arrival_time is a wall clock, the others a monotonic one: the first arrival is
// the first queued_ts.
std::vector<Row> measured_run() {
  const auto dir = shared_dir() / "traces";
  const auto runs = read_jsonl(dir / "vllm_measured_runs/RTX4090_Llama-3.1-8B_requests.jsonl.gz");
  const auto prompts = read_jsonl(dir / "sharegpt300_lengths_hash16.jsonl.gz");
  std::vector<Row> rows;
  double first_arrival = 1e300, first_queued = 1e300;
  for (const auto& run : runs) {
    first_arrival = std::min(first_arrival, run["arrival_time"].get<double>());
    first_queued = std::min(first_queued, run["queued_ts"].get<double>());
  }
  for (const auto& run : runs) {
    Row row;
    const std::string name = run["request_id"];
    row.request.id = std::stoull(name.substr(name.find('-') + 1));
    row.request.output_seed = row.request.id;
    row.request.prompt_tokens = run["input_toks"];
    row.request.output_tokens = run["output_toks"];
    const auto& prompt = prompts.at(row.request.id);
    EXPECT_EQ(prompt["input_length"], row.request.prompt_tokens);
    row.request.block_hashes = prompt["hash_ids"].get<std::vector<std::uint64_t>>();
    row.arrival_s = run["arrival_time"].get<double>() - first_arrival;
    row.ttft_s = run["first_token_ts"].get<double>() - first_queued - row.arrival_s;
    row.e2e_s = run["last_token_ts"].get<double>() - first_queued - row.arrival_s;
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(),
            [](const Row& a, const Row& b) { return a.arrival_s < b.arrival_s; });
  return rows;
}

struct Means {
  double ttft_s = 0, tpot_ms = 0, e2e_s = 0;
};

EngineConfig as_it_ran() {
  EngineConfig config;
  config.kv_capacity_tokens = 2588 * 16;
  config.max_model_len = 32768;
  config.max_num_batched_tokens = 2048;
  config.max_num_seqs = 256;
  config.async_scheduling = true;
  return config;
}

Means simulate(const std::vector<Row>& rows, const EngineConfig& config,
               std::shared_ptr<const StepTime> time, EngineStats& stats) {
  auto engine = Engine::create(config, time, Rng(1));
  EXPECT_TRUE(engine.has_value());
  std::map<std::uint64_t, double> arrival, first;
  std::map<std::uint64_t, std::int64_t> output;
  Means sum;
  std::vector<TokenEvent> events;
  std::size_t next = 0;
  for (;;) {
    const TimeNs arrives = next < rows.size() ? from_s(rows[next].arrival_s) : kNever;
    const TimeNs due = engine->next_event();
    if (arrives == kNever && due == kNever) break;
    if (arrives <= due) {
      const Row& row = rows[next++];
      arrival[row.request.id] = row.arrival_s;
      EXPECT_TRUE(engine->submit(arrives, row.request).has_value());
      continue;
    }
    events.clear();
    engine->advance(due, events);
    for (const TokenEvent& e : events) {
      if (e.first) first[e.id] = to_s(e.time);
      if (e.first) sum.ttft_s += to_s(e.time) - arrival[e.id];
      if (!e.finished) continue;
      sum.e2e_s += to_s(e.time) - arrival[e.id];
      sum.tpot_ms += 1e3 * (to_s(e.time) - first[e.id]) / static_cast<double>(e.total_tokens - 1);
      output[e.id] = e.total_tokens;
    }
  }
  EXPECT_EQ(output.size(), rows.size());
  for (const Row& row : rows) EXPECT_EQ(output[row.request.id], row.request.output_tokens);
  stats = engine->stats();
  const auto n = static_cast<double>(rows.size());
  return {sum.ttft_s / n, sum.tpot_ms / n, sum.e2e_s / n};
}

TEST(Fidelity, MeasuredRunOnRtx4090) {
  if (!std::filesystem::exists(shared_dir() / "traces/vllm_measured_runs")) {
    GTEST_SKIP() << "no measured run under " << shared_dir() << "; set LODESTAR_SHARED";
  }
  const std::vector<Row> rows = measured_run();
  ASSERT_EQ(rows.size(), 300u);
  Means real;
  for (const Row& row : rows) {
    real.ttft_s += row.ttft_s / 300;
    real.e2e_s += row.e2e_s / 300;
    real.tpot_ms +=
        1e3 * (row.e2e_s - row.ttft_s) / static_cast<double>(row.request.output_tokens - 1) / 300;
  }
  std::printf("measured: TTFT %.2f s, TPOT %.2f ms, E2E %.2f s\n", real.ttft_s, real.tpot_ms,
              real.e2e_s);
  const auto compare = [&](const char* what, StepOverhead overhead, const auto& time) {
    EngineStats stats;
    const Means m = simulate(rows, as_it_ran(), time, stats);
    const Means error{m.ttft_s / real.ttft_s - 1, m.tpot_ms / real.tpot_ms - 1,
                      m.e2e_s / real.e2e_s - 1};
    std::printf(
        "%s, overhead %.1f ms + %.0f us/seq: TTFT %+.1f %%, TPOT %+.1f %%, E2E %+.1f %%, "
        "%lld preemptions, hit ratio %.3f\n",
        what, overhead.fixed_ms, overhead.per_seq_us, 100 * error.ttft_s, 100 * error.tpot_ms,
        100 * error.e2e_s, static_cast<long long>(stats.preemptions),
        static_cast<double>(stats.prompt_tokens_cached) / static_cast<double>(stats.prompt_tokens));
    return error;
  };
  const GpuParams gpu = find_gpu("rtx-4090")->params;
  const StepOverhead chosen;
  for (double fixed_ms : {0.0, 0.5, 1.0}) {
    const StepOverhead overhead{fixed_ms, chosen.per_seq_us};
    compare("formula", overhead, llama_on(gpu, overhead));
  }
  const auto tables =
      load_table_step_time(*find_table_files(shared_dir() / "profiles", "lss_RTX4090_Llama-3.1-8B"),
                           gpu, find_served_model("llama-3.1-8b")->params, chosen);
  ASSERT_TRUE(tables.has_value()) << tables.error().message;
  const Means defaults = compare("formula", chosen, llama_on(gpu, chosen));
  for (const Means& error : {defaults, compare("tables", chosen, *tables)}) {
    EXPECT_LE(std::fabs(error.ttft_s), 0.05);
    EXPECT_LE(std::fabs(error.tpot_ms), 0.05);
    EXPECT_LE(std::fabs(error.e2e_s), 0.05);
  }
}

}  // namespace
}  // namespace lodestar::sim
