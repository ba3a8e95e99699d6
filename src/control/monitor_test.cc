// SPDX-License-Identifier: Apache-2.0
#include "control/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "net/server.h"
#include "net/test_support.h"

namespace lodestar::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool eventually(const std::function<bool()>& ready) {
  for (int i = 0; i < 2000; ++i) {
    if (ready()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// What the engine under watch answers, path by path.
struct Page {
  int status = 200;
  std::string body = {};
  DurationNs delay = 0;
};

net::Task<void> answer(net::ServerResponse& response, Page page) {
  if (page.delay > 0) co_await net::sleep_for(page.delay);
  net::Headers headers;
  (void)co_await response.send(page.status, std::move(headers), page.body);
}

class MonitorTest : public ::testing::Test {
 protected:
  MonitorTest() {
    set("/v1/models",
        {.body = R"({"data":[{"id":"m","max_model_len":4096},{"id":"lora","parent":"m"}]})"});
    set("/metrics", {.body = metrics(1, 100)});
    set("/health", {});
    start_engine(0);
  }
  ~MonitorTest() override {
    live_.halt();
    monitor_.reset();
  }

  static std::string metrics(double running, double tokens, double start = 0) {
    std::string out = "vllm:num_requests_running " + std::to_string(running) +
                      "\nvllm:num_requests_waiting 0\nvllm:prompt_tokens_total " +
                      std::to_string(tokens) + "\n";
    if (start > 0) out += "process_start_time_seconds " + std::to_string(start) + "\n";
    return out;
  }
  void set(const std::string& path, Page page) {
    const std::lock_guard lock(mutex_);
    pages_[path] = std::move(page);
  }
  void start_engine(std::uint16_t port) {
    net::ServerOptions options;
    options.port = port;
    auto server = net::Server::listen(
        engine_.runtime, options, [this](net::ServerRequest& q, net::ServerResponse& r) {
          ++asked_;
          const std::lock_guard lock(mutex_);
          const auto it = pages_.find(std::string(q.head.path()));
          return answer(r, it == pages_.end() ? Page{.status = 404} : it->second);
        });
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    port_ = server_->port();
  }
  void stop_engine() {
    server_->drain(0);  // cuts the open connections too
    engine_.get(server_->drained());
    server_.reset();
  }
  void watch(std::vector<std::string> told = {}) {
    EngineTarget target;
    target.id = InstanceId{7};
    target.name = "e";
    target.url = *net::parse_url("127.0.0.1:" + std::to_string(port_));
    target.served_models = std::move(told);
    MonitorOptions options;
    options.scrape_period = 10 * kMillisecond;
    options.scrape_timeout = 100 * kMillisecond;
    options.health_period = 30 * kMillisecond;
    options.discovery_period = 50 * kMillisecond;
    monitor_ = std::make_unique<Monitor>(live_.runtime.executor(0), std::vector{target}, options,
                                         [this](Event e) {
                                           const std::lock_guard lock(mutex_);
                                           events_.push_back(std::move(e));
                                         });
    live_.on_worker([this] { monitor_->start(); });
  }
  EngineStatus status() { return monitor_->status()->at(0); }
  template <class T>
  std::vector<T> seen() {
    const std::lock_guard lock(mutex_);
    std::vector<T> out;
    for (const Event& e : events_)
      if (const T* t = std::get_if<T>(&e)) out.push_back(*t);
    return out;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    events_.clear();
  }

  net::testing::LiveRuntime engine_, live_;
  std::mutex mutex_;
  std::map<std::string, Page> pages_;
  std::vector<Event> events_;
  std::atomic<int> asked_{0};
  std::unique_ptr<net::Server> server_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Monitor> monitor_;
};

TEST_F(MonitorTest, FindsOutWhatAnEngineServesAndItsLoad) {
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  EXPECT_EQ(status().kind, engines::EngineKind::kVllm);
  EXPECT_EQ(status().cards.size(), 2u);
  ASSERT_TRUE(eventually([&] { return !seen<Scraped>().empty(); }));
  const InstanceInfo info = seen<InstanceUp>().back().info;
  EXPECT_THAT(info.served_models, ElementsAre("m", "lora"));
  EXPECT_EQ(info.max_model_len, 4096);
  EXPECT_EQ(info.incarnation, 0u);
  EXPECT_EQ(seen<Scraped>().back().load.running, 1);
  EXPECT_EQ(seen<Scraped>().back().instance, InstanceId{7});
}

TEST_F(MonitorTest, ServedModelsThatAreToldNeedNoList) {
  set("/v1/models", {.status = 404});
  watch({"mine"});
  ASSERT_TRUE(eventually([&] { return status().up; }));
  EXPECT_THAT(status().info.served_models, ElementsAre("mine"));
}

TEST_F(MonitorTest, WithoutAListOfModelsItIsNoCandidate) {
  set("/v1/models", {.body = "<html>"});
  watch();
  ASSERT_TRUE(eventually([&] { return status().probed && !status().why.empty(); }));
  EXPECT_FALSE(status().up);
}

TEST_F(MonitorTest, ANewStartTimeOrAFallingCounterIsANewLife) {
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  set("/metrics", {.body = metrics(0, 5)});
  ASSERT_TRUE(eventually([&] { return status().info.incarnation == 1; }));
  set("/metrics", {.body = metrics(0, 50, 1000)});
  ASSERT_TRUE(eventually([&] { return status().scrapes > 30; }));
  set("/metrics", {.body = metrics(0, 60, 2000)});
  ASSERT_TRUE(eventually([&] { return status().info.incarnation == 2; }));
  // A load is never reported under a life that has not been announced.
  const std::lock_guard lock(mutex_);
  Incarnation announced = 0;
  for (const Event& e : events_) {
    if (const auto* up = std::get_if<InstanceUp>(&e)) announced = up->info.incarnation;
    const auto* scraped = std::get_if<Scraped>(&e);
    EXPECT_TRUE(scraped == nullptr || scraped->incarnation == announced);
  }
}

TEST_F(MonitorTest, ARefusedConnectionIsDownAtOnceAndANewLifeAfter) {
  set("/metrics", {.body = metrics(1, 0, 1000)});  // tells nothing that a new life would not
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  forget();
  stop_engine();
  ASSERT_TRUE(eventually([&] { return !seen<InstanceChanged>().empty(); }));
  EXPECT_EQ(seen<InstanceChanged>()[0].health, Health::kUnhealthy);
  EXPECT_TRUE(eventually([&] { return !seen<ScrapeFailed>().empty(); }));  // unknown, not zero
  EXPECT_THAT(status().why, HasSubstr("refused"));
  start_engine(port_);
  ASSERT_TRUE(eventually([&] { return status().up; }));
  EXPECT_EQ(status().info.incarnation, 1u);
  EXPECT_EQ(seen<InstanceUp>().back().info.incarnation, 1u);
}

TEST_F(MonitorTest, AFrozenEngineGoesDownAndComesBackTheSame) {
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  set("/metrics", {.body = metrics(1, 100), .delay = 300 * kMillisecond});
  set("/health", {.delay = 300 * kMillisecond});
  ASSERT_TRUE(eventually([&] { return !status().up; }));
  set("/metrics", {.body = metrics(1, 100)});
  set("/health", {});
  ASSERT_TRUE(eventually([&] { return status().up; }));
  EXPECT_EQ(status().info.incarnation, 0u);
}

TEST_F(MonitorTest, SlowScrapesDoNotPileUp) {
  set("/metrics", {.body = metrics(1, 100), .delay = 60 * kMillisecond});
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  const int before = asked_;
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // A pile-up would be 30 scrapes; one at a time leaves room for 5, and a few other calls.
  EXPECT_LE(asked_ - before, 20);
}

TEST_F(MonitorTest, AnUnhealthyEngineIsNoCandidateThoughItsMetricsAreFine) {
  watch();
  ASSERT_TRUE(eventually([&] { return status().up; }));
  set("/health", {.status = 503});
  ASSERT_TRUE(eventually([&] { return !status().up; }));
  EXPECT_THAT(status().why, HasSubstr("503"));
  set("/health", {});
  EXPECT_TRUE(eventually([&] { return status().up; }));
}

// Trap 17: what is no metrics page makes the load unknown; the engine still serves.
TEST_F(MonitorTest, Trap17_GarbageInsteadOfMetricsIsUnknown) {
  watch();
  ASSERT_TRUE(eventually([&] { return status().up && status().metrics; }));
  forget();
  set("/metrics", {.body = R"({"detail":"Not Found"})"});
  ASSERT_TRUE(eventually([&] { return !seen<ScrapeFailed>().empty(); }));
  EXPECT_EQ(seen<ScrapeFailed>().size(), 1u);  // said once
  EXPECT_TRUE(status().up);
  set("/metrics", {.body = metrics(2, 200)});
  ASSERT_TRUE(eventually([&] { return status().metrics; }));
  EXPECT_EQ(status().info.incarnation, 0u);
}

TEST(Discovery, ListsAndErrors) {
  for (const char* bad : {"", "{}", "[]", R"({"data":{}})", R"({"data":[]})",
                          R"({"data":[{"x":1}]})", R"({"data":[{"id":5}]})"})
    EXPECT_FALSE(parse_model_list(bad)) << bad;
  auto cards =
      parse_model_list(R"({"data":[{"id":"a","max_model_len":-3},{"id":"b","parent":"a"},7]})");
  ASSERT_TRUE(cards);
  ASSERT_EQ(cards->size(), 2u);
  EXPECT_EQ((*cards)[0].max_model_len, 0);
  EXPECT_EQ((*cards)[1].parent, "a");
  cards->push_back(cards->front());
  EXPECT_EQ(merged_model_list(*cards),
            R"({"object":"list","data":[{"id":"a","max_model_len":-3},{"id":"b","parent":"a"}]})");
  EXPECT_EQ(merged_model_list({}), R"({"object":"list","data":[]})");
}

}  // namespace
}  // namespace lodestar::control
