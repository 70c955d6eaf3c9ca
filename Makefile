# Every target does its own set-up. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
XTASK := cargo run --quiet --package xtask --
# with the programs in one build: their dependencies are compiled once
XTASK_RELEASE := cargo run --quiet --release --package xtask --

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: setup
setup: # Debian packages that building and testing need
	@deploy/setup.sh

.PHONY: build
build: setup ## static programs in target/release/{duo-operator,duo-gateway,duo-sim}
	$(XTASK_RELEASE) build

.PHONY: demo
demo: setup ## a real cluster with the article's scenario, left running (root)
	$(XTASK_RELEASE) demo up

.PHONY: demo-down
demo-down: setup ## remove what `make demo` brought up
	$(XTASK_RELEASE) demo down

.PHONY: test
test: setup ## everything: lints, unit tests, real API server, real node
	@tests/run.sh

.PHONY: lint
lint: setup ## formatting, clippy, stale generated files, dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(XTASK) crdgen --check
	tests/dependencies.sh

.PHONY: fmt
fmt: setup ## format the code
	cargo fmt --all

.PHONY: crds
crds: setup ## write crds/*.yaml from the Rust types
	$(XTASK) crdgen
