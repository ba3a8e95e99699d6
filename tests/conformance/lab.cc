// SPDX-License-Identifier: Apache-2.0
#include "conformance/lab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/hash.h"
#include "conformance/test_policies.h"

namespace lodestar::testing {
namespace {

// Passes everything on and notes which leases the policy heard of.
class SpyPolicy final : public Policy {
 public:
  SpyPolicy(std::unique_ptr<Policy> inner, std::shared_ptr<PolicyLog> log)
      : inner_(std::move(inner)), log_(std::move(log)) {}
  Needs needs() const override { return inner_->needs(); }
  void decide(const DecisionContext& c, Decision& out, PolicyActions& a) override {
    inner_->decide(c, out, a);
  }
  void on_placed(TimeNs now, const RequestInfo& r, const Outcome& o, PolicyActions& a) override {
    ++log_->leases[o.lease.value].placed;
    inner_->on_placed(now, r, o, a);
  }
  void on_first_token(TimeNs now, const Outcome& o, PolicyActions& a) override {
    ++log_->leases[o.lease.value].first_token;
    inner_->on_first_token(now, o, a);
  }
  void on_settled(TimeNs now, const Outcome& o, PolicyActions& a) override {
    ++log_->leases[o.lease.value].settled;
    inner_->on_settled(now, o, a);
  }
  void on_forgotten(TimeNs now, RequestId r) override {
    log_->forgotten.push_back(r.value);
    inner_->on_forgotten(now, r);
  }
  void on_instance_up(TimeNs now, Fleet::Slot s, const Fleet& f, PolicyActions& a) override {
    inner_->on_instance_up(now, s, f, a);
  }
  void on_instance_down(TimeNs now, Fleet::Slot s, const Fleet& f) override {
    inner_->on_instance_down(now, s, f);
  }
  void on_timer(TimeNs now, const Fleet& f, PolicyActions& a) override {
    inner_->on_timer(now, f, a);
  }
  void on_predictor(TimeNs now, std::shared_ptr<const Predictor> p, PolicyActions& a) override {
    inner_->on_predictor(now, std::move(p), a);
  }
  std::shared_ptr<const Predictor> learned() const override { return inner_->learned(); }
  std::optional<LearnStats> learning() const override { return inner_->learning(); }
  std::uint64_t state_hash() const override { return inner_->state_hash(); }

