// SPDX-License-Identifier: Apache-2.0
// Choosing table files, and the aiconfigurator family.
#include "sim/step_time_table.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "sim/profile_tables.h"

namespace lodestar::sim {
namespace {

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// Measured times of matrix products [m x k] * [k x n], by k, then n.
using GemmTable = std::map<double, std::map<double, Curve>>;

Result<GemmTable> load_gemm(const std::string& path, double weight_bytes) {
  const std::string_view dtype = weight_bytes <= 1 ? "fp8" : "bfloat16";
  std::map<double, std::map<double, std::vector<std::pair<double, double>>>> points;
  const auto read =
      read_csv(path, {"dtype", "m", "n", "k", "latency_ms"}, [&](CsvRow f) -> Result<void> {
        if (f[0] != dtype) return {};
        double v[4];
        for (std::size_t i = 0; i < 4; ++i) {
          const auto number = parse_number(f[i + 1]);
          if (!number) return std::unexpected(number.error());
          v[i] = *number;
        }
        points[v[2]][v[1]].emplace_back(v[0], v[3]);
        return {};
      });
  if (!read) return std::unexpected(read.error());
  if (points.empty()) return invalid(fmt::format("{}: no {} rows", path, dtype));
  GemmTable table;
  for (auto& [k, by_n] : points)
    for (auto& [n, curve] : by_n) table[k].emplace(n, Curve(std::move(curve)));
  return table;
}

// The two neighbours of x among a map's keys (the same one at or beyond an end).
template <class Map>
std::pair<typename Map::const_iterator, typename Map::const_iterator> neighbours(const Map& map,
                                                                                 double x) {
  auto high = map.lower_bound(x);
  if (high == map.end()) return {std::prev(high), std::prev(high)};
  if (high->first == x || high == map.begin()) return {high, high};
  return {std::prev(high), high};
}

// Time per weight, which varies slowly with n and k; products that were not
// measured (a head wider than the table) take the nearest measured one's.
double gemm_ms(const GemmTable& table, double m, double n, double k) {
  const auto lerp = [](double a, double b, double lo, double hi, double x) {
    return lo == hi ? a : a + (x - lo) / (hi - lo) * (b - a);
  };
  const auto at_k = [&](const GemmTable::value_type& row) {
    const auto [lo, hi] = neighbours(row.second, n);
    const double a = lo->second.at(m) / (lo->first * row.first);
    const double b = hi->second.at(m) / (hi->first * row.first);
    return lerp(a, b, lo->first, hi->first, n);
  };
  const auto [lo, hi] = neighbours(table, k);
  return n * k * lerp(at_k(*lo), at_k(*hi), lo->first, hi->first, k);
}

struct AttentionRow {
  double batch, tokens, step, ms;
};

Result<std::vector<AttentionRow>> load_attention(const std::string& path,
                                                 const ServedModelParams& m) {
  std::vector<AttentionRow> rows;
  const auto read =
      read_csv(path, {"num_heads", "num_kv_heads", "batch_size", "isl", "step", "latency_ms"},
               [&](CsvRow f) -> Result<void> {
                 double v[6];
                 for (std::size_t i = 0; i < 6; ++i) {
                   const auto number = parse_number(f[i]);
                   if (!number) return std::unexpected(number.error());
                   v[i] = *number;
                 }
                 if (v[0] == m.heads && v[1] == m.kv_heads)
                   rows.push_back({v[2], v[3], v[4], v[5]});
                 return {};
               });
  if (!read) return std::unexpected(read.error());
  if (rows.empty()) {
    return invalid(fmt::format("{}: nothing measured for {} heads and {} KV heads; use the formula",
                               path, m.heads, m.kv_heads));
  }
  return rows;
}

class KernelTables final : public StepTime {
 public:
  Curve layers;    // all matrix products and element-wise kernels, by tokens
  Curve head;      // by sampling sequences
  Curve prefill;   // one layer's attention, by A
  std::vector<double> batches;
  std::vector<Curve> decode;  // one layer's attention per batch, by context length
  double layer_count = 0;
  StepOverhead overhead;

  double step_ms(const StepShape& s) const override {
    double ms = layers.at(static_cast<double>(s.tokens));
    if (s.sampling_seqs > 0) ms += head.at(static_cast<double>(s.sampling_seqs));
    if (s.prefill_attention > 0) ms += layer_count * prefill.at(s.prefill_attention);
    if (s.decode_seqs > 0) ms += layer_count * decode_ms(s);
    return ms + overhead.fixed_ms +
           overhead.per_seq_us * 1e-3 * static_cast<double>(s.sampling_seqs);
  }

