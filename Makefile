# relay: `make run` starts a development relay, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_JOBS ?= 2

.PHONY: run test check unit lint format types layers bench bench-check clean

run: $(VENV)/.run
	$(BIN)/relay serve --config config/dev.yaml --first-start

test: check unit

check: lint types layers

unit: $(VENV)/.dev
	$(BIN)/pytest -n $(PYTEST_JOBS) --dist loadgroup

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# About a quarter of an hour; installs no peer and no plotter: see bench/README.md.
bench: $(VENV)/.dev
	$(BIN)/python -m bench --output bench/RESULTS.md
	$(BIN)/python -m bench.spread --output bench/SPREAD.md

bench-check: $(VENV)/.dev
	$(BIN)/python -m bench.guard

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("relay needs Python 3.11 or newer; this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.run
