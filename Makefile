# The commands of ORL Explorer. `make` lists them.

PYTHON    ?= python3
WORKSPACE ?= $(or $(ORL_WORKSPACE),workspace)
HOST      ?= 127.0.0.1
PORT      ?= 8501
# For `make reproduce`: a folder of photos, the hours of this call (empty: no limit), the mining preset (paper, object),
# and other options of `orl reproduce`.
PHOTOS    ?= photos
HOURS     ?=
MINING    ?= paper
FLAGS     ?=
# For `make gpu`: other options of benchmarks/gpu.py, such as --set batch_size=256.
GPUFLAGS    ?=
# For `make mutants`: the mutants to run, such as 'orl_explorer.orl.boxes*'. Empty: all of them.
ONLY      ?=
# For `make fuzz`: the seconds that all targets take together.
SECONDS   ?= 600
# The index to install torch from. Empty: PyPI. https://download.pytorch.org/whl/cpu has builds without CUDA.
TORCH_INDEX ?=

# Empty if Node.js is missing. Then the pages' scripts are not checked.
NODE      := $(shell command -v npm)

BIN       := .venv/bin
INSTALLED := .venv/.installed
CHECKERS  := $(if $(NODE),node_modules/.installed)
SHELL     := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help install run dev unit test lint scripts types docs dist audit mutants fuzz bench reproduce gpu browser clean
.DEFAULT_GOAL := help

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PYTHON=$(PYTHON) WORKSPACE=$(WORKSPACE) HOST=$(HOST) PORT=$(PORT) PHOTOS=$(PHOTOS) HOURS=$(HOURS) MINING=$(MINING) FLAGS=$(FLAGS) TORCH_INDEX=$(or $(TORCH_INDEX),PyPI)"

install: $(INSTALLED)  ## Create .venv with the project and its development tools, in pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"$(PYTHON) is Python {sys.version.split()[0]}. Python 3.11 or newer is needed. Name another with: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
ifneq ($(TORCH_INDEX),)
	$(BIN)/pip install --no-deps --index-url $(TORCH_INDEX) -c constraints.txt torch torchvision
endif
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV needs system libraries. Install them with: apt-get install libgl1 libglib2.0-0" >&2; exit 1; }
	@touch $@

run: install  ## Start the explorer on localhost:8501 and print its link; a new workspace gets the demo
	@if [ ! -e '$(WORKSPACE)/orl.sqlite' ] || [ -e '$(WORKSPACE)/.demo-begun' ]; then \
	    mkdir -p -m 700 '$(WORKSPACE)' && touch '$(WORKSPACE)/.demo-begun' \
	        && $(BIN)/orl demo --workspace '$(WORKSPACE)' && rm '$(WORKSPACE)/.demo-begun'; \
	fi
	@exec $(BIN)/orl explore --workspace '$(WORKSPACE)' --host '$(HOST)' --port '$(PORT)' $(DEV)

dev:  ## Start the explorer and reload its code after each change
	@$(MAKE) --no-print-directory run DEV=--dev

unit: install  ## Run the tests that need no browser and no long process, in under 3 minutes
	$(BIN)/pytest -n 3 --dist loadfile -m 'not slow'

test: install lint browser  ## Run all checks and tests, including those of the explorer in a browser
	$(if $(NODE),npm test --silent)
	$(BIN)/pytest -n 4 --dist loadfile  # more than cores: tests wait half of the time

