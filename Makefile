# Every target installs what it needs into .venv first; only Python 3.10+ and make are required before.
PYTHON ?= python3
BIN := .venv/bin
RESOLUTION ?= lowest-direct

.PHONY: help setup demo paper-demo test test-long test-versions test-package docs fuzz audit lint format type clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: .venv/installed ## create .venv and install the package with its development tools

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup ## train three strategies on three tasks of the embedded demo and print one table; needs no Hub
	$(BIN)/python scripts/demo.py

paper-demo: setup ## the paper's experiments in miniature on the embedded demo, with a report; resumable, needs no Hub
	ADAPTER_TUNE=$(BIN)/adapter-tune scripts/reproduce_paper.sh --demo

test: lint type ## run lint, type checks, and the tests with coverage
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

test-long: setup ## run the slow tests: 30 kills, 2,000 evaluations, 10,000 sweep trials, 4 processes, bit-identical results
	$(BIN)/python -m pytest -m slow

test-versions: ## run the tests with RESOLUTION=lowest-direct (lowest versions in pyproject.toml) or highest; needs uv
	uv venv --clear --python $(PYTHON) .venv-versions
	uv pip install --python .venv-versions --resolution $(RESOLUTION) --editable '.[dev,postgres,sentencepiece]'
	.venv-versions/bin/python -m pytest -n auto

test-package: setup ## build the packages into dist, check them, and try the wheel in an empty environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check twine
	$(BIN)/python -m twine check --strict dist/*
	PYTHON=$(PYTHON) scripts/check_package.sh dist/*.whl

docs: setup ## build the documentation as a site, strictly: site/index.html opens without a server and without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

fuzz: setup ## fuzz all readers of files and options: 100,000 random inputs, each must be valid or give one clear error
	$(BIN)/python -m pytest --hypothesis-profile=long tests/test_fuzz.py

audit: setup ## check the installed packages for known vulnerabilities
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --skip-editable

lint: setup ## check the code style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## fix the code style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## check types with mypy (strict)
	$(BIN)/mypy

clean: ## remove .venv, build folders and caches
	rm -rf .venv .venv-versions build dist site .coverage .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
