# Two commands matter: `make demo` and `make test`. All they need is python3 (3.11 or newer) and make.

PYTHON ?= python3
# Three workers by default: the tests on Kafka are three groups that mostly wait, each with a broker
# of its own. `make test WORKERS=0` runs in one process.
WORKERS ?= 3
BIN := .venv/bin
STAMP := .venv/.stamp
# The version that wrote requirements.lock; not a dependency of anything else here.
UV_VERSION := 0.13.9

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-kafka test bench lint types lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) ## make .venv with everything in it; instant when nothing changed

# No build isolation: the locked setuptools builds the project, and nothing unpinned is fetched.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "coordination-ledger needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
			"Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module; install it first (Debian, Ubuntu: apt install python3-venv)." >&2; exit 2; }
	@echo 'Making .venv: about a minute, once.'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## watch the ledger stop a fleet that runs away
	@$(BIN)/ledger demo

demo-kafka: setup ## the same on a real Apache Kafka; needs Java 17 and Maven, or LEDGER_KAFKA=kafka://host:9092
	@$(BIN)/python infra/broker/demo.py

test: lint types ## every check: style, types, tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: setup ## style only
	$(BIN)/ruff check ledger processors tests
	$(BIN)/ruff format --check ledger processors tests

types: setup ## types only
	$(BIN)/mypy ledger tests

bench: setup ## measure; prints numbers, checks none
	$(BIN)/python -m tests.bench

# No index address in the file: whoever installs it chooses the mirror; the hashes are the proof.
lock: setup ## write requirements.lock anew, within the bounds of pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo '# Written by `make lock`. Every version is pinned, every file is hashed.' > requirements.lock.new
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --all-extras pyproject.toml >> requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## remove .venv, caches and build output
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ledger processors tests -name __pycache__ -type d -prune -exec rm -rf {} +
