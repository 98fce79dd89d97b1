# Every target installs what it needs into .venv first; only Python 3.10+ and make are asked for.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo paper-demo test test-long fuzz audit lint format type clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: .venv/installed ## make .venv and install the package with its development tools

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup ## train three strategies on three tasks of the embedded world and print one table; no network
	$(BIN)/python scripts/demo.py

paper-demo: setup ## the paper's experiments in miniature on the embedded world, with a report; resumable, no network
	ADAPTER_TUNE=$(BIN)/adapter-tune scripts/reproduce_paper.sh --demo

test: lint type ## lint, types, and the tests with coverage
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

test-long: setup ## the checks that take their time: 30 kills, 2,000 evaluations, 10,000 trials, 4 processes, stored bits
	$(BIN)/python -m pytest -m slow

fuzz: setup ## 100,000 inputs of every kind that come from elsewhere: a valid one, or one clear error
	$(BIN)/python -m pytest --hypothesis-profile=long tests/test_fuzz.py

audit: setup ## known holes in the installed packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --skip-editable

lint: setup ## style, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## static types, strict
	$(BIN)/mypy

clean: ## remove .venv and everything that tools wrote
	rm -rf .venv build dist .coverage .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
