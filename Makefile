# ORL Explorer: the few commands that everything starts with. `make` lists them.

PYTHON    ?= python3
WORKSPACE ?= $(or $(ORL_WORKSPACE),workspace)
HOST      ?= 127.0.0.1
PORT      ?= 8501
# Of `make reproduce`: a folder of photos, the time it may take, what RoIs and pairs are mined by (paper, object), and
# whatever else `orl reproduce` takes.
PHOTOS    ?= photos
HOURS     ?= 1.25
MINING    ?= paper
FLAGS     ?=
# Of `make mutants`: which, such as 'orl_explorer.orl.boxes*'. All of them if empty.
ONLY      ?=
# Where torch comes from, if not from PyPI. https://download.pytorch.org/whl/cpu has builds without CUDA.
TORCH_INDEX ?=

# Empty where there is no Node.js: then scripts are used as they are, unchecked.
NODE      := $(shell command -v npm)

BIN       := .venv/bin
INSTALLED := .venv/.installed
CHECKERS  := $(if $(NODE),node_modules/.installed)
SHELL     := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help install run dev unit test lint scripts types docs dist mutants bench reproduce browser clean
.DEFAULT_GOAL := help

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PYTHON=$(PYTHON) WORKSPACE=$(WORKSPACE) HOST=$(HOST) PORT=$(PORT) PHOTOS=$(PHOTOS) HOURS=$(HOURS) MINING=$(MINING) FLAGS=$(FLAGS) TORCH_INDEX=$(or $(TORCH_INDEX),PyPI)"

install: $(INSTALLED)  ## Make .venv with the project, its development tools and the pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, and $(PYTHON) is {sys.version.split()[0]}; make PYTHON=python3.12 names another." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
ifneq ($(TORCH_INDEX),)
	$(BIN)/pip install --no-deps --index-url $(TORCH_INDEX) -c constraints.txt torch torchvision
endif
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV needs system libraries: apt-get install libgl1 libglib2.0-0" >&2; exit 1; }
	@touch $@

run: install  ## Open the explorer on http://localhost:8501, on the demo if the workspace is new
	@if [ ! -e '$(WORKSPACE)/orl.sqlite' ] || [ -e '$(WORKSPACE)/.demo.part' ] \
	    || { [ -e '$(WORKSPACE)/demo' ] && [ ! -e '$(WORKSPACE)/demo/.mined' ]; }; then \
	    $(BIN)/orl demo --workspace '$(WORKSPACE)' && touch '$(WORKSPACE)/demo/.mined'; \
	fi
	@exec $(BIN)/orl explore --workspace '$(WORKSPACE)' --host '$(HOST)' --port '$(PORT)' $(DEV)

dev:  ## The same, to work on the explorer: what is changed of it is shown at once
	@$(MAKE) --no-print-directory run DEV=--dev

unit: install  ## Run the tests that need no browser and no long process, in under 3 minutes
	$(BIN)/pytest -n 2 --dist loadfile -m 'not slow'

test: install lint browser  ## Check and test everything, the explorer in a real browser included
	$(if $(NODE),npm test --silent)
	$(BIN)/pytest -n 2 --dist loadfile  # tests mostly wait: for processes, for pages

lint: install scripts  ## Check style, types and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py examples/*.py research/*.py
	$(BIN)/mypy docs/site/*.py
	$(BIN)/hadolint Dockerfile

# Node.js may be missing, for nothing is built with it; where everything has to be checked it may not.
scripts: $(CHECKERS)
ifneq ($(NODE),)
	npm run --silent lint
else ifneq ($(CI),)
	@echo "The pages' scripts are checked by Node.js: apt-get install nodejs npm" >&2; exit 1
else
	@echo "No Node.js here: the pages' scripts are neither checked nor tested (apt-get install nodejs npm)."
endif

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

types: install  ## Write the types of payloads that scripts are checked against, after a change of a component's
	$(BIN)/python -m tests.payload_types

docs: install  ## Build the documentation site into site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: install browser  ## Build wheel and sdist into dist/, and try the wheel in a clean environment elsewhere
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/check_dist.py dist --index '$(TORCH_INDEX)'

mutants: install  ## Change orl/ in thousands of small ways; list the changes that no test notices (hours; ONLY='…boxes*')
	$(BIN)/mutmut run $(if $(ONLY),'$(ONLY)')
	@$(BIN)/mutmut results | grep -v 'not checked' || echo "A test notices every one of them."

bench: install  ## Run every script in benchmarks/, on the demo
	$(BIN)/orl demo --workspace '$(WORKSPACE)'
	@for script in $$(grep -l __main__ benchmarks/*.py); do echo "== $$script"; ORL_WORKSPACE='$(WORKSPACE)' $(BIN)/python "$$script"; done

reproduce: install  ## Train and measure every method on PHOTOS (VOC2007 and others in it) in about HOURS, one table
	@$(BIN)/orl reproduce '$(PHOTOS)' --hours '$(HOURS)' --mining '$(MINING)' --workspace '$(WORKSPACE)' $(FLAGS)

# $CHROMIUM, an installed Chromium or Chrome, or Playwright's own; else one is installed.
browser: install
	@$(BIN)/playwright --version >/dev/null || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update && apt-get install -y libatomic1; \
	} || { echo "Playwright needs a system library: apt-get install libatomic1" >&2; exit 1; }
	@if [ -n "$${CHROMIUM:-}" ]; then \
	    command -v "$$CHROMIUM" || { echo "CHROMIUM=$$CHROMIUM is not there." >&2; exit 1; }; \
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

clean:  ## Remove .venv and everything else that is made again; a workspace stays
	rm -rf .venv node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist mutants site test-results *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
