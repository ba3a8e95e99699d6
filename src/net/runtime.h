// SPDX-License-Identifier: Apache-2.0
// The worker threads. Worker 0 is the thread that calls run(); with one worker
// there is no other thread.
#pragma once
#include <functional>
#include <memory>

#include "net/task.h"

namespace lodestar::net {

class Runtime {
 public:
  explicit Runtime(int workers = 1);  // at least 1
  // Stops, joins, then destroys what still waits. Destroy servers, pools and
  // notifiers first (declare them after the runtime).
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  int workers() const;
  Executor executor(int worker = 0) const;

  // Called on worker 0 at each SIGTERM and SIGINT; without it the signals keep
  // their default action. Call before run().
  void on_shutdown_signal(std::function<void(int signal)> hook);
  // Called on worker 0 at each SIGHUP. Call before run().
  void on_reload_signal(std::function<void()> hook);

  // Blocks until stop(); once only.
  void run();
  void stop();  // thread-safe, and may be called from a worker or before run()

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lodestar::net
