# Every target installs what it needs into .venv first; only Python 3.10+ and make are asked for.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo paper-demo test lint format type clean

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
	$(BIN)/python -m pytest --cov --cov-report=term

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
