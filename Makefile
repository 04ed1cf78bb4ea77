# One way for each task; `make help` lists them. Everything is installed into .venv at pinned versions.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
MERGEKIT := .venv-mergekit/bin/mergekit-yaml
# some versions in constraints.txt need Python 3.11; the package itself runs on 3.10
FIND_PYTHON = for name in python3.11 python3 python3.12 python3.13; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	echo "$$name"; exit; fi; done; echo "no Python 3.11 or newer found" >&2; exit 1
# tests start hundreds of processes, each of which would compile every module again
unexport PYTHONDONTWRITEBYTECODE
TEST_SECONDS := 840
UNMARKED := not slow and not gpu and not parity

.PHONY: help demo test lint types imports unit bench guard parity slow gpu-check clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(INSTALLED)  ## make three small checkpoints in demo/, plan their merge and run it
	$(BIN)/python -m graphmerge.testing.demo demo
	$(BIN)/graphmerge plan recipes/demo-ties.yml --dry-run --memory-budget 1GiB
	$(BIN)/graphmerge run recipes/demo-ties.yml demo/merged --memory-budget 1GiB --overwrite

test: lint types imports unit  ## run every check that needs no GPU, no mergekit and no hour of time

lint: $(DEV_INSTALLED)  ## style, by ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_INSTALLED)  ## types, by mypy
	$(BIN)/mypy --strict

imports: $(DEV_INSTALLED)  ## which package may import which, by import-linter
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports --no-logo

unit: $(DEV_INSTALLED)  ## tests, by pytest
	timeout $(TEST_SECONDS) $(BIN)/python -m pytest -n auto -m '$(UNMARKED)'

slow: $(DEV_INSTALLED)  ## tests that take longer: about a quarter of an hour on two cores
	$(BIN)/python -m pytest -n auto --dist loadgroup -m 'slow and not gpu and not parity' || [ $$? -eq 5 ]  # 5: there is none

gpu-check: $(DEV_INSTALLED)  ## tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python benchmarks/checkpoints.py 1.1B build/benchmarks/1.1B
	$(BIN)/python benchmarks/gpu_check.py build/benchmarks/1.1B

parity: $(DEV_INSTALLED) $(MERGEKIT)  ## compare with mergekit, which gets an environment of its own
	$(BIN)/python -m pytest -m parity

bench: $(INSTALLED) $(MERGEKIT)  ## time and memory beside mergekit and the disk; see benchmarks/README.md
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/memory.py

guard: $(INSTALLED)  ## fail where merges have become much slower than the disk
	$(BIN)/python benchmarks/guard.py

clean:  ## remove environments, caches and the demo
	rm -rf $(VENV) .venv-mergekit demo build dist .mypy_cache .ruff_cache .pytest_cache .benchmarks .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	python="$$($(FIND_PYTHON))"; "$$python" -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(DEV_INSTALLED): $(INSTALLED)
	$(PIP) --editable '.[dev]'
	touch $@

$(MERGEKIT): benchmarks/mergekit-constraints.txt
	python="$$($(FIND_PYTHON))"; "$$python" -m venv .venv-mergekit
	.venv-mergekit/bin/python -m pip --disable-pip-version-check install --quiet \
		--constraint benchmarks/mergekit-constraints.txt mergekit==0.1.5
	touch $@
