# SPDX-License-Identifier: Apache-2.0
# Build rules shared by every room.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(lodestar_flags INTERFACE)
# No contraction and no fast maths: the same seed must give the same bits with
# every compiler and on every x86-64 level (docs/dev/determinism.md).
target_compile_options(lodestar_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror=return-type
  -ffp-contract=off -march=${LODESTAR_MARCH})
if(LODESTAR_WERROR)
  target_compile_options(lodestar_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # libstdc++ 12's own std::stable_sort calls what C++17 deprecated.
  target_compile_options(lodestar_flags INTERFACE -Wno-deprecated-declarations)
endif()
target_include_directories(lodestar_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)

if(LODESTAR_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
  enable_testing()
endif()

# lodestar_room(NAME [DEPS other rooms...] [LIBS third-party targets...])
# Every *.cc of the folder goes into the library lodestar_NAME; every *_test.cc
# into the test program NAME_test. Adding a file needs no edit here.
function(lodestar_room name)
  cmake_parse_arguments(R "" "" "DEPS;LIBS;TEST_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM R_DEPS PREPEND lodestar_)
  if(sources)
    add_library(lodestar_${name} STATIC ${sources})
    target_link_libraries(lodestar_${name} PUBLIC lodestar_flags ${R_DEPS} ${R_LIBS})
  else()
    add_library(lodestar_${name} INTERFACE)
    target_link_libraries(lodestar_${name} INTERFACE lodestar_flags ${R_DEPS} ${R_LIBS})
  endif()
  if(LODESTAR_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE lodestar_${name} GTest::gmock GTest::gtest_main ${RAPIDCHECK_LIBRARY} Threads::Threads ${R_TEST_LIBS})
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}/" DISCOVERY_MODE PRE_TEST
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} PROPERTIES TIMEOUT 300)
  endif()
endfunction()
