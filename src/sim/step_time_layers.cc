// SPDX-License-Identifier: Apache-2.0
// The LLMServingSim family of step_time_table.h: layer times of one served model
// on one GPU, with attention measured on mixed batches.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>

#include "sim/profile_tables.h"
#include "sim/step_time_table.h"

namespace lodestar::sim {
namespace {

constexpr double kMsPerUs = 1e-3;

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

Result<std::map<std::string, Curve>> load_layers(const std::string& path, const char* by) {
  std::map<std::string, std::vector<std::pair<double, double>>> points;
  const auto read = read_csv(path, {"layer", by, "time_us"}, [&](CsvRow f) -> Result<void> {
    const auto x = parse_number(f[1]), us = parse_number(f[2]);
    if (!x) return std::unexpected(x.error());
    if (!us) return std::unexpected(us.error());
    points[std::string(f[0])].emplace_back(*x, *us * kMsPerUs);
    return {};
  });
  if (!read) return std::unexpected(read.error());
  std::map<std::string, Curve> curves;
  for (auto& [name, p] : points) curves.emplace(name, Curve(std::move(p)));
  return curves;
}

struct Part {
  const char* layer;
  double times;
};

// Sum of layers at every measured point of the first.
Result<Curve> sum_of(const std::map<std::string, Curve>& curves, const std::vector<Part>& parts,
                     const std::string& path) {
  for (const Part& part : parts) {
    if (!curves.contains(part.layer))
      return invalid(fmt::format("{}: no rows of layer {}", path, part.layer));
  }
  std::vector<std::pair<double, double>> points;
  for (double x : curves.at(parts.front().layer).xs()) {
    double sum = 0;
    for (const Part& part : parts) sum += part.times * curves.at(part.layer).at(x);
    points.emplace_back(x, sum);
  }
  return Curve(std::move(points));
}

// Attention of one layer on a grid (chunk, context below it, decodes, their context).
class MixedAttention {
 public:
  static constexpr std::size_t kDims = 4;
  using Point = std::array<double, kDims>;

  static Result<MixedAttention> load(const std::string& path) {
    MixedAttention grid;
    std::map<Point, double> rows;
    std::array<std::set<double>, kDims> axes;
    const auto read =
        read_csv(path, {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"},
                 [&](CsvRow f) -> Result<void> {
                   Point at;
                   for (std::size_t i = 0; i < kDims; ++i) {
                     const auto number = parse_number(f[i]);
                     if (!number) return std::unexpected(number.error());
                     axes[i].insert(at[i] = *number);
                   }
                   const auto us = parse_number(f[kDims]);
                   if (!us) return std::unexpected(us.error());
                   rows[at] = *us * kMsPerUs;
                   return {};
                 });
    if (!read) return std::unexpected(read.error());
    for (std::size_t i = 0; i < kDims; ++i) {
      grid.axes_[i].assign(axes[i].begin(), axes[i].end());
      if (grid.axes_[i].size() < 2 || grid.axes_[i].front() != 0)
        return invalid(fmt::format("{}: each axis needs 0 and another value", path));
    }
    grid.fill(rows);
    return grid;
  }

  double ms(double chunk, double below, double decodes, double context) const {
    const std::array<GridPlace, kDims> at = {chunk_place(chunk, below), place_on(axes_[1], below),
                                             place_on(axes_[2], decodes),
                                             place_on(axes_[3], context)};
    double sum = 0;
    for (std::size_t corner = 0; corner < (1u << kDims); ++corner) {
      double weight = 1;
      std::size_t index = 0;
      for (std::size_t d = 0; d < kDims; ++d) {
        const bool high = (corner >> d) & 1;
        weight *= high ? at[d].high_part : 1 - at[d].high_part;
        index = index * axes_[d].size() + at[d].low + high;
      }
      if (weight != 0) sum += weight * cells_[index];
    }
    return sum;
  }

 private:
  // A chunk's work grows with q*(c + q/2): interpolate in that.
  GridPlace chunk_place(double chunk, double below) const {
    GridPlace place = place_on(axes_[0], chunk);
    const auto work = [below](double q) { return q * (below + q / 2); };
    const double low = work(axes_[0][place.low]), high = work(axes_[0][place.low + 1]);
    place.high_part = (work(chunk) - low) / (high - low);
    return place;
  }

  void fill(const std::map<Point, double>& rows) {
    std::size_t size = 1;
    for (const auto& axis : axes_) size *= axis.size();
    cells_.assign(size, std::numeric_limits<double>::quiet_NaN());
    std::size_t index = 0;
    const std::size_t per_decodes = axes_[3].size();
    for (double q : axes_[0])
      for (double c : axes_[1])
        for (std::size_t n = 0; n < axes_[2].size(); ++n)
          for (double k : axes_[3]) {
            // No chunk has no context below it, no decodes have no context.
            const double decodes = axes_[2][n];
            const double smallest = axes_[3][1];
            const auto found =
                rows.find({q, q == 0 ? 0 : c, decodes, decodes == 0 ? 0 : std::max(k, smallest)});
            if (found != rows.end()) {
              cells_[index] = found->second;
            } else if (q == 0 && decodes == 0) {
              cells_[index] = 0;
            } else if (n >= 2) {
              // More tokens than a step held: go on along the decode count.
              const double a = cells_[index - 2 * per_decodes], b = cells_[index - per_decodes];
              const double slope = (b - a) / (axes_[2][n - 1] - axes_[2][n - 2]);
              cells_[index] = b + slope * (decodes - axes_[2][n - 1]);
            } else if (n == 1) {
              cells_[index] = cells_[index - per_decodes];
            }
            // One hole in the table must not make every step near it NaN.
            if (std::isnan(cells_[index])) cells_[index] = index > 0 ? cells_[index - 1] : 0;
            ++index;
          }
  }

  std::array<std::vector<double>, kDims> axes_;
  std::vector<double> cells_;
};

class LayerTables final : public StepTime {
 public:
  LayerTables(Curve layers, Curve head, MixedAttention attention, double layer_count,
              const StepOverhead& overhead)
      : layers_(std::move(layers)),
        head_(std::move(head)),
        attention_(std::move(attention)),
        layer_count_(layer_count),
        overhead_(overhead) {}

