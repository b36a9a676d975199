# Everything a developer runs. Each target sets up .venv by itself and skips that when it is up to date.
# Needed on the machine: python3 (3.11 or later, with its venv module), git and make. Nothing else.
#
#   make demo            the platform with two sample teams (ARGS=--once: walk through it and end)
#   make test            all tests that need no cluster     (ARGS="-k bundle -x": passed to pytest)
#   make test-cluster    the tests on a real Kubernetes
#   make check           format, lint, types, import contracts, generated docs
#   make bench           speeds beside the stock tools      (ARGS="worker sync": only these rows; "cluster": on pods)
#   make docs            write docs/reference again from the code
#   make constraints     resolve every dependency again into constraints.txt
#   make clean           remove what these targets made, .venv included (never .aerodrome)

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
# A mirror of the package index, where a company has one, is taken from pip's and uv's own configuration.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster check format bench docs constraints clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(RUN_READY)
	@exec $(BIN)/aerodrome demo $(ARGS)

test: $(DEV_READY)
	$(BIN)/python -m pytest $(ARGS)

test-cluster: $(DEV_READY)
	$(BIN)/python -m pytest tests/cluster $(ARGS)

check: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_READY)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(DEV_READY)
	@$(BIN)/python -m bench $(ARGS)

docs: $(DEV_READY)
	$(BIN)/python docs/generate.py

constraints: $(BIN)/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header $(ARGS) --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) dist bench/results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up -----------------------------------------------------------------------------------------------------------

# The interpreter is looked at before anything is made: one line of what is missing and one of what to do.
$(BIN)/uv: constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed."; \
		echo "Install Python 3.11 or later, or name one: make PYTHON=/path/to/python3"; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; Aerodrome needs Python 3.11 or later."; \
		echo "Name a newer one: make PYTHON=/path/to/python3"; exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) comes without its venv module."; \
		echo "Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; } >&2
	@command -v git >/dev/null || { echo "make: git is not installed."; echo "Debian and Ubuntu: sudo apt-get install git"; exit 1; } >&2
	@echo "Setting up $(VENV) (once; a minute or less)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(RUN_READY): pyproject.toml constraints.txt $(BIN)/uv
	@$(INSTALL) --editable '.[airflow,local,kubernetes]'
	@touch $@

$(DEV_READY): $(RUN_READY)
	@$(INSTALL) --group dev
	@touch $@
