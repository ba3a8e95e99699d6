// SPDX-License-Identifier: Apache-2.0
// The brain and its trainer, without a socket.
#include "proxy/brain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "net/test_support.h"
#include "proxy/test_rig.h"

namespace lodestar::proxy {
namespace {

using testing::eventually;

struct Learned : Predictor {};

// Trains at each settled request; counts what is published.
class Learner final : public Policy {
 public:
  struct Counts {
    std::atomic<int> published{0}, null{0}, settled{0};
    std::atomic<std::int64_t> progress{0};
    std::atomic<bool> on_brain{true};
    std::thread::id brain;
  };
  class Job final : public TrainJob {
   public:
    explicit Job(int kind) : kind_(kind) {}
    std::shared_ptr<const Predictor> run() const override {
      if (kind_ % 3 == 1) return nullptr;
      if (kind_ % 3 == 2) throw std::runtime_error("a broken learner");
      return std::make_shared<Learned>();
    }
    DurationNs simulated_duration() const override { return 0; }

   private:
    int kind_;
  };
  explicit Learner(Counts& counts) : counts_(counts) {}
  Needs needs() const override { return {.prefix = false, .progress = true}; }
  void decide(const DecisionContext&, Decision& out, PolicyActions&) override { out.place(0); }
  void on_settled(TimeNs, const Outcome& o, PolicyActions& actions) override {
    note();
    counts_.progress += o.output_tokens;
    actions.train = std::make_shared<Job>(counts_.settled++);
  }
  void on_predictor(TimeNs, std::shared_ptr<const Predictor> p, PolicyActions&) override {
    note();
    ++(p ? counts_.published : counts_.null);
  }

 private:
  void note() {
    if (counts_.brain == std::thread::id()) counts_.brain = std::this_thread::get_id();
    if (counts_.brain != std::this_thread::get_id()) counts_.on_brain = false;
  }
  Counts& counts_;
};

InstanceInfo instance() {
  InstanceInfo info;
  info.id = InstanceId{1};
  info.served_models = {"m"};
  return info;
}

net::Task<int> serve_some(std::shared_ptr<Brain> brain, net::Executor home, int requests) {
  int placed = 0;
  for (int i = 0; i < requests; ++i) {
    auto ticket = brain->open_ticket(home);
    RequestInfo info;
    info.served_model = "m";
    const Answer answer = co_await brain->submit(ticket, std::move(info), kNever);
    const auto* dispatch = std::get_if<Dispatch>(&answer);
    if (dispatch == nullptr) continue;
    ++placed;
    brain->finish(ticket->id, Ended{dispatch->placements[0].lease, 1, {}, 0});
  }
  co_return placed;
}

class BrainTest : public ::testing::TestWithParam<int> {
 protected:
  Learner::Counts counts_;
  net::testing::LiveRuntime live_{GetParam()};
  std::shared_ptr<Brain> make() {
    RouterConfig config;
    config.policy = "learner";
    auto router =
        Router::create(config, [this](std::string_view) -> Result<std::unique_ptr<Policy>> {
          return std::make_unique<Learner>(counts_);
        });
    auto brain = std::make_shared<Brain>(live_.runtime, std::move(*router), nullptr);
    brain->report(InstanceUp{instance()});
    return brain;
  }
};
INSTANTIATE_TEST_SUITE_P(Workers, BrainTest, ::testing::Values(1, 4));

TEST_P(BrainTest, EveryWorkerGetsItsAnswersAndTheCoreStaysOnOneThread) {
  auto brain = make();
  std::vector<std::thread> drivers;
  std::atomic<int> placed{0};
  for (int w = 0; w < GetParam(); ++w)
    drivers.emplace_back(
        [&, w] { placed += live_.get(serve_some(brain, live_.runtime.executor(w), 300), w); });
  for (auto& t : drivers) t.join();
  const int all = 300 * GetParam();
  EXPECT_EQ(placed, all);
  EXPECT_TRUE(eventually([&] { return counts_.settled == all; }));
  // Trap 18: a training that fails or throws is seen, and the router goes on.
  EXPECT_TRUE(eventually([&] { return counts_.published + counts_.null == all; }));
  EXPECT_EQ(counts_.published, all / 3);
  EXPECT_EQ(brain->failed_trainings(), static_cast<std::uint64_t>(all - all / 3));
  EXPECT_TRUE(counts_.on_brain);
  EXPECT_TRUE(brain->wants_progress());
  live_.halt();
}

TEST_P(BrainTest, BackgroundWorkRunsInOrderOffTheBrain) {
  auto brain = make();
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<bool> on_brain{false};
  for (int i = 0; i < 20; ++i)
    brain->in_background([&, i] {
      if (brain->on_brain()) on_brain = true;
      const std::lock_guard lock(mutex);
      order.push_back(i);
    });
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return order.size() == 20;
  }));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_FALSE(on_brain);
  EXPECT_EQ(brain->finished_trainings(), 0u);  // it is no training
  live_.halt();
}

net::Task<bool> too_late(std::shared_ptr<Brain> brain, net::Executor home) {
  auto ticket = brain->open_ticket(home);
  RequestInfo info;
  info.served_model = "m";
  const Answer answer =
      co_await brain->submit(ticket, std::move(info), net::now_ns() + kMillisecond);
  const auto* gone = std::get_if<Abandoned>(&answer);
  co_return gone != nullptr && gone->timed_out;
}

// Holds everything for ever.
class Holder final : public Policy {
 public:
  Needs needs() const override { return {}; }
  void decide(const DecisionContext&, Decision& out, PolicyActions&) override {
    out.kind = Decision::Kind::kHold;
  }
};

TEST_P(BrainTest, AHeldRequestIsGivenUpAtItsDeadline) {
  RouterConfig config;
  config.policy = "holder";
  auto router = Router::create(config, [](std::string_view) -> Result<std::unique_ptr<Policy>> {
    return std::make_unique<Holder>();
  });
  auto brain = std::make_shared<Brain>(live_.runtime, std::move(*router), nullptr);
  brain->report(InstanceUp{instance()});
  const int worker = GetParam() - 1;
  EXPECT_TRUE(live_.get(too_late(brain, live_.runtime.executor(worker)), worker));
  EXPECT_TRUE(eventually(
      [&] { return live_.on_worker([&] { return brain->router().active_requests() == 0; }); }));
  live_.halt();
}

}  // namespace
}  // namespace lodestar::proxy
