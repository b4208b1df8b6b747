# Everything a person or CI does here, as targets; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The active environment (venv or conda) if there is one, else .venv here.
ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
VENV := $(if $(ACTIVE),$(ACTIVE),$(CURDIR)/.venv)
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.edgedistil-installed
PEERS_STAMP := $(VENV)/.edgedistil-peers-installed
FUZZ_STAMP := $(VENV)/.edgedistil-fuzz-installed
OPTIMUM_STAMP := .venv-optimum/.edgedistil-installed
# Where torch comes from; for the CPU build from PyTorch's own index: make install TORCH="--index-url https://download.pytorch.org/whl/cpu"
TORCH ?=
BOOTSTRAP ?= python3
SWEEP ?= demo
ARGS ?=
# Runs that make reproduce reads; none: all of the reproduction's experiments under multirun/ and outputs/
FOLDERS ?=

.PHONY: help install install-locked install-peers embedded-model matrix report status reproduce peers mobile emulated-phone test test-unit test-integration test-real test-long crash-test bad-input-test fuzz lint format clean-store

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make a virtual environment if none is active, and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@test -x $(PYTHON) || $(BOOTSTRAP) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "error: $(BOOTSTRAP) is $$($(BOOTSTRAP) -V 2>&1); edgedistil needs Python 3.11 to 3.13. Try: make BOOTSTRAP=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(PYTHON) || $(BOOTSTRAP) -m venv $(VENV)
	@# torch first and alone: asked for by another package, pip would look for a newer build than the pinned one
	$(PYTHON) -m pip install --quiet --constraint constraints.txt $(TORCH) torch
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install-locked:  ## the same, every file but torch's checked against its SHA-256 (Linux x86-64, Python 3.11)
	@test -x $(PYTHON) || $(BOOTSTRAP) -m venv $(VENV)
	@$(PYTHON) -c 'import platform as p; exit((p.system(), p.machine(), p.python_version()[:5]) != ("Linux", "x86_64", "3.11."))' || \
	  { echo "error: requirements-hashed.txt is for CPython 3.11 on Linux x86-64; elsewhere: make install" >&2; exit 2; }
	@# setuptools first: it builds what has no wheel, and this project
	$(PYTHON) -m pip install --quiet --no-deps --require-hashes --requirement <(grep -A1 '^setuptools==' requirements-hashed.txt)
	$(PYTHON) -m pip install --quiet --no-deps --require-hashes --no-build-isolation --requirement requirements-hashed.txt
	$(PYTHON) -m pip install --quiet --constraint constraints.txt $(TORCH) torch
	$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(PYTHON) -m pip check
	@touch $(STAMP)

install-peers: $(PEERS_STAMP) $(OPTIMUM_STAMP)  ## the engines that bench.py device=cpu_peers compares with (optional)

$(PEERS_STAMP): $(STAMP)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	@touch $(PEERS_STAMP)

# Optimum holds transformers below 5, so it gets an environment of its own.
$(OPTIMUM_STAMP): $(STAMP) peers-optimum.txt
	@test -x .venv-optimum/bin/python || $(PYTHON) -m venv .venv-optimum
	.venv-optimum/bin/python -m pip install --quiet --constraint peers-optimum.txt $(TORCH) torch
	.venv-optimum/bin/python -m pip install --quiet --requirement peers-optimum.txt
	@touch $(OPTIMUM_STAMP)

embedded-model: $(STAMP)  ## download the embedded pretrained encoder (90 MB) into the cache and check it
	@$(PYTHON) -m edgedistil embedded-model

matrix: $(STAMP) embedded-model  ## the demo: 15 cells from a pretrained encoder to a table and a picture (SWEEP=demo)
	@$(PYTHON) bench.py sweep=$(SWEEP)

# Others: make report SWEEP_DIR="multirun/DATE/TIME ..."
report: $(STAMP)  ## the newest sweep's table and page (report.html) again, from its records (SWEEP_DIR=...)
	@$(PYTHON) -m edgedistil report $(SWEEP_DIR) $(ARGS)

# Another sweep, or until it ends: make status ARGS="multirun/DAY/TIME --watch"
status: $(STAMP)  ## how far the newest sweep under multirun/ is, and what is left (ARGS=...)
	@$(PYTHON) -m edgedistil status $(ARGS)

reproduce: $(STAMP)  ## DistilBERT's Tables 1 to 4: paper, seeds and ours, from records alone (FOLDERS=... ARGS=...)
	@$(PYTHON) -m edgedistil reproduce $(FOLDERS) $(ARGS)

# Which model, task and engines: make peers ARGS="experiment=sst2_minilm task.data_dir=DIR"
peers: install-peers embedded-model  ## our INT8 beside OpenVINO, CTranslate2, Optimum, torch.compile and torch's INT8 (ARGS=...)
	@$(PYTHON) bench.py device=cpu_peers compression=int8 $(ARGS)

# Another target: make mobile TARGET=linux-arm64, or TARGET=android with ANDROID_NDK_HOME
TARGET ?= host
mobile: $(STAMP)  ## build the native runner for this machine (TARGET=linux-arm64, TARGET=android)
	@$(PYTHON) mobile/build.py $(TARGET)

# Standard library only, so that it needs no environment of ours.
emulated-phone:  ## set up an emulated arm64 phone in build/mobile/phone (Debian; no root, nothing installed)
	@$(BOOTSTRAP) mobile/emulator/setup.py

test: $(STAMP)  ## lint, unit and integration tests
	@# mypy has one thread: beside it the first tests have the other cores
	@$(MAKE) --no-print-directory --jobs 2 lint test-unit
	@$(MAKE) --no-print-directory test-integration

test-unit: $(STAMP)  ## fast tests, no network
	$(PYTHON) -m pytest -n auto --maxprocesses 8 --durations 15 tests/unit

test-integration: $(STAMP) embedded-model  ## the scripts as a user runs them
	$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25 tests/integration

test-real: $(STAMP) embedded-model  ## tests on real data: EDGEDISTIL_DATA=DIR make test-real
	$(PYTHON) -m pytest tests/real

test-long: $(STAMP) embedded-model  ## what takes too long for CI
	$(PYTHON) -m pytest --long -m long tests

# The faults of one seed again: EDGEDISTIL_CRASH_SEED=1 EDGEDISTIL_CRASHES=20 make crash-test
crash-test: $(STAMP)  ## 100 faults at random moments of a matrix, and what each cost (an hour or more)
	$(PYTHON) -m pytest --long -m long -q tests/integration/test_crashes.py

bad-input-test: $(STAMP) embedded-model  ## every case of bad input as real processes: tried, answered as promised
	$(PYTHON) -m pytest --long -q tests/integration/test_bad_input.py -k real_processes -m long

$(FUZZ_STAMP): $(STAMP)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	@touch $(FUZZ_STAMP)

# Some parsers alone: make fuzz FUZZ_MINUTES=10 ARGS="--targets csv phone"
FUZZ_MINUTES ?= 60
fuzz: $(FUZZ_STAMP)  ## every parser of ours under a coverage-guided fuzzer (FUZZ_MINUTES=60), then what it found
	@nice $(PYTHON) -m tests.fuzz --minutes $(FUZZ_MINUTES) $(ARGS)

lint: $(STAMP)  ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: $(STAMP)  ## let ruff mend what it can
	$(PYTHON) -m ruff check --fix .

clean-store: $(STAMP)  ## remove artifacts that were made more than 30 days ago
	@$(PYTHON) -m edgedistil store gc --days 30
