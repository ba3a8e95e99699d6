// SPDX-License-Identifier: Apache-2.0
#include "proxy/trainer.h"

#include <exception>
#include <string>
#include <utility>

#include "base/log.h"

namespace lodestar::proxy {
namespace {

std::shared_ptr<const Predictor> run_guarded(const TrainJob& job) {
  // A job must not throw, but a learner that does may not take the router along.
  try {
    return job.run();
  } catch (const std::exception& e) {
    log_error("trainer", std::string("a training run threw what=") + e.what());
  }
  return nullptr;
}

}  // namespace

Trainer::Trainer(std::function<void(PredictorPublished)> publish) : publish_(std::move(publish)) {}

Trainer::~Trainer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Trainer::submit(Train effect) {
  if (effect.job) submit([this, effect = std::move(effect)] { train(effect); });
}

void Trainer::submit(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(work));
    if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  }
  changed_.notify_one();
}

void Trainer::train(const Train& effect) {
  auto predictor = run_guarded(*effect.job);
  if (!predictor) failed_.fetch_add(1, std::memory_order_relaxed);
  finished_.fetch_add(1, std::memory_order_relaxed);
  publish_(PredictorPublished{effect.policy, std::move(predictor)});
}

void Trainer::loop() {
  while (true) {
    std::function<void()> next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      next = std::move(jobs_.front());
      jobs_.pop_front();
    }
    next();
  }
}

}  // namespace lodestar::proxy
