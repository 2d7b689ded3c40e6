# Each target has one line of help. `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The tests of a program wait more than they compute, so three of them share two cores.
export RUST_TEST_THREADS ?= 3

# Flags for cargo, for instance CARGO_FLAGS=--offline
CARGO_FLAGS ?= --locked
TESTBED := cargo run --quiet $(CARGO_FLAGS) --package scim-bridge-testbed --

# need PROGRAM,WHAT TO INSTALL: prints one line if the program is missing.
need = command -v $(1) >/dev/null || { echo "missing: $(1) - install $(2)" >&2; exit 1; };

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

.PHONY: demo
demo: prerequisites ## Show the operator at work: a Kubernetes API, bridges, a rotated key, a stopped bridge, users and groups that are planned, kept and held (KEEP=1 leaves it running, CLUSTER=existing uses KUBECONFIG)
	@echo "building the operator and the test bed (some minutes the first time)"
	@cargo build --quiet $(CARGO_FLAGS) --bins
	@cargo build --quiet $(CARGO_FLAGS) --package scim-bridge-demo
	@cargo run --quiet $(CARGO_FLAGS) --package scim-bridge-demo

.PHONY: test
test: lint supply-chain tools ## Run everything: lints, unit tests, properties, real TLS peers, a real API server
	cargo test $(CARGO_FLAGS) --workspace --no-fail-fast

# Seed of all random choices, in every test program. Each failure prints the command that repeats it.
HOSTILE_SEED := $(or $(HOSTILE_SEED),$(shell date +%s))

.PHONY: test-hostile
test-hostile: tools ## Run the tests behind docs/security.md with full budgets: hostile bridges, addresses, faults, storms, leaks, the model (HOSTILE_SEED=1)
	@export HOSTILE=full HOSTILE_SEED=$(HOSTILE_SEED); \
	echo "make test-hostile HOSTILE_SEED=$(HOSTILE_SEED) repeats this run"; \
	failed=0; \
	cargo test $(CARGO_FLAGS) --no-fail-fast --lib --test security --test address --test tenancy --test hostile --test leaks \
	  --test corpus --test model --test invariants --test directory --test bridge --test faults --test leadership --test storms || failed=1; \
	cargo test $(CARGO_FLAGS) --test controller events::checks_without_a_change_tell_nothing || failed=1; \
	exit $$failed

FUZZ := 0.13.2
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

.PHONY: fuzz
fuzz: prerequisites ## Fuzz every parser of foreign bytes (FUZZ_SECONDS=600 each, FUZZ_TARGETS="url health"; needs the nightly toolchain)
	@test -x .testbed/cargo-fuzz-$(FUZZ)/bin/cargo-fuzz || cargo install --quiet --locked --root .testbed/cargo-fuzz-$(FUZZ) --version $(FUZZ) cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p .testbed/fuzz/$$target; \
	  PATH="$$PWD/.testbed/cargo-fuzz-$(FUZZ)/bin:$$PATH" cargo +nightly fuzz run $$target .testbed/fuzz/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS); \
	done

# Builds the release binaries of the operator and of the benchmark one by one. A common build would give each the
# features of both.
BENCH = $${CARGO_TARGET_DIR:-target}/release/bench
build_bench = cargo build --quiet --release $(CARGO_FLAGS) --bin scim-bridge-operator && \
	cargo build --quiet --release $(CARGO_FLAGS) --package scim-bridge-bench

.PHONY: bench
bench: prerequisites ## Measure the operator's cost, and the machine's limits: target/bench/report.md and directory.md (BENCH_FLAGS="--objects 1000 --interval 30")
	@$(build_bench)
	cargo bench $(CARGO_FLAGS) --bench core --bench documents
	@$(BENCH) run --distinct $(BENCH_FLAGS)
	@$(directory)

# No other connections beside the directory.
directory = $(BENCH) directory --objects 0 --interval 60 --out target/bench/directory.md

.PHONY: bench-directory
bench-directory: prerequisites ## Measure what users and groups cost: target/bench/directory.md (BENCH_FLAGS="--users 10000 --groups 100 --requests-per-second 50")
	@$(build_bench)
	@$(directory) $(BENCH_FLAGS)

.PHONY: bench-growth
bench-growth: prerequisites ## Measure how the cost per object grows with the number of objects: target/bench/growth.md (BENCH_FLAGS="--sizes 100,1000,10000,50000")
	@$(build_bench)
	@$(BENCH) growth --distinct --interval 120 --out target/bench/growth.md $(BENCH_FLAGS)

