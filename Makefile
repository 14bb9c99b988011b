# `make` lists everything. Each target calls what it needs first; `make run` is the whole way to a running system.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where rustup puts the toolchain, also in shells that did not read a profile.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
# Queries are checked against the committed .sqlx/, as on a machine without a database.
export SQLX_OFFLINE ?= true

.PHONY: help setup run engine build dist check test torture bench bench-engine bench-lake bench-peers lint fmt sqlx audit

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (asks nothing; does nothing when all is there)
	@scripts/setup.sh

run: engine ## Start orch; the pipelines are built beside it and join (options: make run ARGS="--port 9000")
	@exec scripts/run.sh $(ARGS)

# Both packages are named wherever one is built: what they share is then built once, with the features of both.
engine: setup ## Build target/release/orch: scheduler, web server, commands, the examples
	@cargo build --release -p orch-control -p orch-dags --bin orch

build: engine ## Build target/release/orch-pipelines too: the bundle with every DAG of dags/
	@cargo build --release -p orch-control -p orch-dags

dist: build ## Make an archive, a Debian package and a Python wheel in target/packages
	@scripts/dist.sh

check: setup ## Format, lints and tests of the engine's core, in minutes
	@scripts/test.sh check

test: setup ## Run what CI runs: format, lints, all tests
	@scripts/test.sh

torture: setup ## Run the long tests with random seeds (ORCH_TEST_LONG=100 for longer ones)
	@scripts/test.sh torture

bench: bench-engine bench-lake ## Run all benchmarks and print bench/results.json as a table

bench-engine: engine ## Measure the engine
	@bench/engine.sh

bench-lake: setup ## Measure the data plane (with ARGS=--peers: others doing the same work)
	@bench/lake.sh $(ARGS)

bench-peers: engine ## Measure the same workloads on other orchestrators beside orch
	@bench/peers.sh

lint: setup ## Check format and lints only
	@scripts/test.sh lint

fmt: setup ## Format the sources
	@cargo fmt --all

sqlx: setup ## Check queries against the migrations and write .sqlx/ (after changing either)
	@scripts/sqlx.sh

audit: setup ## Fetch the advisory database where the network has it, and check the dependencies
	@python3 scripts/advisories.py
	@cargo test --quiet --package orch-tidy advisories
