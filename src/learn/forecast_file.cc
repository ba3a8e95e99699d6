// SPDX-License-Identifier: Apache-2.0
#include "learn/forecast_file.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/hash.h"
#include "learn/file_bytes.h"

namespace lodestar::learn {
namespace {

constexpr std::uint32_t kFormatVersion = 1;
constexpr std::uint32_t kMostStates = 1024;
constexpr std::uint32_t kMostInstances = 65'536;
constexpr std::uint32_t kMostTextBytes = 4096;
constexpr double kMostEvidence = 20;
constexpr double kFarthestPace = 1e6;

// In the order of the enumerations in forecaster.h. A term that means something else
// gets another name.
constexpr std::string_view kTtftNames[] = {"one",    "tokens", "attention", "mixed",
                                           "decode", "memory", "requests"};
constexpr std::string_view kTpotNames[] = {"one", "requests", "context", "busy", "pending"};
static_assert(std::size(kTtftNames) == kTtftTerms && std::size(kTpotNames) == kTpotTerms);
// A new member belongs into the file, or is left out on purpose; then this number changes.
static_assert(sizeof(PacedInstance<1>) == 12 * 8 && sizeof(PacedFleet<1>) == 5 * 8 &&
              sizeof(Calibration) == (Calibration::kLevels + 2) * 8 + Calibration::kFirst * 4);

std::unexpected<Error> refuse(const std::string& why) {
  return fail(ErrorCode::kInvalidArgument, "cannot use this file of learned state: " + why);
}

// ---- writing ------------------------------------------------------------------

template <class Values>
void put(FileWriter& out, const Values& values) {
  for (const double v : values) out.f64(v);
}
void put_text(FileWriter& out, std::string_view text) {
  out.u32(static_cast<std::uint32_t>(text.size()));
  out.bytes(text);
}
template <std::size_t N>
void put_fleet(FileWriter& out, const PacedFleet<N>& fleet) {
  put(out, fleet.stats.xx);
  put(out, fleet.stats.xy);
  put(out, fleet.shape);
  out.f64(fleet.samples);
  out.f64(fleet.log_pace);
}
template <std::size_t N>
void put_instance(FileWriter& out, const PacedInstance<N>& i) {
  put(out, i.stats.xx);
  put(out, i.stats.xy);
  put(out, i.shape);
  out.f64(i.pace);
  out.f64(std::min(i.evidence, kMostEvidence));
  out.f64(i.error);
  out.u64(i.samples);
}
void put_calibration(FileWriter& out, const Calibration& calibration) {
  const Calibration::State s = calibration.state();
  put(out, s.q);
  out.f64(s.scale);
  out.u64(s.samples);
}

// ---- reading ------------------------------------------------------------------

// Reads, and remembers whether every number made sense.
class StateReader {
 public:
  explicit StateReader(FileReader& in) : in_(in) {}
  bool sensible() const { return sensible_; }

  double number(double least, double most) {
    const double v = in_.f64();
    sensible_ = sensible_ && v >= least && v <= most;  // false for NaN
    return v;
  }
  template <class Values>
  void numbers(Values& values, double least) {
    for (double& v : values) v = number(least, 1e300);
  }
  std::string text() {
    const std::uint32_t size = in_.u32();
    sensible_ = sensible_ && size <= kMostTextBytes;
    return size <= kMostTextBytes ? std::string(in_.bytes(size)) : std::string();
  }
  template <std::size_t N>
  void fleet(PacedFleet<N>& fleet) {
    statistics(fleet.stats);
    numbers(fleet.shape, 0);
    fleet.samples = number(0, 1e300);
    fleet.log_pace = number(-30, 30);
  }
  template <std::size_t N>
  void instance(PacedInstance<N>& i) {
    statistics(i.stats);
    numbers(i.shape, 0);
    i.pace = number(1 / kFarthestPace, kFarthestPace);
    i.evidence = number(0, kMostEvidence);
    i.error = number(0, 100);
    i.samples = in_.u64();
  }
  Calibration calibration() {
    Calibration::State s{};
    numbers(s.q, -100);
    s.scale = number(1e-6, 100);
    s.samples = in_.u64();
    sensible_ = sensible_ && std::is_sorted(s.q.begin(), s.q.end()) && s.q.back() <= 100 &&
                (s.samples == 0 || s.samples >= Calibration::kFirst);
    return Calibration::from(s);
  }

 private:
  template <std::size_t N>
  void statistics(LeastSquares<N>& stats) {
    numbers(stats.xx, -1e300);
    numbers(stats.xy, -1e300);
    // A diagonal is a sum of squares: a negative one would turn the solution round.
    for (std::size_t k = 0; k < N; ++k) sensible_ = sensible_ && stats.xx[k * N + k] >= 0;
  }

