// SPDX-License-Identifier: Apache-2.0
// Files of learned state from anywhere: a clear refusal, or a state that predicts. The
// checksum would stop almost every mutation, so most inputs get a correct one first.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "fuzz_checksum.h"
#include "learn/forecast_file.h"

using namespace lodestar;
using namespace lodestar::learn;

namespace {

std::string whole_file() {
  Forecaster f;
  f.up(0, "a");
  f.up(1, "bb");
  for (std::uint64_t k = 1; k <= 40; ++k) {
    Outcome o;
    o.lease = LeaseId(k);
    o.slot = static_cast<Fleet::Slot>(k % 2);
    o.row.prompt_tokens = 100.0 * static_cast<double>(k);
    const TimeNs now = static_cast<TimeNs>(k) * kSecond;
    o.placed_at = now;
    f.placed(now, o, f.forecast(now, o.slot, o.row, 0), true);
    o.ttft_ms = 50.0 * static_cast<double>(k);
    f.first_token(now + from_ms(*o.ttft_ms), o);
  }
  const ForecastState states[] = {{"lodestar", "m", f.snapshot()}, {"lodestar", "n", {}}};
  return encode_forecasts(states);
}

void check(const std::string& bytes) {
  const auto decoded = decode_forecasts(bytes);
  if (!decoded) {
    if (decoded.error().message.empty()) std::abort();
    return;
  }
  if (encode_forecasts(*decoded) != bytes) std::abort();  // one state, one file
  for (const ForecastState& state : *decoded) {
    Forecaster f;
    f.up(0, "a");
    f.restore(state.snapshot);
    FeatureRow row;
    row.prompt_tokens = 1000;
    (void)f.forecast(kSecond, 0, row, 100);  // whatever it says, it may not crash
  }
}

}  // namespace

// The first two bytes say where on a valid file the rest is laid (by xor).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  check(with_checksum(bytes));
  static const std::string valid = whole_file();
  std::string laid = valid;
  if (size > 2) {
    const std::size_t at = (data[0] * 256u + data[1]) % laid.size();
    for (std::size_t i = 2; i < size && at + i - 2 < laid.size(); ++i)
      laid[at + i - 2] = static_cast<char>(laid[at + i - 2] ^ bytes[i]);
  }
  check(laid);
  check(with_checksum(laid));
  return 0;
}
