# Every target does its own set-up. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
XTASK := cargo run --quiet --package xtask --
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
# one build for all of them: their dependencies are compiled once, with the features that all need
PROGRAMS := duo-operator duo-gateway duo-sim xtask

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: setup
setup: # Debian packages that building and testing need
	@deploy/setup.sh

.PHONY: build
build: setup ## static programs in target/release/{duo-operator,duo-gateway,duo-sim}
	RUSTC_WORKSPACE_WRAPPER="$(CURDIR)/crates/xtask/static-rustc.sh" cargo build --release $(addprefix --package ,$(PROGRAMS))

.PHONY: images
images: build ## OCI archives in target/images, without a container engine
	$(RELEASE)/xtask images duo-operator duo-gateway duo-sim

.PHONY: demo
demo: build ## a real cluster with the article's scenario, left running (root)
	$(RELEASE)/xtask demo up

.PHONY: demo-down
demo-down: build ## remove what `make demo` brought up
	$(RELEASE)/xtask demo down

.PHONY: test
test: setup ## everything: lints, unit tests, real API server, real node
	@tests/run.sh

.PHONY: lint
lint: setup ## formatting, clippy, stale generated files, dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(XTASK) crdgen --check
	tests/dependencies.sh
	tests/proofs.sh

.PHONY: fmt
fmt: setup ## format the code
	cargo fmt --all

.PHONY: crds
crds: setup ## write crds/*.yaml from the Rust types
	$(XTASK) crdgen

.PHONY: bench
bench: build ## what the gateway costs, beside nginx and a bare hyper proxy, and the operator at size (30 min)
	@tests/bench/run.sh
	@tests/bench/operator.sh
	@tests/bench/keys.sh

.PHONY: bench-operator
bench-operator: build ## the operator with 200 GitLabs, 2,000 models, 5,000 assignments (20 min)
	@tests/bench/operator.sh

.PHONY: soak
soak: build ## ten minutes of load with faults (SOAK_SECONDS=600): nothing lost, nothing hanging, nothing growing
	@tests/bench/soak.sh

.PHONY: faults
faults: setup ## every call of the operator with every fault, one at a time (hours; FAULTS_SECONDS ends it earlier)
	cargo build --quiet --package duo-operator --package duo-gateway --bins
	DUO_FAULTS=single DUO_FAULTS_SECONDS=$${FAULTS_SECONDS:-86400} cargo test --package duo-e2e --test faults -- --nocapture

.PHONY: fuzz
fuzz: setup ## hostile input for every decoder, for longer than the tests do (FUZZ_CASES=20000)
	PROPTEST_CASES=$${FUZZ_CASES:-20000} cargo test --package duo-protocol --test fuzz

.PHONY: mutants
mutants: setup ## break each decision of crates/core in every way: what does no test notice? (FILES=ownership; 2 hours for all)
	@tests/mutants.sh $(FILES)
