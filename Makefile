# What one does with a checkout. `make` alone lists the targets.

PYTHON ?= python3
CONFIG ?= etc/alertd.toml
VENV := .venv
BIN := $(VENV)/bin
PYTEST ?= $(BIN)/pytest --numprocesses=auto --dist=worksteal
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test properties fuzz sim hostile kills crash lint format bench check-unit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Start the daemon (CONFIG=etc/alertd.toml); Ctrl-C stops it
	@exec $(BIN)/alertd run --config $(CONFIG)

test: $(VENV)/.installed-dev ## Run the tests (TESTS="tests/unit -k name" for some)
	$(PYTEST) $(TESTS)

properties: $(VENV)/.installed-dev ## Try the engine's properties on 2,000 random worlds each (about 6 min)
	ALERTD_HYPOTHESIS_EXAMPLES=2000 $(PYTEST) tests/property

fuzz: $(VENV)/.installed-dev ## The same on 20,000 each, other ones in every run (an hour); EXAMPLES=n for more
	ALERTD_HYPOTHESIS_EXAMPLES=$(or $(EXAMPLES),20000) $(PYTEST) tests/property --hypothesis-show-statistics

hostile: $(VENV)/.installed-dev ## Try 100,000 nearly right inputs and a million label sets (about 6 min)
	ALERTD_FUZZ_INPUTS=$(or $(INPUTS),100000) ALERTD_BOMB_LABEL_SETS=1000000 \
		$(PYTEST) tests/fuzz tests/e2e/test_cardinality.py

kills: $(VENV)/.installed-dev ## Kill the daemon 200 times under load (about 4 min); CYCLES=n for more
	ALERTD_CRASH_CYCLES=$(or $(CYCLES),200) $(BIN)/pytest tests/crash

crash: $(VENV)/.installed-dev ## Kill 1,000 times; fail the disk at every call, fill it, lose power 100,000 times (an hour)
	ALERTD_CRASH_CYCLES=$(or $(CYCLES),1000) $(BIN)/pytest tests/crash
	ALERTD_FAULT_STRIDE=1 ALERTD_POWER_SEEDS=500 ALERTD_RECOVERY_SEEDS=1000 $(PYTEST) tests/faults

sim: $(VENV)/.installed-dev ## Run the simulated daemon in 10,000 worlds (about 5 min; SEEDS=n FIRST=n), or in one (SEED=n)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)))

lint: $(VENV)/.installed-dev ## Check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed-bench ## Measure everything (12 min at most); BENCH="lines rivals" for parts, see bench/README.md
	$(BIN)/python -m bench $(BENCH)

check-unit: ## Check the systemd unit (needs systemd-analyze)
	.ci/systemd-check

clean: ## Remove the virtual environment and everything that was generated; data/ stays
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps, so that nothing is installed again until what is to be installed changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "alertd needs Python 3.11 or newer, and '$(PYTHON)' is not:" \
			"install one and name it, as in: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) cannot make virtual environments;" \
			"on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP_INSTALL) --editable '.[bench]'
	@touch $@
