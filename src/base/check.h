// SPDX-License-Identifier: Apache-2.0
// LODESTAR_CHECK: cheap invariants, always on. Never on anything that a client,
// an engine or a file can cause: those are errors (result.h), not bugs.
#pragma once
#include <cstdio>
#include <cstdlib>

#define LODESTAR_CHECK(condition)                                                            \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
