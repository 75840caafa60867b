# What a person types. Each target makes what it needs; `make run` needs nothing but Python.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test check clean

run: ## the function and an OSS stand-in on this machine
	$(PYTHON) -m local

check: $(VENV)/.made ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(VENV)/.made ## everything
	$(BIN)/pytest --cov

$(VENV)/.made: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build
