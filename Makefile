# Development commands. CI runs the same recipes (.ci/run).
# Needs Python 3.11 or newer; everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
BENCHES := $(VENV)/.benches

.PHONY: help demo serve test test-long soak check bench format wheel web browser clean

help:  ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

demo: $(STAMP) web  ## Run the sample library in dev mode on 127.0.0.1:8700, with three requests to paste (TLS=1: https)
	@$(BIN)/proffer demo $(if $(TLS),--tls)

serve: $(STAMP)  ## Run a server in dev mode on 127.0.0.1:8700 with the database proffer.db
	$(BIN)/proffer serve --dev

test: $(STAMP) web browser  ## Run all tests
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-long: $(STAMP)  ## Test earlier versions side by side with today's, several workers and a shared spool, with many requests (some minutes)
	PROFFER_UPGRADE_DECISIONS=20000 PROFFER_RECEIPT_PAIRS=10000 PROFFER_SPOOL_ROUNDS=10000 PROFFER_STALL_EXAMPLES=200 \
		PROFFER_MIGRATION_KILLS=30 PROFFER_MIGRATION_ROWS=50000 PROFFER_FEEDBACK_KILLS=30 \
		$(BIN)/python -m pytest -q \
		tests/upgrade/test_side_by_side.py tests/upgrade/test_interrupted_migrations.py tests/serving/test_receipts.py tests/store/test_spool.py \
		tests/service/decisions/test_write_wait.py tests/properties/test_feedback_caps_hold.py

soak: $(BENCHES)  ## Test exact caps with 100,000 decisions, then a worker's memory over 250,000 requests (half an hour)
	PROFFER_LAW_DECISIONS=100000 $(BIN)/python -m pytest -q --timeout 0 tests/properties/test_caps_hold.py
	$(BIN)/python bench/run.py --only soak

check: $(STAMP)  ## Check lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(BENCHES)  ## Run the benchmarks and write docs/benchmarks (ONLY=http,engine: some parts; QUICK=1: shorter)
	$(BIN)/python bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

format: $(STAMP)  ## Format the code and apply the linter's fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)  ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

web:  ## Download the pages' JavaScript from npm, if available
	@$(PYTHON) web/build.py

browser:  ## Install Chromium for the browser tests, if possible
	@$(PYTHON) tests/support/browser.py

clean:  ## Remove all generated files
	rm -rf $(VENV) web/node_modules src/proffer/web/vendor build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Proffer needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (a minute, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip uninstall --quiet --yes proffer 2>/dev/null  # the distribution's former name
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps aepp || \
	  echo "Without aepp: its tests will be skipped"
	@touch $@

$(BENCHES): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@
