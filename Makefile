# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors

SHELL := /bin/bash
.DEFAULT_GOAL := help

SCENARIO ?= default
LAYERS ?= lint test-unit test-integration test-molecule quickstart quickstart-clean
PYTEST_ARGS ?=
TESTS ?=
ONLY ?=
AGAIN ?=

# What tools find in a checkout: its venv first, and the collection by its name below build/.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build
# Ansible looks for collections on Python's path, too, and would find older copies there.
unexport PYTHONPATH
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: venv
venv: ## set up .venv, with everything that the other targets need from PyPI
	@tools/setup.sh packages venv
	@tools/setup.sh venv
	@tools/setup.sh link
	@tools/setup.sh collections

# Playbooks need a tenth of what the tests need, and somebody may be waiting for their first look.
.PHONY: runtime
runtime:
	@tools/setup.sh packages venv
	@tools/setup.sh venv run
	@tools/setup.sh link

# One at a time on a machine, whoever starts it; servers that are started must not inherit the lock.
STORY = ANSIBLE_STDOUT_CALLBACK=dbkeeper.ops.story \
	flock --close --wait 900 /run/lock/dbkeeper-quickstart.lock ansible-playbook

.PHONY: quickstart
quickstart: runtime ## lose a table under load on this machine, and get it back (root)
	@tools/setup.sh packages quickstart
	@$(STORY) playbooks/quickstart.yml -i inventories/quickstart

.PHONY: quickstart-clean
quickstart-clean: runtime ## remove everything that quickstart made
	@$(STORY) playbooks/quickstart_clean.yml -i inventories/quickstart

.PHONY: lint
lint: venv ## every static check; one of them with ONLY=ruff-check
	@tools/setup.sh packages lint
	@python tools/lint.py $(ONLY)

.PHONY: test-unit
test-unit: venv ## pure decisions; no server, no root
	@tools/setup.sh packages unit
	@python -m pytest -q -n 2 $(or $(TESTS),tests/unit) $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: venv ## the engine against real servers, as an ordinary user
	@tools/setup.sh packages integration
	@DBKEEPER_TEST_POSTGRESQL=$${DBKEEPER_TEST_POSTGRESQL:-$$(python tools/fetch_postgresql.py)} \
	  DBKEEPER_TEST_PGBOUNCER=$${DBKEEPER_TEST_PGBOUNCER:-$$(python tools/fetch_pgbouncer.py)} \
	  tools/as_test_user.sh python -m pytest -q -n 4 $(AGAIN) $(or $(TESTS),tests/integration) $(PYTEST_ARGS)

# Everything else that this machine does makes it slower; the report says how long it took.
.PHONY: test-matrix
test-matrix: venv ## all versions x sizes x zones x timelines, and the long sweeps; writes build/reports/matrix.json
	@tools/setup.sh packages integration
	@begun=$$SECONDS; status=0; \
	  export DBKEEPER_TEST_POSTGRESQL=$${DBKEEPER_TEST_POSTGRESQL:-$$(python tools/fetch_postgresql.py)}; \
	  export DBKEEPER_TEST_PGBOUNCER=$${DBKEEPER_TEST_PGBOUNCER:-$$(python tools/fetch_pgbouncer.py)}; \
	  for tests in $(if $(TESTS),"$(TESTS)",tests/integration tests/unit); do \
	    tools/as_test_user.sh python -m pytest -q -n 4 -m matrix $$tests $(PYTEST_ARGS) || status=$$?; \
	  done; \
	  echo "test-matrix: $$((SECONDS - begun)) s; build/reports/matrix.json and matrix.txt have the cells"; exit $$status

.PHONY: test-molecule
test-molecule: venv ## roles and playbooks on booted hosts (root); SCENARIO=name, or SCENARIO=all
	@tools/setup.sh packages molecule
	@tools/molecule.sh $(SCENARIO)

.PHONY: test
test: export SCENARIO := all
# Hundreds of servers are started and killed on a machine of which others know nothing. In the run of all layers, three
# tests at most may fail once; what failed is shown, and counted. A test that is run by itself has one chance.
test: export AGAIN := --reruns 1 --max-suite-reruns 3 --rerun-show-tracebacks
test: venv ## all test layers, with a table of their times at the end
	+@tools/layers.sh $(LAYERS)

.PHONY: bench
bench: venv ## measure against the common script's way and pgBackRest; writes build/bench.json
	@tools/setup.sh packages bench
	@DBKEEPER_TEST_POSTGRESQL=$${DBKEEPER_TEST_POSTGRESQL:-$$(python tools/fetch_postgresql.py 15)} \
	  DBKEEPER_TEST_ON_DISK=1 tools/as_test_user.sh python -m tests.bench $(BENCH_ARGS)
	@if [ -f build/reports/bench.json ]; then mv build/reports/bench.json build/bench.json; fi

.PHONY: clean
clean: ## remove .venv and build/
	@rm -rf .venv .venv.lock build
