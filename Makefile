# All runs in one virtual environment, .venv, made on first use. Stamps in it say which extras are
# installed; a change of pyproject.toml or constraints.txt installs again.

PYTHON ?= python3
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
FOR_DEMO := $(VENV)/.installed-cli
FOR_TESTS := $(VENV)/.installed-test
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
# Two pips must not write to one environment at once.
.NOTPARALLEL:
.PHONY: help demo test lint format docs bench package clean distclean

help: ## list every target
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(FOR_DEMO) ## join two digit networks: table, demo/report.json, demo/curve.png
	$(BIN)/basinbridge demo --out demo

test: $(FOR_TESTS) ## run the tests; PYTEST_ARGS="-k name" picks some
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(FOR_TESTS) ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(FOR_TESTS) ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(FOR_DEMO) ## measure speed, as ratios; SHORT=1 only sees that it runs
	$(BIN)/python benchmarks/run.py $(if $(SHORT),--short)

docs: $(FOR_TESTS) ## write the reference from the docstrings to site/
	$(BIN)/python -m pdoc --docformat markdown --no-show-source -o site basinbridge '!basinbridge.cli'

package: $(FOR_TESTS) ## build the wheel and the source archive, and check them
	$(INSTALL) --quiet -e '.[release]'
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

clean: ## remove what the other targets made, but keep .venv
	rm -rf demo site build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## the same, and .venv too
	rm -rf $(VENV)

# Some systems split ensurepip off their Python; pip from outside then fills the environment.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "basinbridge needs Python 3.11 or newer, and '$(PYTHON)' is not that;" \
	    "name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || { \
	  rm -rf $(VENV); echo "could not make $(VENV) with '$(PYTHON) -m venv'" >&2; exit 1; }

$(FOR_DEMO): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[cli]'
	@touch $@

# [test] holds [cli], so the demo needs no second installation.
$(FOR_TESTS): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test]'
	@touch $(FOR_DEMO) $@
