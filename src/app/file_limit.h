// SPDX-License-Identifier: Apache-2.0
// One descriptor per connection: the usual soft limit of 1,024 is soon reached.
#pragma once
#include <sys/resource.h>

namespace lodestar::app {

// Raises the soft limit on open files to the hard one; what cannot be had stays.
inline void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace lodestar::app