.PHONY: soak
soak: prerequisites ## Run the operator for an hour with faults, edits and rotations: target/bench/soak.md (BENCH_FLAGS="--objects 5000 --minutes 60 --seed 1")
	@$(build_bench)
	@$(BENCH) soak --objects 5000 --interval 30 --out target/bench/soak.md $(BENCH_FLAGS)

.PHONY: e2e
e2e: prerequisites ## Prove image and chart in the cluster of KUBECONFIG (IMAGE=name:tag BRIDGE_ADDRESS=this machine's address for Pods; IMAGE_LOAD, KILL_CONTAINER, CRASH: commands)
	@CLUSTER=existing cargo run --quiet $(CARGO_FLAGS) --package scim-bridge-e2e

# Test programs that need neither a cluster nor the tools of `make tools`. A test compares this list with tests/.
FAST = address announce architecture bridge corpus crd diagnosis directory documents english flags front hostile invariants leaks metrics model operator reasons \
	registry resolver security
# Modules of these that need one. The model's search through every state is here too, because it takes minutes.
NOT_FAST = end_to_end exhaustive panics running

.PHONY: test-fast
test-fast: ## Run the tests that need no cluster, within two minutes: unit tests, tables, properties, TLS peers, name servers
	cargo test $(CARGO_FLAGS) --workspace --no-fail-fast --lib --bin bench $(FAST:%=--test %) -- --test-threads 6 $(NOT_FAST:%=--skip %::)

.PHONY: lint
lint: prerequisites ## Check format, lints, documentation and English
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	cargo clippy $(CARGO_FLAGS) --lib --bins --no-default-features -- -D warnings
	cargo doc $(CARGO_FLAGS) --quiet --no-deps --package scim-bridge-operator
	cargo test $(CARGO_FLAGS) --quiet --test english

DENY := 0.20.2
CARGO_DENY = $(CURDIR)/.testbed/cargo-deny-$(DENY)/bin/cargo-deny
install_deny = test -x $(CARGO_DENY) || cargo install --quiet --locked --root .testbed/cargo-deny-$(DENY) --version $(DENY) cargo-deny

.PHONY: supply-chain
supply-chain: prerequisites ## Check Cargo.lock against deny.toml: licences, banned crates, duplicates, sources
	@$(install_deny)
	@$(CARGO_DENY) --locked check --hide-inclusion-graph licenses bans sources

.PHONY: advisories
advisories: prerequisites ## Check Cargo.lock against the RustSec advisories (needs the internet)
	@$(install_deny)
	@$(CARGO_DENY) --locked check --hide-inclusion-graph advisories

# write_crds COMMAND,FILE,COPY: writes what the program prints.
write_crds = { echo "\# Generated by 'scim-bridge-operator $(1)' ('make generate'); a test fails where it differs."; \
	  cargo run --quiet $(CARGO_FLAGS) -- $(1); } > $(2).new; mv $(2).new $(2); cp $(2) $(3)

.PHONY: generate
generate: ## Write the generated files: the CRDs and their copies in the chart, deploy/install.yaml, deploy/argocd, tables of docs/reference
	@$(call write_crds,crd,deploy/crd.yaml,charts/scim-bridge-operator/files/crd.yaml)
	@$(call write_crds,crd --provisioning,deploy/provisioning/crds.yaml,charts/scim-bridge-operator/files/provisioning.yaml)
	@BLESS=1 cargo test --quiet $(CARGO_FLAGS) --test chart generated > /dev/null
	@BLESS=1 cargo test --quiet $(CARGO_FLAGS) --test deploy generated > /dev/null
	@BLESS=1 cargo test --quiet $(CARGO_FLAGS) --test documents --test reasons --test monitoring --test provision generated > /dev/null
	@BLESS=1 cargo test --quiet $(CARGO_FLAGS) --test gitops > /dev/null

.PHONY: dashboard-picture
dashboard-picture: tools ## Draw docs/dashboard.png: the dashboard with data from a real Prometheus and the operator (takes seven minutes)
	@test -x .testbed/picture/bin/python || python3 -m venv .testbed/picture
	@.testbed/picture/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
	  --requirement tests/monitoring/requirements.txt
	cargo test $(CARGO_FLAGS) --test monitoring -- --ignored --exact picture::the_picture_is_drawn

