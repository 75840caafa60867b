# What a person types. Each target makes what it needs; `make run` needs nothing but Python.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

INPUTS ?= 100000

# What Function Compute runs src/ on. Tested on those that this machine has, by name or by way of pyenv.
RUNTIMES = 3.10 3.12
SRC_TESTS = $(patsubst %,tests/test_%.py,errors events index policy sdk_signer settings signer)

.PHONY: run check test fuzz clean $(RUNTIMES:%=test-on-%)

run: ## the function and an OSS stand-in on this machine
	$(PYTHON) -m local --function-port 9000 --oss-port 9001

check: $(VENV)/.made ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(VENV)/.made $(RUNTIMES:%=test-on-%) ## src/ on FC's Pythons, then everything on this one
	$(BIN)/pytest --cov

fuzz: $(VENV)/.made ## random inputs, INPUTS of each kind; SEED gives the same again
	PYTHONPATH=src $(BIN)/python -W ignore -m tests.fuzz --inputs $(INPUTS) $(SEED:%=--seed %)

$(RUNTIMES:%=test-on-%): test-on-%:
	@python=$$(command -v python$* || true); $$python -c '' 2>/dev/null || python=$$(pyenv prefix $* 2>/dev/null)/bin/python; \
	if $$python -c '' 2>/dev/null; then \
		$(MAKE) --no-print-directory PYTHON=$$python VENV=$(VENV)-$* $(VENV)-$*/.made && $(VENV)-$*/bin/pytest $(SRC_TESTS) --cov; \
	else echo "Python $* is not on this machine: src/ is not tested on it."; fi

$(VENV)/.made: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) $(RUNTIMES:%=$(VENV)-%) build
