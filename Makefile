# `make test COVER="--cov --cov-report=term"` measures coverage, as CI does.
# `make demo` and `make test` do all their set-up; a second run reuses .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOWEST ?= .venv-lowest

COVER  ?=

.PHONY: demo test test-long test-slow test-package test-lowest lint types format docs check clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("augaware needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/augaware demo

test: $(STAMP) lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long and not slow and not gpu" $(COVER)

# What starts several processes, whole benches, the notebook or the docs site: CI runs it as well.
test-long: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "long and not slow and not gpu"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow" -s

# Wheel and sdist, installed in an empty environment, trained and exported there, loaded by other libraries without us.
test-package: $(STAMP)
	$(BIN)/python -m pytest tests/test_packaging.py

# The lowest versions that pyproject.toml allows, in an environment of their own. What else they bring along is new, and
# warns of their age: warnings are no errors here.
test-lowest: $(STAMP)
	@test -x $(LOWEST)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile --quiet --no-deps --resolution lowest-direct --python $(LOWEST)/bin/python \
		pyproject.toml -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt --editable '.[dev]'
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadgroup -m "not slow and not gpu" -o filterwarnings=default

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks docs/hooks.py
	$(BIN)/ruff format --check src tests benchmarks docs/hooks.py

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix src tests benchmarks docs/hooks.py
	$(BIN)/ruff format src tests benchmarks docs/hooks.py

docs: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: test

clean:
	rm -rf $(VENV) $(LOWEST) .coverage* .pytest_cache .mypy_cache .ruff_cache
