// SPDX-License-Identifier: Apache-2.0
// The simulated world: a workload, engines, a network and a metrics scraper
// around one real Router. The world turns what happens into router events and
// router effects into what happens, as the live proxy does. Single-threaded,
// deterministic: same inputs, same bits.
//
// What the router sees: arrivals without the true output length, first tokens
// and ends after the network delay, gauges at their scrape with period, delay
// and loss. TTFT and E2E are the client's, from the arrival at the router on.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "routing/router.h"
#include "sim/engine.h"
#include "sim/result.h"
#include "sim/workload.h"

namespace lodestar::sim {

// What an engine becomes when its served model is swapped.
struct EngineSwap {
  EngineConfig config;
  std::shared_ptr<const StepTime> step_time;
  double told_prefill_tokens_per_s = 0;
  std::int64_t max_model_len = 0;
};

struct EngineFault {
  // slow: steps take `factor` times as long. freeze: nothing moves. crash: what is
  // in flight fails, the cache is lost; the engine is back at `until` (at once if
  // 0). join: absent before `at`. leave: takes no new request from `at` on,
  // finishes what it has, and is back, cold, at `until` (never if 0).
  // restart_cache: the prefix cache is lost at `at`, and nobody is told. shrink_cache:
  // only `factor` of the KV cache can be used, and nobody is told (always if until is
  // 0). throttle: slow, but the factor comes and goes linearly over `ramp`. swap:
  // leaves at `at`, is back at `until` (at once if 0) as a new incarnation that is
  // what `swap` says.
  enum class Kind {
    kSlow,
    kFreeze,
    kCrash,
    kJoin,
    kLeave,
    kRestartCache,
    kShrinkCache,
    kThrottle,
    kSwap
  } kind = Kind::kSlow;
  TimeNs at = 0;
  TimeNs until = 0;
  double factor = 1;
  DurationNs ramp = 0;
  std::shared_ptr<const EngineSwap> swap = nullptr;  // for kSwap
};

// A throttle's way up and down again: when, and how slow from then on.
struct ThrottleStep {
  TimeNs at;
  double factor;
};
std::vector<ThrottleStep> throttle_steps(const EngineFault& fault);

struct WorldEngine {
  InstanceInfo info;  // what the router is told; id = position in the list
  EngineConfig config;
  std::shared_ptr<const StepTime> step_time;
  std::vector<EngineFault> faults;
};

// What the router gets to know of a prompt. Exact: its tokens, hashed in blocks of
// `block_tokens`. Coarse, as live: its bytes (4 a token, times a lognormal factor of
// mean 1 per request), hashed in blocks of `block_bytes`; the router guesses tokens.
struct RouterView {
  static constexpr int kBytesPerToken = 4;
  bool coarse = false;
  int block_tokens = 16;    // exact
  int block_bytes = 256;    // coarse; a multiple of kBytesPerToken
  double token_error = 0;   // coarse: sigma of the factor
  int hash_tokens() const { return coarse ? block_bytes / kBytesPerToken : block_tokens; }
};

// How arrivals are dealt out when several routers, which know nothing of each other,
// stand before the same engines.
enum class ReplicaSplit { kRandom, kBySession };

struct WorldConfig {
  std::vector<WorldEngine> engines;
  DurationNs scrape_period = 100 * kMillisecond;
  DurationNs scrape_delay = 0;
  double scrape_loss = 0;         // probability per scrape
  DurationNs network_delay = 0;   // one way, router <-> engine
  DurationNs progress_period = 20 * kMillisecond;
  RouterConfig router;            // policy, seed, ...
  std::string served_model = "default";
  RouterView view;
  int replicas = 1;               // routers; each scrapes for itself
  ReplicaSplit split = ReplicaSplit::kRandom;
  std::uint64_t seed = 1;
  std::function<std::uint64_t()> wall_ns;  // for decision times; empty: not measured
  std::function<void(std::uint64_t done, TimeNs now)> progress;  // now and then; may be empty
};

class World {
 public:
  // `born` gets the world's address before the factory is first called, so that
  // simulator-only policies (oracle.h) can be made; it may be empty.
  static Result<std::unique_ptr<World>> create(WorldConfig config, Workload workload,
                                               PolicyFactory factory,
                                               const std::function<void(const World*)>& born = {});
  // Runs until nothing is left to happen. Once.
  void run();

  const std::vector<RequestRecord>& records() const { return records_; }
  CellResult result() const;  // without policy, cluster and workload names
  const Router& router(std::size_t replica = 0) const { return *routers_[replica]; }
  Router& router(std::size_t replica = 0) { return *routers_[replica]; }
  std::size_t replicas() const { return routers_.size(); }
  std::uint64_t unfinished() const { return open_; }

  // For simulator-only policies. instance id -> engine; null if it is absent.
  const Engine* engine(InstanceId id) const;
  // The request that the router is deciding now, as its engine would get it.
  const EngineRequest& pending_request() const { return pending_; }
  DurationNs network_delay() const { return config_.network_delay; }

