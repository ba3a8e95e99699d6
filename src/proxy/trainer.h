// SPDX-License-Identifier: Apache-2.0
// The trainer's thread: runs training jobs, and other work that must not hold up a
// request, one at a time, in the order in which they came. Started on first use.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "routing/event.h"

namespace lodestar::proxy {

class Trainer {
 public:
  // `publish` is called on the trainer's thread; a null predictor means that the
  // job failed or threw.
  explicit Trainer(std::function<void(PredictorPublished)> publish);
  ~Trainer();  // waits for the job at hand; drops those that wait
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  void submit(Train effect);
  void submit(std::function<void()> work);  // must not throw
  std::uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }
  std::uint64_t finished() const { return finished_.load(std::memory_order_relaxed); }

 private:
  void train(const Train& effect);
  void loop();

  std::function<void(PredictorPublished)> publish_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::atomic<std::uint64_t> failed_{0}, finished_{0};
  std::thread thread_;
};

}  // namespace lodestar::proxy