  FileReader& in_;
  bool sensible_ = true;
};

// "" or what is wrong. Stops at the first sign: counts are only believed while the data
// that they promise is there.
std::string read_state(FileReader& in, ForecastState& state) {
  StateReader r(in);
  state.policy = r.text();
  state.served_model = r.text();
  Forecaster::Snapshot& s = state.snapshot;
  r.fleet(s.ttft);
  r.fleet(s.tpot);
  s.output_tokens = r.number(0, 1e9);
  s.idle = r.calibration();
  s.queued = r.calibration();
  const std::uint32_t instances = in.u32();
  if (instances > kMostInstances) return "it claims " + std::to_string(instances) + " instances";
  std::string last;
  for (std::uint32_t k = 0; k < instances && r.sensible() && !in.is_short(); ++k) {
    std::string name = r.text();
    if (k > 0 && name <= last) return "its instances are not in order";
    last = name;
    Forecaster::Remembered known;
    r.instance(known.ttft);
    r.instance(known.tpot);
    known.e2e_pace = r.number(1 / kFarthestPace, kFarthestPace);
    s.instances.emplace_hint(s.instances.end(), std::move(name), std::move(known));
  }
  if (in.is_short()) return {};  // said by the caller
  return r.sensible() ? "" : "its numbers make no sense";
}

// The part of the header that says whose file it is. Empty when it is ours.
std::string why_foreign(FileReader& in, std::uint32_t& states) {
  if (const auto version = in.u32(); version != kFormatVersion)
    return mismatch("its format version", version, kFormatVersion);
  if (const auto kind = in.u32(); kind != kFileKindForecast)
    return mismatch("its kind", kind, kFileKindForecast);
  if (const auto set = in.u32(); set != kFeatureSetVersion)
    return mismatch("its feature set", set, kFeatureSetVersion);
  states = in.u32();
  if (const auto hash = in.u64(); hash != forecast_term_hash())
    return "its terms are others (" + hex(hash) + ", this build has " + hex(forecast_term_hash()) +
           ")";
  if (states > kMostStates) return "it claims " + std::to_string(states) + " states";
  return {};
}

}  // namespace

std::uint64_t forecast_term_hash() {
  std::uint64_t h = hash_combine(0, kFeatureSetVersion);
  for (const std::string_view name : kTtftNames) h = hash_combine(h, hash_string(name));
  for (const std::string_view name : kTpotNames) h = hash_combine(h, hash_string(name));
  for (const double level : Calibration::kLevel)
    h = hash_combine(h, std::bit_cast<std::uint64_t>(level));
  return h;
}

std::string encode_forecasts(std::span<const ForecastState> states) {
  FileWriter out;
  out.bytes(kFileMagic);
  out.u32(kFormatVersion);
  out.u32(kFileKindForecast);
  out.u32(kFeatureSetVersion);
  out.u32(static_cast<std::uint32_t>(states.size()));
  out.u64(forecast_term_hash());
  for (const ForecastState& state : states) {
    const Forecaster::Snapshot& s = state.snapshot;
    put_text(out, state.policy);
    put_text(out, state.served_model);
    put_fleet(out, s.ttft);
    put_fleet(out, s.tpot);
    out.f64(s.output_tokens);
    put_calibration(out, s.idle);
    put_calibration(out, s.queued);
    out.u32(static_cast<std::uint32_t>(s.instances.size()));
    for (const auto& [name, known] : s.instances) {
      put_text(out, name);
      put_instance(out, known.ttft);
      put_instance(out, known.tpot);
      out.f64(known.e2e_pace);
    }
  }
  out.u64(siphash13({}, out.view()));
  return out.take();
}

Result<std::vector<ForecastState>> decode_forecasts(std::string_view bytes) {
  if (!bytes.starts_with(kFileMagic))
    return refuse("it does not start with " + std::string(kFileMagic));
  FileReader in(bytes);
  in.bytes(kFileMagic.size());
  std::uint32_t count = 0;
  const std::string foreign = why_foreign(in, count);
  if (in.is_short()) return refuse("it is cut off in the header");
  if (!foreign.empty()) return refuse(foreign);
  std::vector<ForecastState> states;
  std::string wrong;
  for (std::uint32_t k = 0; k < count && wrong.empty() && !in.is_short(); ++k)
    wrong = read_state(in, states.emplace_back());
  // Damage explains whatever else is wrong.
  if (bytes.size() > kFileChecksumBytes) {
    const std::string_view body = bytes.substr(0, bytes.size() - kFileChecksumBytes);
    FileReader tail(bytes.substr(body.size()));
    if (tail.u64() != siphash13({}, body))
      return refuse("its checksum does not match: it is damaged or cut off");
  }
  if (!wrong.empty()) return refuse(wrong);
  in.u64();
  if (in.is_short())
    return refuse("it is cut off after " + std::to_string(bytes.size()) + " bytes");
  if (in.left() != 0) return refuse("it has " + std::to_string(in.left()) + " bytes too many");
  return states;
}

}  // namespace lodestar::learn
