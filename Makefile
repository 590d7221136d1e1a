# `make test COVER="--cov --cov-report=term"` measures coverage, as CI does.
# `make demo` and `make test` do all their set-up; a second run reuses .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

COVER  ?=

.PHONY: demo test test-slow lint types format docs check clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("augaware needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/augaware demo

test: $(STAMP) lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not gpu" $(COVER)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow" -s

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
	rm -rf $(VENV) .coverage* .pytest_cache .mypy_cache .ruff_cache
