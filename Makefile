# The commands of the README. All of them build in one profile, because RocksDB's C++ is compiled once per profile.

.PHONY: help setup demo test guard fuzz soak bench lint
.DEFAULT_GOAL := help

SHELL := /bin/bash
environment := source scripts/environment.sh &&

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: system packages, Kafka's jars, test clients (quick the second time)
	@scripts/setup.sh

demo: setup ## one topic read by three people through the gateway, then all of it to try by hand, until Ctrl-C
	@$(environment) cargo build --release --workspace --bin sluicegate
	@scripts/demo.sh

test: setup ## unit tests, and end to end against real Kafka with clients in Java, C, Go, Python and JavaScript
	@$(environment) cargo build --release --workspace --all-targets
	@$(environment) cargo test --release --workspace

guard: setup ## fails where the gateway has become grossly slower than the bare relay (half a minute)
	@$(environment) cargo build --release --workspace --all-targets
	@$(environment) scripts/guard.sh

fuzz: setup ## any bytes against what must hold of them, SECONDS_PER_TARGET each, and a planted fault that must be found
	@scripts/fuzz.sh

soak: setup ## random batches through real Kafka and the masker, ten minutes of them; SLUICEGATE_SEED repeats a round
	@$(environment) cargo build --release --workspace --all-targets
	@$(environment) SLUICEGATE_SOAK_SECONDS=$${SLUICEGATE_SOAK_SECONDS:-600} \
		cargo test --release --workspace --test end_to_end soak:: -- --nocapture

bench: setup ## criterion, one bench per step of the path, then the gateway beside the bare relay
	@$(environment) cargo build --release --workspace
	@$(environment) cargo bench --workspace
	@$(environment) scripts/bench.sh

lint: setup ## format, clippy, documentation, and dependencies where cargo-deny is there
	@$(environment) scripts/lint.sh