.PHONY: tools
tools: prerequisites ## Build the tools of the tests, once: etcd, Kubernetes, Helm, the health checks of GitOps tools, scim2-server
	$(TESTBED) tools

# The version of all products, from Cargo.toml.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# Image and SBOM have the time and revision of the commit, so that a second build gives the same.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
IMAGE ?= scim-bridge-operator:$(VERSION)
# docker, podman or buildah
BUILDER ?= docker
BUILD_ARGS = --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH)
CYCLONEDX := 0.5.9

.PHONY: image
image: ## Build the container image (IMAGE=name:tag, BUILDER=docker, podman or buildah, PLATFORM=linux/arm64 for another platform)
	$(BUILDER) build $(if $(PLATFORM),--platform $(PLATFORM)) $(BUILD_ARGS) --tag $(IMAGE) .

.PHONY: image-multiarch
image-multiarch: ## Build the image for amd64 and arm64 with docker buildx, and push it with SBOM and provenance (IMAGE=registry/name:tag)
	docker buildx build --platform linux/amd64,linux/arm64 $(BUILD_ARGS) --provenance mode=max --sbom true \
	  --output type=image,name=$(IMAGE),push=true,rewrite-timestamp=true .

.PHONY: sbom
sbom: prerequisites ## Write dist/sbom.cdx.json: every crate in the release binary (CycloneDX)
	@test -x .testbed/cyclonedx/bin/cargo-cyclonedx || cargo install --quiet --locked --root .testbed/cyclonedx --version $(CYCLONEDX) cargo-cyclonedx
	@mkdir -p dist
	@PATH="$$PWD/.testbed/cyclonedx/bin:$$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target all --override-filename sbom.cdx
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) python3 release/sbom.py sbom.cdx.json dist/sbom.cdx.json
	@rm -f sbom.cdx.json tests/*/sbom.cdx.json

.PHONY: chart-package
chart-package: tools ## Write dist/scim-bridge-operator-VERSION.tgz: the chart
	@mkdir -p dist
	@.testbed/bin/helm package --destination dist charts/scim-bridge-operator

.PHONY: dist
dist: sbom chart-package ## Make dist/: CRDs, manifests, chart, SBOM, checksums
	@cp deploy/crd.yaml deploy/install.yaml dist/
	@cp deploy/provisioning/crds.yaml dist/provisioning-crds.yaml
	@cd dist && sha256sum crd.yaml install.yaml provisioning-crds.yaml sbom.cdx.json scim-bridge-operator-$(VERSION).tgz > SHA256SUMS
	@ls -l dist

# Every definition, one after another.
crds = cat deploy/crd.yaml deploy/provisioning/crds.yaml

.PHONY: baseline
baseline: ## Keep the present CRDs as the ones that this version releases (docs/api-evolution.md)
	@test -z "$$(git tag --list v$(VERSION))" || { echo "$(VERSION) is released: set the next version in Cargo.toml" >&2; exit 1; }
	@$(crds) > tests/released/$(VERSION).yaml

# require COMMAND,REASON: stops the release if the command fails.
require = $(1) || { echo "no release of $(VERSION): $(2)" >&2; exit 1; }

.PHONY: release
release: ## Check that this commit is the release of Cargo.toml's version, and make dist/ (docs/release.md)
	@$(call require,test -z "$$(git status --porcelain)",the tree has uncommitted changes)
	@$(call require,grep -q '^## \[$(VERSION)\] - [0-9-]*$$' CHANGELOG.md,CHANGELOG.md has no section [$(VERSION)] with a date)
	@$(call require,$(crds) | cmp -s - tests/released/$(VERSION).yaml,tests/released/$(VERSION).yaml differs from the CRDs of deploy/; run 'make baseline')
	@$(call require,test "$$(git tag --points-at HEAD --list v$(VERSION))",the commit has no tag v$(VERSION))
	@$(MAKE) --no-print-directory dist

.PHONY: prerequisites
prerequisites:
	@$(call need,cargo,Rust by rustup: https://rustup.rs)
	@$(call need,cc,a C compiler: build-essential or Xcode command line tools)
	@$(call need,go,Go 1.26 or newer: https://go.dev/dl)
	@$(call need,python3,Python 3.11 or newer with its venv module: https://python.org)

.PHONY: clean
clean: ## Remove all build results
	cargo clean
	rm -rf .testbed dist