lint: install scripts  ## Check style, types and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py examples/*.py research/*.py
	$(BIN)/mypy docs/site/*.py
	$(BIN)/hadolint Dockerfile

# Node.js is optional, because it builds nothing. With CI set, it is required for the checks.
scripts: $(CHECKERS)
ifneq ($(NODE),)
	npm run --silent lint
else ifneq ($(CI),)
	@echo "Checking the pages' scripts needs Node.js. Install it with: apt-get install nodejs npm" >&2; exit 1
else
	@echo "Node.js is missing, so the pages' scripts are not checked. Install it with: apt-get install nodejs npm"
endif

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

types: install  ## Generate the payload types of the pages' scripts; run it after changing a payload
	$(BIN)/python -m tests.payload_types

docs: install  ## Build the documentation site into site/; a broken link or anchor is an error
	$(BIN)/python docs/site/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: install browser  ## Build wheel and sdist into dist/ and test the wheel in a clean environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/check_dist.py dist --index '$(TORCH_INDEX)'

audit: install  ## Check the packages for known holes: the bounds and pins, then the registry's data if it answers
	$(BIN)/pytest -q tests/test_advisories.py
	$(BIN)/python -m tests.audit

mutants: install  ## Run mutation tests of orl/ and list the mutants that survive (hours; ONLY='…boxes*')
	$(BIN)/mutmut run $(if $(ONLY),'$(ONLY)')
	@$(BIN)/mutmut results | grep -v 'not checked' || echo "No mutant survived."

# A finding ends its target; the others run. The input that failed is kept in fuzz/.
fuzz: install  ## Feed broken files to all readers for SECONDS=600; keep an input that fails in fuzz/
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install -c constraints.txt -e '.[fuzz]'
	@mkdir -p fuzz; set -- $$(ls tests/fuzz/[a-z]*.py); failed=; \
	for target in "$$@"; do \
	    echo "== $$target"; \
	    $(BIN)/python -m $$(basename "$${target%.py}" | sed 's/^/tests.fuzz./') \
	        -max_total_time=$$(( $(SECONDS) / $$# )) -artifact_prefix=fuzz/ \
	        || failed="$$failed $$target"; \
	done; \
	[ -z "$$failed" ] || { echo "Findings of$$failed: see fuzz/." >&2; exit 1; }

# A script that fails ends nothing; the others run.
bench: install  ## Run all scripts in benchmarks/ on the demo (hours)
	@$(BIN)/python -c 'import lightly' 2>/dev/null || $(BIN)/pip install -c constraints.txt -e '.[bench]'
	$(BIN)/orl demo --workspace '$(WORKSPACE)'
	@failed=; for script in $$(grep -l __main__ benchmarks/*.py); do \
	    echo "== $$script"; \
	    ORL_WORKSPACE='$(WORKSPACE)' $(BIN)/python "$$script" || failed="$$failed $$script"; \
	done; \
	[ -z "$$failed" ] || { echo "Failed:$$failed" >&2; exit 1; }

reproduce: install  ## Train and evaluate BYOL and ORL on PHOTOS (a folder with VOC2007), for HOURS at a time; print tables
	@$(BIN)/orl reproduce '$(PHOTOS)' $(if $(HOURS),--hours '$(HOURS)') --mining '$(MINING)' --workspace '$(WORKSPACE)' $(FLAGS)

gpu: install  ## Measure training on a GPU, then train BYOL and ORL with preset medium on PHOTOS in about HOURS
	$(BIN)/python benchmarks/gpu.py --photos '$(PHOTOS)' --compile $(GPUFLAGS)
	@$(BIN)/orl reproduce '$(PHOTOS)' --preset medium --seeds 1 $(if $(HOURS),--hours '$(HOURS)') --mining '$(MINING)' --workspace '$(WORKSPACE)' $(FLAGS)

# Uses $CHROMIUM, an installed Chromium or Chrome, or Playwright's own. Installs one if there is none.
browser: install
	@$(BIN)/playwright --version >/dev/null || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update && apt-get install -y libatomic1; \
	} || { echo "Playwright needs a system library. Install it with: apt-get install libatomic1" >&2; exit 1; }
	@if [ -n "$${CHROMIUM:-}" ]; then \
	    command -v "$$CHROMIUM" || { echo "There is no program $$CHROMIUM. Set CHROMIUM to a browser." >&2; exit 1; }; \
	elif command -v chromium || command -v chromium-browser || command -v google-chrome; then \
	    :; \
	elif $(BIN)/python -c 'import os, sys; from playwright.sync_api import sync_playwright as p; sys.exit(not os.path.exists(p().start().chromium.executable_path))'; then \
	    echo "Playwright's Chromium"; \
	elif [ "$$(id -u)" = 0 ] && grep -qx 'ID=debian' /etc/os-release; then \
	    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; \
	elif command -v apt-get >/dev/null; then \
	    $(BIN)/playwright install --with-deps chromium; \
	else \
	    $(BIN)/playwright install chromium; \
	fi

clean:  ## Remove .venv and all generated files; keep the workspace
	rm -rf .venv node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist fuzz mutants site test-results *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
