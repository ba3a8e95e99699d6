// SPDX-License-Identifier: Apache-2.0
// What learning costs: a prediction for a fleet (on the path of each request), a
// training round at steady state, the replay selection, and the kernel by
// instruction set.
#include <benchmark/benchmark.h>

#include <memory>

#include "learn/gemm.h"
#include "learn/paper_predictor.h"
#include "learn/paper_trainer.h"
#include "learn/replay.h"

namespace lodestar::learn {
namespace {

PaperFeatures features(Rng& rng) {
  FeatureRow row;
  row.inflight_prefill = static_cast<double>(rng.below(5));
  row.inflight_decode = static_cast<double>(rng.below(30));
  row.kv_usage = rng.uniform();
  row.running = static_cast<double>(rng.below(40));
  row.pending_prompt_tokens = row.inflight_prefill * 2000 * rng.uniform();
  row.hit_ratio = rng.uniform();
  row.prompt_tokens = 100 + 7900 * rng.uniform();
  return paper_features(row, -1);
}

std::shared_ptr<std::vector<Sample>> samples(std::size_t n) {
  Rng rng(1);
  auto set = std::make_shared<std::vector<Sample>>(n);
  for (Sample& s : *set) {
    s.x = features(rng);
    s.reward = -1e-4f * (s.x.numeric[5] + s.x.numeric[9]);
    s.candidates.add(s.x);
  }
  return set;
}

std::shared_ptr<const PaperPredictor> trained(std::size_t rows, std::size_t epochs) {
  PaperTrainerOptions options;
  options.epochs = epochs;
  const PaperTrainJob job(options, 1, {samples(rows), 0}, nullptr);
  return std::dynamic_pointer_cast<const PaperPredictor>(job.run());
}

// Argument: instances. Reported per row (items).
void BM_Predict(benchmark::State& state) {
  const auto predictor = trained(512, 1);
  const auto n = static_cast<std::size_t>(state.range(0));
  Rng rng(2);
  std::vector<PaperFeatures> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back(features(rng));
  std::vector<float> out(n);
  PaperPredictor::Scratch scratch;
  for (auto _ : state) {
    predictor->predict(rows, out, scratch);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Predict)->Arg(1)->Arg(8)->Arg(16)->Arg(64)->Arg(1000);

// Argument: rows of the set; 20 epochs, first round (no coreset).
void BM_TrainingRound(benchmark::State& state) {
  const PaperTrainJob job({}, 1, {samples(static_cast<std::size_t>(state.range(0))), 0}, nullptr);
  for (auto _ : state) benchmark::DoNotOptimize(job.run());
  state.SetItemsProcessed(state.iterations() * state.range(0) * 20);
}
BENCHMARK(BM_TrainingRound)->Arg(1000)->Arg(10000)->Unit(benchmark::kMillisecond);

// 11,000 candidates, 5,000 centres: a round at steady state.
void BM_Coreset(benchmark::State& state) {
  constexpr std::size_t kRows = 11000;
  const auto predictor = trained(512, 1);
  Rng rng(3);
  std::vector<PaperFeatures> rows;
  for (std::size_t i = 0; i < kRows; ++i) rows.push_back(features(rng));
  std::vector<float> error(kRows);
  PaperPredictor::Scratch scratch;
  predictor->predict(rows, error, scratch);
  for (float& e : error) e = e < 0 ? -e : e;
  for (auto _ : state)
    benchmark::DoNotOptimize(select_coreset(Mlp::last_hidden(scratch.mlp, kRows), error, kHidden,
                                            5000, CoresetRule::kAsCoded));
}
BENCHMARK(BM_Coreset)->Unit(benchmark::kMillisecond);

// Argument: GemmLevel. 256 x 128 x 128; items are multiply-adds.
void BM_Gemm(benchmark::State& state) {
  const auto level = static_cast<GemmLevel>(state.range(0));
  if (!gemm_level_supported(level)) {
    state.SkipWithError("this CPU lacks the instruction set");
    return;
  }
  constexpr std::size_t m = 256, n = 128, k = 128;
  std::vector<float> a(m * k, 0.5f), b(k * n, 0.25f), c(m * n), packed(k * n);
  gemm_pack(b.data(), k, n, packed.data());
  for (auto _ : state) {
    gemm(level, nullptr, {a.data(), k, 1}, packed.data(), c.data(), m, n, k);
    benchmark::DoNotOptimize(c.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(m * n * k));
}
BENCHMARK(BM_Gemm)->DenseRange(0, 2);

}  // namespace
}  // namespace lodestar::learn