 private:
  std::unique_ptr<Policy> inner_;
  std::shared_ptr<PolicyLog> log_;
};

}  // namespace

std::vector<std::uint64_t> blocks_of(std::uint64_t tag, std::size_t count) {
  std::vector<std::uint64_t> blocks(count);
  std::uint64_t h = mix64(tag + 1);
  for (auto& block : blocks) block = h = hash_combine(h, 7);
  return blocks;
}

Lab::Lab(std::string_view policy, std::uint64_t seed, RouterConfig config)
    : log_(std::make_shared<PolicyLog>()) {
  config.seed = seed;
  config.policy = policy;
  auto made = Router::create(
      std::move(config), [log = log_](std::string_view name) -> Result<std::unique_ptr<Policy>> {
        auto inner = make_test_policy(name);
        if (!inner) return std::unexpected(inner.error());
        return std::make_unique<SpyPolicy>(std::move(*inner), log);
      });
  if (!made) ADD_FAILURE() << made.error().message;
  router_ = std::move(made.value());
}

Effects Lab::send(const Event& event) {
  before(event);
  Effects effects = router_->handle(now_, event);
  account(effects);
  check_books();
  // A round is over when the next event comes: the shortest that a driver could take.
  for (const Train& job : std::exchange(training_, {})) {
    ++rounds_;
    const Effects more = router_->handle(now_, PredictorPublished{job.policy, job.job->run()});
    account(more);
  }
  return effects;
}

// Our own books, before the router answers: what the event says by itself.
void Lab::before(const Event& event) {
  const auto depart = [&](InstanceId id) {
    for (auto& [key, lease] : open_) lease.departed = lease.departed || lease.instance == id;
  };
  if (const auto* e = std::get_if<InstanceUp>(&event)) {
    const auto it = alive_.find(e->info.id.value);
    if (it != alive_.end() && it->second != e->info.incarnation) depart(e->info.id);
    alive_[e->info.id.value] = e->info.incarnation;
  }
  if (const auto* e = std::get_if<InstanceDown>(&event)) {
    depart(e->instance);
    alive_.erase(e->instance.value);
  }
  if (const auto* e = std::get_if<FirstToken>(&event)) {
    const auto it = open_.find(e->lease.value);
    if (it != open_.end() && !it->second.decoding) {
      it->second.decoding = true;
      it->second.generated += 1;
    }
  }
  if (const auto* e = std::get_if<TokenProgress>(&event))
    for (const Progress& p : e->items)
      if (const auto it = open_.find(p.lease.value); it != open_.end() && it->second.decoding)
        it->second.generated += p.tokens;
  if (const auto* e = std::get_if<Ended>(&event)) close(e->lease);
  if (const auto* e = std::get_if<LeaseFailed>(&event)) close(e->lease);
  if (const auto* e = std::get_if<AttemptFailed>(&event)) {
    // A report about a lease that is not open changes nothing.
    const auto it = open_.find(e->lease.value);
    if (it != open_.end() && it->second.request == e->request)
      std::erase_if(open_, [&](const auto& l) { return l.second.request == e->request; });
  }
  if (const auto* e = std::get_if<Aborted>(&event)) {
    std::erase_if(open_, [&](const auto& l) { return l.second.request == e->request; });
    if (fate(e->request) == Fate::kHeld) fates_[e->request.value] = Fate::kUnknown;
  }
}

void Lab::account(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* d = std::get_if<Dispatch>(&effect)) {
      EXPECT_FALSE(d->placements.empty());
      EXPECT_GT(d->propensity, 0);
      EXPECT_LE(d->propensity, 1);
      for (const Placement& p : d->placements) {
        EXPECT_TRUE(alive_.contains(p.instance.value)) << "dispatched to an absent instance";
        EXPECT_EQ(alive_[p.instance.value], p.incarnation);
        EXPECT_FALSE(open_.contains(p.lease.value)) << "a lease was reused";
        const double hit = d->placements.size() == 1 ? d->hit_tokens : 0;
        open_[p.lease.value] = {d->request, p.instance,       p.incarnation,         p.role,
                                false,      d->prompt_tokens, d->prompt_tokens - hit};
        placements_.push_back(p.instance);
      }
      for (InstanceId f : d->fallbacks) EXPECT_TRUE(alive_.contains(f.value));
      fates_[d->request.value] = Fate::kPlaced;
      picks_.push_back(d->placements[0].instance);
      dispatches_[d->request.value] = *d;
    } else if (const auto* h = std::get_if<Hold>(&effect)) {
      fates_[h->request.value] = Fate::kHeld;
    } else if (const auto* r = std::get_if<Reject>(&effect)) {
      fates_[r->request.value] = Fate::kRejected;
    } else if (const auto* w = std::get_if<WakeAt>(&effect)) {
      wake_at_ = std::min(wake_at_, w->at);
    } else if (const auto* t = std::get_if<Train>(&effect)) {
      training_.push_back(*t);
    }
  }
}

void Lab::close(LeaseId lease) { open_.erase(lease.value); }

// The sums that the router keeps step by step, here anew from all open leases.
std::map<std::uint32_t, Lab::Books> Lab::naive_books() const {
  std::map<std::uint32_t, Books> books;
  for (const auto& [id, lease] : open_) {
    if (lease.departed) continue;
    Books& mine = books[lease.instance.value];
    EXPECT_EQ(lease.incarnation, alive_.at(lease.instance.value));
    ++mine.load.inflight;
    mine.pair = mine.pair || lease.role != Role::kFull;
    if (lease.decoding) {
      ++mine.load.inflight_decode;
      mine.load.decode_generated_tokens += static_cast<double>(lease.generated);
      mine.load.decode_context_tokens += lease.prompt_tokens + static_cast<double>(lease.generated);
    } else {
      ++mine.load.inflight_prefill;
      mine.load.pending_prompt_tokens += lease.prompt_tokens;
      mine.load.pending_uncached_tokens += lease.uncached_tokens;
    }
  }
  return books;
}

