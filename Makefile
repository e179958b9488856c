# `make help` lists what there is; each target is a script that can be run alone.
.DEFAULT_GOAL := help
# An empty target folder is fine: everything builds from the lock file and .sqlx, without a database.
export SQLX_OFFLINE ?= true
# rustup's folder, for shells that it is not in the PATH of.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Set everything up and send a campaign through real mail servers on this machine
	@scripts/demo start

.PHONY: demo-stop
demo-stop: ## End what `make demo` left running
	@scripts/demo stop

.PHONY: test
test: ## Run all tests with a private Postgres and mail world (ARGS=… goes to cargo test)
	@scripts/test $(ARGS)

.PHONY: check
check: fmt-check lint doc ## Formatting, lints and documentation; no tests

.PHONY: fmt
fmt: ## Format the code
	@cargo fmt

.PHONY: fmt-check
fmt-check:
	@cargo fmt --check

.PHONY: lint
lint: ## Clippy with warnings as errors; the scripts too where shellcheck is installed
	@cargo clippy --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then scripts/lint-scripts; else echo "shellcheck is not installed: scripts not checked"; fi

.PHONY: doc
doc: ## Build the documentation, private items too, with warnings as errors
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --no-deps --document-private-items

.PHONY: sqlx
sqlx: ## Write the offline query cache (.sqlx) anew
	@scripts/sqlx-cache write

.PHONY: contract
contract: ## Try the API against openapi.yaml with schemathesis (fixed seed, at most five minutes)
	@scripts/contract

.PHONY: bench
bench: ## Measure speed against other programs, in ratios (ROW=throughput for one row; ARGS=… goes to it)
	@scripts/bench $(ROW) $(ARGS)

.PHONY: soak
soak: ## Kill, stop and cut off a sending service again and again, and count at the relay (MINUTES=10)
	@scripts/soak $(MINUTES)

.PHONY: corpus
corpus: ## Fetch flufl.bounce's sample bounces and measure how well reports are read (CORPUS_DETAILS=1 lists what is wrong)
	@scripts/corpus

.PHONY: fuzz
fuzz: ## Fuzz the report reader, ten minutes a target (FUZZ_SECONDS=…; ARGS=dsn for one of dsn, arf, auto_reply, return_path, events)
	@scripts/fuzz $(ARGS)

.PHONY: clean-state
clean-state: ## Stop everything this checkout started and remove its state (not target/)
	@scripts/clean-state
