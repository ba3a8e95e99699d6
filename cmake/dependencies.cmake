# SPDX-License-Identifier: Apache-2.0
# Every third-party package, once, at the top level so that all rooms see the
# targets. The reason for each stands in docs/adr/.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
if(NOT LODESTAR_CORE_ONLY)
  find_package(simdjson REQUIRED)
  find_package(Boost 1.81 REQUIRED)
endif()
if(LODESTAR_TESTS)
  find_library(RAPIDCHECK_LIBRARY rapidcheck REQUIRED)
endif()