void Lab::check_books() {
  const auto near = [](double a, double b) {
    return std::fabs(a - b) <= 1e-6 * (1 + std::fabs(b));
  };
  auto books = naive_books();
  for (Fleet::Slot slot : router_->fleet().present()) {
    const InstanceState& state = router_->fleet().at(slot);
    const OwnLoad& own = state.own;
    const Books& mine = books[state.info.id.value];
    EXPECT_EQ(own.inflight, mine.load.inflight) << "instance " << state.info.id.value;
    EXPECT_EQ(own.inflight_prefill, mine.load.inflight_prefill);
    EXPECT_EQ(own.inflight_decode, mine.load.inflight_decode);
    EXPECT_TRUE(near(own.pending_prompt_tokens, mine.load.pending_prompt_tokens));
    EXPECT_TRUE(mine.pair || near(own.pending_uncached_tokens, mine.load.pending_uncached_tokens));
    EXPECT_TRUE(near(own.decode_generated_tokens, mine.load.decode_generated_tokens));
    EXPECT_TRUE(near(own.decode_context_tokens, mine.load.decode_context_tokens));
    EXPECT_EQ(static_cast<std::int64_t>(state.residents.size()), mine.load.inflight);
  }
  EXPECT_EQ(router_->open_leases(), open_.size());
}

void Lab::up(std::uint32_t id, Incarnation incarnation, std::int64_t capacity) {
  InstanceInfo info;
  info.id = InstanceId(id);
  info.incarnation = incarnation;
  info.name = "i" + std::to_string(id);
  info.kv_capacity_tokens = capacity;
  send(InstanceUp{info});
}

void Lab::scrape(std::uint32_t id, LoadSnapshot load) {
  load.taken_at = now_;
  send(Scraped{InstanceId(id), alive_[id], load});
}

RequestId Lab::arrive(RequestInfo info) {
  const RequestId id(next_request_++);
  send(RequestArrived{id, std::move(info)});
  return id;
}

RequestId Lab::arrive(double prompt_tokens, std::vector<std::uint64_t> blocks,
                      std::string session) {
  RequestInfo info;
  info.prompt_tokens = prompt_tokens;
  info.block_hashes = std::move(blocks);
  info.block_tokens = 16;
  info.session_key = std::move(session);
  return arrive(std::move(info));
}

Lab::Fate Lab::fate(RequestId request) const {
  const auto it = fates_.find(request.value);
  return it == fates_.end() ? Fate::kUnknown : it->second;
}

std::vector<LeaseId> Lab::leases_of(RequestId request) const {
  std::vector<LeaseId> leases;
  for (const auto& [id, lease] : open_)
    if (lease.request == request) leases.push_back(LeaseId(id));
  return leases;
}

void Lab::finish_all() {
  for (int round = 0; round < 100; ++round) {
    while (!open_.empty()) {
      const LeaseId lease(open_.begin()->first);
      advance(kMillisecond);
      send(FirstToken{lease});
      advance(kMillisecond);
      Ended end;
      end.lease = lease;
      end.output_tokens = 2;
      send(end);
    }
    if (wake_at_ == kNever) break;
    now_ = std::max(now_, std::exchange(wake_at_, kNever));
    send(Timer{});
  }
  EXPECT_EQ(router_->active_requests(), 0u) << "a request was never answered";
}

std::vector<std::uint32_t> Lab::placements_by_instance(std::uint32_t instances) const {
  std::vector<std::uint32_t> count(instances + 1, 0);
  for (InstanceId id : placements_) ++count[id.value];
  return count;
}

}  // namespace lodestar::testing
