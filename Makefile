# SPDX-License-Identifier: Apache-2.0
# The commands a person needs. Everything below is CMake presets, Ninja and
# the scripts in tools/; nothing is built into the source tree but build/.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
TRACE ?=
export JOBS
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
.DEFAULT_GOAL := help
.PHONY: help setup setup-extras build demo test test-all test-all-rest bench format lint clean

help:  ## show this list
	@echo "Lodestar: an LLM inference router that learns"
	@echo
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1 \t/' | expand -t 22
	@echo
	@echo "  First time: make setup, then make demo. Variables: JOBS=$(JOBS), TRACE=<file> (demo)"

setup:  ## install the Debian packages that are missing (nothing else)
	@tools/setup

setup-extras:  ## setup, and promtool for the test that uses it
	@tools/setup --extras

build: setup  ## release build of the program: build/release/src/app/lodestar
	cmake --preset release
	ninja -C build/release -j $(JOBS) lodestar

demo: setup  ## six emulated engines, the router, two policies, a report (≤ 5 minutes)
	@TRACE="$(TRACE)" tools/demo

test: setup  ## tidy, release build and tests, ASan+UBSan, fuzz smoke (≤ 40 minutes cold)
	@tools/check quick

test-all: setup  ## test, then TSan, clang, determinism matrix, slow tests (≤ 80 minutes)
	@quick=0; tools/check quick || quick=1; tools/check rest && exit $$quick

test-all-rest: setup  ## only what test-all adds to test
	@tools/check rest

bench: setup  ## micro-benchmarks (Google Benchmark), one core
	cmake --preset release >/dev/null
	ninja -C build/release -j $(JOBS) benches
	@set -e; for program in build/release/bench/*_bench; do \
	  echo "== $$(basename $$program)"; $$program --benchmark_min_time=0.2; done

format:  ## clang-format the C++ files you changed (ALL=1: all)
	@tools/lint --format $(if $(ALL),--all)

lint:  ## tidy, formatting and clang-tidy on what you changed (ALL=1: all)
	@mkdir -p build; tools/lint $(if $(ALL),--all)

clean:  ## remove build/
	rm -rf build
