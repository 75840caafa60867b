# What a person types. Each target makes what it needs; `make run` needs nothing but Python.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

INPUTS ?= 100000
GUIDED ?= 600

# What Function Compute runs src/ on. Tested on those that this machine has, by name or by way of pyenv.
RUNTIMES = 3.10 3.12
SRC_TESTS = $(patsubst %,tests/test_%.py,errors events imports index policy sdk_signer settings signer ways_in)

.PHONY: run check test bench fuzz fuzz-guided mutants lock audit clean $(RUNTIMES:%=test-on-%)

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

fuzz-guided: $(VENV)/.made ## the same, led by coverage, for GUIDED seconds; Linux on x86-64 and Python 3.11 or later
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	PYTHONPATH=src $(BIN)/python -W ignore -m tests.fuzz_guided events -max_total_time=$(GUIDED)
	PYTHONPATH=src $(BIN)/python -W ignore -m tests.fuzz_guided settings -max_total_time=$(GUIDED)

mutants: $(VENV)/.made ## faults put into src/ and the stand-in's verifier, one at a time: the tests must notice
	PYTHONPATH=src $(BIN)/python -W ignore -m tests.mutants

lock: $(VENV)/.made ## after a change of requirements-dev.txt: all that it draws in, with hashes, for every Python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.10 --no-header --no-annotate \
		requirements-dev.txt -o requirements-dev.lock

audit: ## the lock against the database of known faults; needs more of the network than the registry
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	build/audit/bin/pip-audit --disable-pip --require-hashes -r requirements-dev.lock

$(RUNTIMES:%=test-on-%): test-on-%:
	@python=$$(command -v python$* || true); $$python -c '' 2>/dev/null || python=$$(pyenv prefix $* 2>/dev/null)/bin/python; \
	if $$python -c '' 2>/dev/null; then \
		$(MAKE) --no-print-directory PYTHON=$$python VENV=$(VENV)-$* $(VENV)-$*/.made && $(VENV)-$*/bin/pytest $(SRC_TESTS) --cov; \
	else echo "Python $* is not on this machine: src/ is not tested on it."; fi

$(VENV)/.made: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

bench: $(VENV)/.made ## speed beside the alternatives, some 23 minutes; ARGS=--quick for a look
	cd bench && npm ci --no-audit --no-fund --loglevel=error || echo "npm ci failed: the Node.js contenders are left out"
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) $(RUNTIMES:%=$(VENV)-%) build clients/*/build bench/node_modules tests/browser/node_modules tests/node/node_modules
