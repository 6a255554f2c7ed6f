# Everything below `setup` sets up first whatever is missing; the second time that takes no time.
PYTHON ?= python3
SERVICES = $(PYTHON) docker/native/services.py
VENV = .venv/bin
# Folders without unit tests (tests/support/tiers.py): collecting them would only import Spark.
NO_UNIT_TESTS = --ignore=tests/e2e --ignore=tests/foreign --ignore=tests/interleavings

.DEFAULT_GOAL := help
.PHONY: help setup up down status sql seed next-hour demo test test-unit test-fresh soak bench docs reference lint format types airflow package clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: packages, environment, jars, TiDB (about 10 minutes the first time)
	@$(SERVICES) setup

up: ## start the local services: MariaDB, TiDB, Kafka, moto, the BigQuery emulator
	@$(SERVICES) up

down: ## stop them; the lake and the warehouse begin afresh next time
	@$(SERVICES) down

status: ## say which services answer, and where
	@$(SERVICES) status

sql: ## open the mariadb client on the local MariaDB, or run the statements of standard input
	@$(VENV)/python docker/native/sql_shell.py

seed: up ## put the sample data into the four sources (LAKEFERRY_SAMPLE_ROWS payments, 20000 unless set)
	@$(VENV)/python docker/sample/seed.py

next-hour: up ## play the next hour in the four sources
	@$(VENV)/python docker/sample/next_hour.py

demo: setup ## carry the sample from four systems into the warehouse, twice
	@$(VENV)/lakeferry demo

test: up ## run all tests (in a browser, too, which is installed first)
	@$(SERVICES) browser
	@$(SERVICES) oldest-airflow
	@$(VENV)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=25 $(TESTS)

test-unit: ## run the unit tests alone: needs Python, and no service, no Java and no `make up`
	@$(SERVICES) environment
	@env -u LAKEFERRY_SETTINGS_FILE $(VENV)/python -m pytest -n 2 --dist loadfile -m unit $(NO_UNIT_TESTS) $(TESTS)

test-fresh: ## run all tests in a fresh clone with empty caches, as on a new machine (for release days, about an hour)
	@.ci/test_fresh.sh

soak: up ## play all orders of concurrent runs, and kill runs at random (hours; SOAK="--minutes 60 --scenario append")
	@$(VENV)/python tests/soak/soak.py $(SOAK)

bench: up ## measure how fast it is, beside dlt and Spark's JDBC source (about 45 minutes)
	@$(VENV)/python tests/bench/run.py $(BENCH)

reference: setup ## write the pages of the reference that are made from code
	@$(VENV)/python -m tests.support.reference_pages

docs: setup ## build the documentation as a site, into dist/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict --quiet

lint: setup ## check the style of code and text
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/yamllint --strict -c docker/yamllint.yaml docker dags expectations
	@$(VENV)/python .ci/prose.py

format: setup ## put the code into the style
	@$(VENV)/ruff check --fix --select I .
	@$(VENV)/ruff format .

types: setup ## check types
	@$(VENV)/mypy connectors jobs expectations dags docker/airflow/local_airflow
	@MYPYPATH=docker/native $(VENV)/mypy docker/native/*.py
	@MYPYPATH=docker/sample $(VENV)/mypy docker/sample/*.py

airflow: up ## open Airflow's web UI on this machine, with the five pipelines
	@$(VENV)/python docker/airflow/local_airflow/standalone.py

package: setup ## make what EMR runs
	@$(VENV)/python docker/package.py

clean: ## stop the services and remove their data; caches stay
	@$(SERVICES) clean
