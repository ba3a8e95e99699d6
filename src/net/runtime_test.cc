// SPDX-License-Identifier: Apache-2.0
#include "net/runtime.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <set>
#include <stdexcept>
#include <thread>

#include "net/test_support.h"
#include "net/watchdog.h"

namespace lodestar::net {
namespace {

using testing::LiveRuntime;

TEST(Runtime, WorkersAreThreadsAndWorkerZeroIsTheCaller) {
  Runtime runtime(3);
  std::set<std::thread::id> ids;
  std::thread::id zero;
  std::atomic<int> left{3};
  std::mutex mutex;
  for (int i = 0; i < 3; ++i) {
    post(runtime.executor(i), [&, i] {
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
      if (i == 0) zero = std::this_thread::get_id();
      if (--left == 0) runtime.stop();
    });
  }
  runtime.run();
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST(Runtime, StopBeforeRunReturnsAtOnce) {
  Runtime runtime(2);
  runtime.stop();
  runtime.run();
}

TEST(Runtime, SignalHooksRunOnWorkerZeroEachTime) {
  Runtime runtime;
  int reloads = 0, last = 0;
  runtime.on_reload_signal([&] {
    if (++reloads < 2) {
      std::raise(SIGHUP);
    } else {
      std::raise(SIGTERM);
    }
  });
  runtime.on_shutdown_signal([&](int signal) {
    last = signal;
    runtime.stop();
  });
  post(runtime.executor(), [] { std::raise(SIGHUP); });
  runtime.run();
  EXPECT_EQ(reloads, 2);
  EXPECT_EQ(last, SIGTERM);
}

Task<void> thrower() {
  co_await sleep_for(0);
  throw std::runtime_error("on purpose");
}

Task<int> answer() {
  co_await sleep_for(kMillisecond);
  co_return 42;
}

TEST(Spawn, AnExceptionEndsOnlyItsTask) {
  LiveRuntime live;
  spawn(live.runtime.executor(), thrower(), "thrower");
  post(live.runtime.executor(), [] { throw std::runtime_error("from a callback"); });
  EXPECT_EQ(live.get(answer()), 42);
}

Task<bool> wait_on(Notifier& notifier, TimeNs deadline) {
  co_return co_await notifier.wait(deadline);
}

Task<void> notify_later(Notifier& notifier) {
  co_await sleep_for(5 * kMillisecond);
  notifier.notify();
}

TEST(Notifier, WakesKeepsOneAndTimesOut) {
  LiveRuntime live;
  Notifier notifier(live.runtime.executor());
  live.on_worker([&] { notifier.notify(); });
  EXPECT_TRUE(live.get(wait_on(notifier, kNever))) << "kept";
  EXPECT_FALSE(live.get(wait_on(notifier, now_ns() + kMillisecond))) << "used up";
  spawn(live.runtime.executor(), notify_later(notifier), "test");
  EXPECT_TRUE(live.get(wait_on(notifier, now_ns() + 10 * kSecond)));
  EXPECT_FALSE(live.get(wait_on(notifier, 0)));
  live.halt();
}

TEST(Watchdog, FiresOnceAtTheLatestDeadlineSet) {
  LiveRuntime live;
  std::atomic<int> fired{0};
  std::atomic<TimeNs> when{0};
  std::unique_ptr<Watchdog> dog;
  TimeNs want = 0;
  live.on_worker([&] {
    dog = std::make_unique<Watchdog>(live.runtime.executor(), [&] {
      ++fired;
      when = now_ns();
    });
    dog->set(now_ns() + 5 * kMillisecond);
    dog->set(now_ns() + kSecond * 100);  // later: the timer fires for nothing first
    want = now_ns() + 40 * kMillisecond;
    dog->set(want);  // earlier again
  });
  for (int i = 0; i < 2000 && fired == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  live.on_worker([&] { EXPECT_TRUE(dog->expired()); });
  EXPECT_EQ(fired, 1);
  EXPECT_GE(when, want);
  live.on_worker([&] {
    dog->set(now_ns() + 5 * kMillisecond);
    EXPECT_FALSE(dog->expired());
    dog->clear();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fired, 1) << "cleared";
  live.on_worker([&] {
    dog->set(now_ns() + 5 * kMillisecond);
    dog.reset();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fired, 1) << "destroyed";
}

}  // namespace
}  // namespace lodestar::net
