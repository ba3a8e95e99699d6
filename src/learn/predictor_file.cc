// SPDX-License-Identifier: Apache-2.0
#include "learn/predictor_file.h"

#include <cmath>
#include <span>
#include <utility>

#include "base/hash.h"
#include "learn/file_bytes.h"

namespace lodestar::learn {
namespace {

constexpr std::uint32_t kFormatVersion = 1;

std::unexpected<Error> refuse(const std::string& why) {
  return fail(ErrorCode::kInvalidArgument, "cannot use this predictor file: " + why +
                                               "; train a new one or use the build that wrote it");
}

bool finite(std::span<const float> values) {
  for (float v : values)
    if (!std::isfinite(v)) return false;
  return true;
}

// The part of the header that says whose file it is. Empty when it is ours.
std::string why_foreign(FileReader& in, bool& gpu_labels) {
  if (const auto version = in.u32(); version != kFormatVersion)
    return mismatch("its format version", version, kFormatVersion);
  if (const auto kind = in.u32(); kind != kFileKindPaper)
    return mismatch("its kind", kind, kFileKindPaper);
  if (const auto set = in.u32(); set != kFeatureSetVersion)
    return mismatch("its feature set", set, kFeatureSetVersion);
  const std::uint32_t labels = in.u32();
  if (labels > 1) return "its GPU label flag is " + std::to_string(labels);
  gpu_labels = labels == 1;
  if (const auto hash = in.u64(); hash != paper_feature_hash(gpu_labels))
    return "its features are others (" + hex(hash) + ", this build has " +
           hex(paper_feature_hash(gpu_labels)) + ")";
  if (const auto hidden = in.u32(); hidden != kHidden)
    return mismatch("its hidden width", hidden, kHidden);
  if (const auto inputs = in.u32(); inputs != paper_inputs(gpu_labels))
    return mismatch("its input width", inputs, paper_inputs(gpu_labels));
  return {};
}

bool sensible(const Normalizer::Statistics& s) {
  for (const auto* values : {&s.mean, &s.deviation, &s.min, &s.max})
    if (!finite(*values)) return false;
  for (std::size_t i = 0; i < kPaperNumeric; ++i)
    if (s.deviation[i] < 0 || s.min[i] > s.max[i]) return false;
  return true;
}

}  // namespace

std::string encode_predictor(const PaperPredictor& predictor) {
  const MlpLayout& layout = predictor.mlp().weights().layout();
  const TrainingRecord& r = predictor.record();
  const Normalizer::Statistics& s = predictor.normalizer().statistics();
  FileWriter out;
  out.bytes(kFileMagic);
  out.u32(kFormatVersion);
  out.u32(kFileKindPaper);
  out.u32(kFeatureSetVersion);
  out.u32(predictor.gpu_labels() ? 1 : 0);
  out.u64(paper_feature_hash(predictor.gpu_labels()));
  out.u32(kHidden);
  out.u32(static_cast<std::uint32_t>(layout.inputs));
  for (std::uint64_t v : {r.round, r.rows, r.trained, r.epochs}) out.u64(v);
  for (double v : {r.training_mse, r.holdout_mse, r.holdout_mae_ms}) out.f64(v);
  for (const auto* values : {&s.mean, &s.deviation, &s.min, &s.max}) out.f32(*values);
  out.u32(s.gpus);
  out.f32(predictor.mlp().weights().values());
  out.u64(siphash13({}, out.view()));
  return out.take();
}

Result<std::shared_ptr<const PaperPredictor>> decode_predictor(std::string_view bytes) {
  if (!bytes.starts_with(kFileMagic))
    return refuse("it does not start with " + std::string(kFileMagic));
  FileReader in(bytes);
  in.bytes(kFileMagic.size());
  bool gpu_labels = false;
  std::string foreign = why_foreign(in, gpu_labels);
  if (in.is_short()) return refuse("it is cut off in the header");
  if (!foreign.empty()) return refuse(foreign);
  if (bytes.size() < kFileChecksumBytes) return refuse("it is cut off");
  const std::string_view body = bytes.substr(0, bytes.size() - kFileChecksumBytes);

  TrainingRecord record;
  for (std::uint64_t* v : {&record.round, &record.rows, &record.trained, &record.epochs})
    *v = in.u64();
  for (double* v : {&record.training_mse, &record.holdout_mse, &record.holdout_mae_ms})
    *v = in.f64();
  Normalizer::Statistics statistics;
  for (auto* values : {&statistics.mean, &statistics.deviation, &statistics.min, &statistics.max})
    in.f32(*values);
  const std::uint32_t gpus = in.u32();
  MlpWeights weights(paper_inputs(gpu_labels));
  in.f32(weights.values());
  const std::uint64_t checksum = in.u64();
  if (in.is_short())
    return refuse("it is cut off after " + std::to_string(bytes.size()) + " bytes");
  if (in.left() != 0) return refuse("it has " + std::to_string(in.left()) + " bytes too many");
  if (checksum != siphash13({}, body)) return refuse("its checksum does not match: it is damaged");
  if (gpus > 0xffff || !sensible(statistics) || !weights.finite())
    return refuse("its statistics or weights make no sense");
  statistics.gpus = static_cast<std::uint16_t>(gpus);
  return std::make_shared<const PaperPredictor>(Mlp(std::move(weights)), Normalizer(statistics),
                                                gpu_labels, record);
}

}  // namespace lodestar::learn
