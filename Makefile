# `make` alone lists what there is to say.
.DEFAULT_GOAL := help
.PHONY: help setup clients run test chaos lint fix lock bench screenshots clean

PYTHON := .venv/bin/python
EMBEDDED := $(PYTHON) -m naive_platform.embedded --fast
export DEBUG ?= 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv from requirements.lock (every other target does it too)
	@bin/setup

clients: setup ## install what Node's tests and the TypeScript SDK need, where Node is
	@bin/setup-node

run: setup ## the whole platform on port 8000, with a demo company (ARGS="--port 0 …")
	@$(PYTHON) manage.py up $(ARGS)

test: clients ## all tests on a real PostgreSQL and Valkey (ARGS="tests/billing -k hold")
	@$(EMBEDDED) --data-dir .naive/test -- $(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

chaos: setup ## 20,000 calls, 150 kills, 6 restarts of PostgreSQL, then every cent (ARGS="--form short")
	@$(PYTHON) -m tests.chaos $(ARGS)

lint: clients ## everything that is checked without running it
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m tests.pages && $(PYTHON) -m mypy build/docs
	@.venv/bin/lint-imports
	@if [ -f sdk/typescript/node_modules/naive-setup ]; then npm --prefix sdk/typescript run --silent lint && \
	  .venv/bin/pyright --pythonpath $(PYTHON); \
	else echo "naive: sdk/typescript, and pyright's part, are not checked: bin/setup-node said why." >&2; fi
	@$(PYTHON) -m pytest -q --noconftest tests/house
	@$(EMBEDDED) --data-dir .naive/lint -- $(PYTHON) manage.py makemigrations --check --dry-run

fix: setup ## let ruff repair what it can, and write the SDKs' references anew
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .
	@$(PYTHON) sdk/python/scripts/reference.py
	@if [ -f sdk/typescript/node_modules/naive-setup ]; then npm --prefix sdk/typescript run --silent reference; fi

lock: setup ## write requirements.lock anew from pyproject.toml (ARGS="--upgrade")
	@uv=$$(command -v uv || ls .uv/bin/uv .uv/target/bin/uv 2>/dev/null | head -1) && \
	"$$uv" pip compile $(ARGS) --universal --python-version 3.12 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.lock

bench: setup ## what one call costs, against an upstream that costs nothing
	@$(PYTHON) -m bench.run $(ARGS)

screenshots: setup ## every page in the light, in the dark and on a phone, into docs/screenshots (ARGS="overview kits")
	@$(PYTHON) -m tests.browser.screenshots $(ARGS)

clean: ## remove what was made here: environment, data, caches
	@for link in .naive/outside .naive/*/outside; do \
	  if [ -L "$$link" ]; then rm -rf "$$(readlink "$$link")"; fi; done
	@rm -rf tests/e2e/node/node_modules sdk/typescript/node_modules sdk/typescript/dist sdk/typescript/samples .venv .uv .naive .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build bench/build
