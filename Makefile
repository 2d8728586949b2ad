# `make help` lists the targets. Two need nothing but Docker, Rust and apt: `make demo` and `make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build image images packages test unit containers cluster instructions fuzz-smoke lint demo demo-down bench soak suites clean

# FLAVOUR: mysql | mariadb. IMAGE: another database image by name, such as mysql:8.4, where a registry is reachable.
FLAVOUR ?= mysql
IMAGE ?=
export FLAVOUR IMAGE

# One directory for all builds of a kind.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the release binary
	cargo build --release --bin rwproxy

image: build ## the proxy's image, from the binary built here (no registry needed)
	tests/containers/build-proxy.sh "$$CARGO_TARGET_DIR/release/rwproxy"

images: ## the database images, from Debian packages
	tests/containers/build-images.sh

packages: ## system packages and drivers that the tests need
	tests/containers/prepare.sh build docker images lint test

test: ## everything: unit, containers on both flavours, instructions of a query, fuzz smoke, lint; installs and builds what it needs
	tests/run.sh packages images-and-build unit containers instructions fuzz-smoke lint

unit: ## tests without servers
	tests/run.sh unit

containers: ## tests against real servers in containers
	tests/run.sh packages images containers

cluster: ## Group Replication and Galera: members that fail, majorities that are lost
	tests/run.sh packages images cluster

fuzz-smoke: ## a short run of each fuzz target
	tests/run.sh fuzz-smoke

lint: ## formatting, clippy, documentation, shell scripts, licences (if cargo-deny is installed)
	tests/run.sh lint

demo: ## a cluster, the proxy and a tour; FLAVOUR=mysql|mariadb, IMAGE=…
	tests/demo/demo.sh

demo-down: ## stop what the demo left running
	tests/demo/down.sh

instructions: ## what a point select costs the release build in user space, in instructions, beside what was recorded
	BUILD=release tests/run.sh packages images instructions

bench: ## the whole system beside a direct connection, haproxy and MySQL Router in one run
	tests/run.sh packages-bench images bench

soak: ## ten minutes of mixed load on each flavour, judged by the servers' general logs, 100,000 random operations, two million checked reads, setup cut off everywhere
	tests/run.sh packages images soak

suites: ## other people's test suites, directly and through the proxy; FLAVOUR=mysql|mariadb, SUITES=…, SHORT=1
	FLAVOUR=$(if $(filter file,$(origin FLAVOUR)),both,$(FLAVOUR)) tests/run.sh suites

clean: ## remove what was built, the database images too
	tests/demo/down.sh
	tests/containers/build-images.sh --remove
	cargo clean
