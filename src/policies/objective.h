// SPDX-License-Identifier: Apache-2.0
// What `lodestar` minimises, as pure functions: the request's own cost by the chosen
// reward, and the price of what it costs everybody else. All in seconds of TTFT, so
// that they add up. Any thread; no state.
#pragma once
#include <cstdint>

namespace lodestar {

// What a request wants for itself.
enum class Reward : std::uint8_t {
  kBlend,    // TTFT, and the decode time at a small weight
  kNegTtft,  // TTFT alone
  kNegE2e,   // TTFT and decode time alike
  kSlo,      // that its own targets are met
};

// One request on one instance, as predicted.
struct Prospect {
  double ttft_s = 0;
  double usual_ttft_s = 0.1;    // mean of recent ones
  double wait_s = 0;            // of ttft_s: before the request's own prefill
  double own_s = 0;             // of ttft_s: its own prefill
  double decode_s = 0;          // expected output tokens x TPOT
  double e2e_factor = 1;        // what whole answers took / ttft_s + decode_s, so far
  double slo_probability = 1;   // that its targets are met; 1 without targets
  double busy = 0;              // share of arrivals there that find a prefill pending
  double arrivals_per_s = 0;    // that this instance gets
  double decoding = 0;          // requests in decode there
  double crowding_s = 0;        // waiting for KV cache that it causes to later arrivals
};

struct ObjectiveOptions {
  Reward reward = Reward::kBlend;
  double decode_weight = 0.03;  // seconds of TTFT that a second of decoding is worth
  double tail = 0.1;            // extra weight of a TTFT for each usual TTFT that it lasts
  double toll = 1;
  double crowding = 1;
  double externality = 0.3;
};

// The request's own cost. A TTFT counts the more the longer it is in usual ones (`tail`):
// else the price of prefill work sends the longest prompts to the slowest cards, which is
// right for the mean and bad for the 99th percentile. kSlo: a missed target costs kMissS
// seconds; with all chances equal (or no targets), a tenth of the blend decides.
double own_cost(const ObjectiveOptions& o, const Prospect& p);

// What it costs others, in three parts. rho: the probability that an arrival finds the
// instance prefilling; x: the request's own prefill there.
//
// prefill      rho^2 / (1 - rho) x (toll + externality lambda (wait + x / 2)). Prefill
//              that is done twice, or on the slow card, is missing when the fleet is
//              nearly busy: nothing while the instance idles, without bound as it
//              saturates. The second summand is the number of arrivals that come while
//              the request waits and is half computed, all of which it delays: the first
//              step of policy improvement for size-aware dispatching to M/G/1 queues
//              (Hyytia, Penttinen, Aalto 2012, EJOR 218, section 3), scaled by rho^2 so
//              that long prompts are not pushed to slow cards while there is no queue.
// crowding     the KV cache that the request takes makes later arrivals wait for room.
// decode       those in decode wait for the prefill, chunked or not; at decode_weight.
double price(const ObjectiveOptions& o, const Prospect& p);

}  // namespace lodestar
