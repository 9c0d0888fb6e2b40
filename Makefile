# The verbs of the tree. Start with `make help`. Everything lives in .venv and .local; nothing is installed elsewhere.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
PROJECTS := proto libs/chassis gateway $(sort $(wildcard services/*)) deploy/local
PYPROJECTS := $(PROJECTS:%=%/pyproject.toml)
export WORKERS PROCESSES CORPUS FLEET_DATA
.DEFAULT_GOAL := help
.PHONY: help up down kill status logs migrate demo test lint typecheck imports contracts check alone chaos \
        fresh-check compose-check bench proto openapi lock format clean

help: ## Show the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.venv/ready: requirements/bootstrap.txt requirements/dev.txt requirements/no-deps.txt $(PYPROJECTS)
	@test -x $(RUN) || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(RUN) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip install --quiet --python $(RUN) --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(RUN) --require-hashes --no-deps -r requirements/no-deps.txt
	@$(BIN)/uv pip install --quiet --python $(RUN) --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	@touch $@

up: .venv/ready ## Start the whole fleet and wait until it is ready (PROCESSES=1: a process for each service)
	@$(RUN) -m fleet up

down: ## Stop the fleet and its servers; data stays in .local
	@test ! -x $(RUN) || $(RUN) -m fleet down
kill: ## Stop the fleet and its servers with kill -9, as a crash would
	@$(RUN) -m fleet kill
status: ## Show which parts run and where
	@$(RUN) -m fleet status
logs: ## Print the last lines of every log
	@$(RUN) -m fleet logs
migrate: .venv/ready ## Bring every service's schema up to date, with the servers running
	@$(RUN) -m fleet migrate
demo: .venv/ready ## Walk through the main job against the running fleet
	@$(RUN) -m fleet.demo

test: .venv/ready ## Run all tests, a distribution at a time (TESTS="services/kb tests/e2e", WORKERS=n)
	@$(RUN) tools/test.py $(TESTS)
lint: .venv/ready ## Check style and layout
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
format: .venv/ready ## Fix style and layout
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
typecheck: .venv/ready ## Check types, strictly, a distribution at a time
	@for part in $(filter-out proto,$(PROJECTS)) $(wildcard tests benchmarks tools); do echo "mypy $$part" && $(BIN)/mypy $$part || exit 1; done
imports: .venv/ready ## Check who imports whom
	@$(BIN)/lint-imports --no-cache
contracts: .venv/ready ## Check the contracts, and that what is generated from them is current
	@$(BIN)/buf lint proto/gen/definable/descriptors.binpb --config proto/buf.yaml
	@$(RUN) proto/generate.py --check

check: lint typecheck imports contracts test ## Everything that must hold before a change lands

alone: .venv/ready ## Test each service with nothing but contracts and chassis installed (SERVICE=kb)
	@$(RUN) tools/alone.py $(SERVICE)

chaos: .venv/ready ## Kill, stop and cut everything under load, and count what was lost (SEED=n)
	@$(RUN) -m tests.chaos
fresh-check: ## Prove the two commands in a bare system, as root and as a user
	@$(PYTHON) tools/fresh_check.py
compose-check: ## Build the images and bring the fleet up in containers
	@$(PYTHON) tools/compose_check.py

bench: .venv/ready ## Measure the claims (CORPUS=folder for search quality)
	@$(RUN) -m benchmarks

proto: .venv/ready ## Generate messages, stubs and descriptors from the contracts
	@$(RUN) proto/generate.py

openapi: .venv/ready ## Write gateway/openapi.json from the contracts
	@$(RUN) -m gateway openapi > gateway/openapi.json

lock: .venv/ready ## Resolve dependencies again (UPGRADE=--upgrade takes the newest)
	@$(RUN) tools/lock.py $(UPGRADE) && $(MAKE) --no-print-directory .venv/ready

clean: down ## Remove the environment, the fleet's data and caches
	@rm -rf .venv .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