 private:
  enum class Kind : std::uint8_t {
    kFault,
    kFaultEnd,
    kThrottleStep,
    kSubmit,
    kReport,
    kScrape,
    kGauges,
    kProgress,
    kTimer,
    kPublish
  };
  struct Item {
    TimeNs at;
    std::uint64_t order;  // first come, first served at equal times
    Kind kind;
    std::uint32_t a = 0;
    std::uint64_t b = 0;
    bool operator>(const Item& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  struct EngineState {
    std::unique_ptr<Engine> engine;
    bool present = true, draining = false;
    TimeNs frozen_until = 0;       // answers no scrape before
    Incarnation incarnation = 1;
    TimeNs next = kNever;
    DurationNs busy_before = 0;  // of earlier lives
    std::int64_t preemptions_before = 0;
    std::uint64_t life = 0;
    struct Scraper {  // one per router
      Rng rng{0};
      std::vector<LoadSnapshot> in_flight;  // scraped, not yet delivered
    };
    std::vector<Scraper> scrapers;
  };
  // One request on its way; index = RequestRecord index.
  struct Live {
    SimRequest request;
    RequestTruth truth;
    std::vector<Placement> placements;
    std::uint32_t stage = 0;      // which placement runs now
    std::uint32_t epoch = 0;      // bumped per attempt: late messages are recognised
    std::int64_t reported_tokens = 0, seen_tokens = 0;
    bool active = false, streaming = false;
    std::uint32_t replica = 0;  // the router that it came to
  };
  struct Report {  // from an engine to the router
    std::uint32_t index, epoch, stage;
    TokenEvent event;
  };

  // Engine ids: record, attempt and stage in one number, so that a late answer of
  // an earlier attempt is told from the present one.
  static std::uint64_t engine_id(std::uint32_t index, std::uint32_t epoch, std::uint32_t stage) {
    return (std::uint64_t{index} << 16) | ((epoch & 0xfffu) << 4) | (stage & 0xfu);
  }
  static std::uint32_t index_of(std::uint64_t id) { return static_cast<std::uint32_t>(id >> 16); }
  static std::uint32_t epoch_of(std::uint64_t id) {
    return static_cast<std::uint32_t>(id >> 4) & 0xfffu;
  }
  static std::uint32_t stage_of(std::uint64_t id) { return static_cast<std::uint32_t>(id) & 0xfu; }

  World(WorldConfig config, Workload workload);
  void push(TimeNs at, Kind kind, std::uint32_t a = 0, std::uint64_t b = 0);
  TimeNs earliest_engine(std::size_t& which) const;
  void handle_item(const Item& item);
  void arrive();
  std::uint32_t replica_of(const SimRequest& request) const;
  RequestInfo request_info(const SimRequest& request);
  void tell_router(std::uint32_t replica, const Event& event);
  void tell_routers(const Event& event);
  void apply(std::uint32_t replica, const Effects& effects);
  void dispatch(const Dispatch& d);
  void send_stage(std::uint32_t index);
  void submit(std::uint32_t index, std::uint32_t epoch);
  void attempt_failed(std::uint32_t index, ErrorCode why);
  void advance_engine(std::size_t e);
  void refresh(std::size_t e);
  void report(const Report& r);
  void finish(std::uint32_t index, bool failed);
  void set_pending(std::uint32_t index);
  void scrape(std::uint32_t e, std::uint32_t replica);
  void deliver_gauges(std::uint32_t e, std::uint64_t life_and_replica);
  void send_progress();
  EngineRequest engine_request(std::uint32_t index, std::int64_t output_tokens) const;
  std::string view_text() const;

  // world_engines.cc: advance_engine to send_progress, and result
  // world_faults.cc
  void schedule_faults();
  void begin_fault(std::uint32_t e, const EngineFault& fault);
  void end_fault(std::uint32_t e, const EngineFault& fault);
  void crash_engine(std::uint32_t e);
  void bring_up(std::uint32_t e);
  void take_down(std::uint32_t e);
  void become(std::uint32_t e, const EngineSwap& swap);
  Result<void> make_engine(std::uint32_t e);

  WorldConfig config_;
  Workload workload_;
  std::vector<std::unique_ptr<Router>> routers_;
  Rng rng_;
  std::vector<EngineState> engines_;
  std::vector<Item> heap_;
  std::uint64_t next_order_ = 0;
  std::uint64_t waiting_items_ = 0;  // items that can still finish a request
  TimeNs now_ = 0;
  std::vector<RequestRecord> records_;
  std::vector<Live> live_;           // parallel to records_
  std::vector<std::uint32_t> record_of_;  // plan index -> record
  std::vector<Report> reports_;      // in the network
  std::vector<std::uint32_t> free_reports_;
  struct Training {
    std::uint32_t replica;
    PolicyId policy;
    std::shared_ptr<const TrainJob> job;
  };
  std::vector<Training> trainings_;
  std::vector<double> decision_us_;
  std::vector<TokenEvent> token_events_;
  std::vector<std::uint32_t> streaming_;  // records with unreported progress
  std::vector<std::uint64_t> view_hashes_;  // scratch
  int engine_block_tokens_ = 16;     // pending_ is hashed in these
  EngineRequest pending_;            // prepared at the arrival, moved into the engine
  std::uint32_t pending_index_ = kNoInstance;
  std::uint64_t open_ = 0;           // arrived and not finished
  std::uint64_t fallback_decisions_ = 0;
  TimeNs first_predictor_at_ = kNever;
  TimeNs last_end_ = 0;
  bool progress_running_ = false;
};

}  // namespace lodestar::sim