  double step_ms(const StepShape& s) const override {
    double ms = layers_.at(static_cast<double>(s.tokens)) + overhead_.fixed_ms;
    if (s.sampling_seqs > 0) {
      const auto n = static_cast<double>(s.sampling_seqs);
      ms += head_.at(n) + overhead_.per_seq_us * kMsPerUs * n;
    }
    auto chunk = static_cast<double>(s.tokens - s.decode_seqs);
    double below = 0;
    if (chunk > 0) below = s.prefill_attention / chunk - chunk / 2;
    if (below < 0) {  // several short prompts: one with the same work
      below = 0;
      chunk = std::sqrt(2 * s.prefill_attention);
    }
    const auto n = static_cast<double>(s.decode_seqs);
    const double context = n > 0 ? static_cast<double>(s.decode_context) / n : 0;
    return ms + layer_count_ * attention_.ms(chunk, below, n, context);
  }

 private:
  Curve layers_, head_;
  MixedAttention attention_;
  double layer_count_;
  StepOverhead overhead_;
};

}  // namespace

Result<std::shared_ptr<const StepTime>> load_layer_tables(const TableFiles& files,
                                                          const ServedModelParams& served_model,
                                                          const StepOverhead& overhead) {
  const double n = served_model.layers;
  auto dense = load_layers(files.dense, "tokens");
  if (!dense) return std::unexpected(dense.error());
  auto per_sequence = load_layers(files.per_sequence, "sequences");
  if (!per_sequence) return std::unexpected(per_sequence.error());
  auto layers = sum_of(*dense,
                       {{"qkv_proj", n},
                        {"o_proj", n},
                        {"gate_up_proj", n},
                        {"down_proj", n},
                        {"layernorm", 2 * n},
                        {"rotary_emb", n},
                        {"act_fn", n},
                        {"embedding", 1},
                        {"final_layernorm", 1}},
                       files.dense);
  if (!layers) return std::unexpected(layers.error());
  auto head = sum_of(*per_sequence, {{"lm_head", 1}, {"sampler", 1}}, files.per_sequence);
  if (!head) return std::unexpected(head.error());
  auto attention = MixedAttention::load(files.attention);
  if (!attention) return std::unexpected(attention.error());
  return std::make_shared<LayerTables>(std::move(*layers), std::move(*head), std::move(*attention),
                                       n, overhead);
}

}  // namespace lodestar::sim