 private:
  double decode_ms(const StepShape& s) const {
    const auto n = static_cast<double>(s.decode_seqs);
    const double context = static_cast<double>(s.decode_context) / n;
    if (batches.size() == 1) return decode[0].at(context);
    const GridPlace place = place_on(batches, n);
    const double low = decode[place.low].at(context), high = decode[place.low + 1].at(context);
    return low + place.high_part * (high - low);
  }
};

// MLP width from the parameter count: what is left after attention, three matrices.
double mlp_width(const ServedModelParams& m) {
  const double h = m.hidden;
  const double attention = h * m.head_dim * (2.0 * m.heads + 2.0 * m.kv_heads);
  return std::floor((m.params_b * 1e9 / m.layers - attention) / (3 * h) + 0.5);
}

// Element-wise work of a layer: two norms with residual, rotary embedding, SiLU.
double elementwise_ms(const ServedModelParams& m, double mlp, double tokens, double bytes_per_ms) {
  constexpr double kReached = 0.8, kLaunchMs = 0.002, kKernels = 4, kElementBytes = 2;
  const double elements = 8.0 * m.hidden + 3 * mlp + 2.0 * (m.heads + m.kv_heads) * m.head_dim;
  return tokens * elements * kElementBytes / (kReached * bytes_per_ms) + kKernels * kLaunchMs;
}

void fill_dense(KernelTables& t, const GemmTable& gemm, const ServedModelParams& m,
                double bytes_per_ms) {
  const double h = m.hidden, q = 1.0 * m.heads * m.head_dim, kv = 1.0 * m.kv_heads * m.head_dim;
  const double mlp = mlp_width(m);
  // The grid of the nearest product; others are interpolated at its points.
  const auto& nearest = neighbours(neighbours(gemm, h).first->second, q + 2 * kv).first->second;
  std::vector<std::pair<double, double>> layer_points, head_points;
  for (double tokens : nearest.xs()) {
    const double products = gemm_ms(gemm, tokens, q + 2 * kv, h) + gemm_ms(gemm, tokens, h, q) +
                            gemm_ms(gemm, tokens, 2 * mlp, h) + gemm_ms(gemm, tokens, h, mlp);
    layer_points.emplace_back(tokens,
                              m.layers * (products + elementwise_ms(m, mlp, tokens, bytes_per_ms)));
    head_points.emplace_back(tokens, gemm_ms(gemm, tokens, m.vocab, h));
  }
  t.layers = Curve(std::move(layer_points));
  t.head = Curve(std::move(head_points));
}

}  // namespace

Result<std::shared_ptr<const StepTime>> load_kernel_tables(const TableFiles& files,
                                                           const GpuParams& gpu,
                                                           const ServedModelParams& m,
                                                           const StepOverhead& overhead) {
  if (!(gpu.bandwidth_gb_s > 0)) return invalid("step time tables: gpu.bandwidth_gb_s is needed");
  auto gemm = load_gemm(files.gemm, m.weight_bytes);
  if (!gemm) return std::unexpected(gemm.error());
  auto context = load_attention(files.context_attention, m);
  if (!context) return std::unexpected(context.error());
  auto generation = load_attention(files.generation_attention, m);
  if (!generation) return std::unexpected(generation.error());

  auto tables = std::make_shared<KernelTables>();
  tables->overhead = overhead;
  tables->layer_count = m.layers;
  fill_dense(*tables, *gemm, m, gpu.bandwidth_gb_s * 1e6);
  std::vector<std::pair<double, double>> prefill;
  for (const AttentionRow& row : *context)
    if (row.batch == 1) prefill.emplace_back(row.tokens * row.tokens / 2, row.ms);
  if (prefill.empty())
    return invalid(fmt::format("{}: no rows of batch_size 1", files.context_attention));
  tables->prefill = Curve(std::move(prefill));
  std::map<double, std::vector<std::pair<double, double>>> decode;
  for (const AttentionRow& row : *generation) decode[row.batch].emplace_back(row.step + 1, row.ms);
  for (auto& [batch, points] : decode) {
    tables->batches.push_back(batch);
    tables->decode.emplace_back(std::move(points));
  }
  return tables;
}

Result<std::shared_ptr<const StepTime>> load_table_step_time(const TableFiles& files,
                                                             const GpuParams& gpu,
                                                             const ServedModelParams& served_model,
                                                             const StepOverhead& overhead) {
  const bool kernels = !files.gemm.empty() && !files.context_attention.empty() &&
                       !files.generation_attention.empty();
  const bool layers =
      !files.dense.empty() && !files.attention.empty() && !files.per_sequence.empty();
  if (kernels == layers) {
    return invalid(
        "step time tables: give either gemm, context_attention and "
        "generation_attention, or dense, attention and per_sequence");
  }
  if (served_model.layers < 1 || served_model.hidden < 1 || served_model.heads < 1 ||
      served_model.kv_heads < 1 || served_model.head_dim < 1 || served_model.vocab < 1 ||
      !(mlp_width(served_model) > 0)) {
    return invalid(
        "step time tables: the served model's layers, hidden, heads, kv_heads, "
        "head_dim, vocab and params_b must be positive and fit together");
  }
  return kernels ? load_kernel_tables(files, gpu, served_model, overhead)
                 : load_layer_tables(files, served_model, overhead);
}

Result<TableFiles> find_table_files(const std::string& directory, const std::string& prefix) {
  std::string missing;
  const auto find = [&](const char* table) -> std::string {
    for (const char* end : {".csv.gz", ".csv"}) {
      const std::string path = fmt::format("{}/{}_{}{}", directory, prefix, table, end);
      std::error_code ignored;
      if (std::filesystem::exists(path, ignored)) return path;
    }
    missing += fmt::format("{}{}", missing.empty() ? "" : ", ", table);
    return {};
  };
  TableFiles files;
  files.dense = find("dense");
  if (!files.dense.empty()) {
    files.attention = find("attention");
    files.per_sequence = find("per_sequence");
  } else {
    missing.clear();
    files.gemm = find("gemm_bf16_fp8");
    files.context_attention = find("context_attention");
    files.generation_attention = find("generation_attention");
  }
  if (missing.empty()) return files;
  return fail(ErrorCode::kNotFound,
              fmt::format("step time tables: {}/{}_*.csv[.gz] not found for: {}", directory, prefix,
                          missing));
}

}  // namespace lodestar::sim
