# What a fresh Debian 12 machine needs beyond Python 3.11: nothing. Everything else comes from PyPI into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The Airflow versions that are tested; the first one is what the demo and the checks run with.
AIRFLOW := 3.3.2
AIRFLOW_OLDEST := 3.2.2
# Releases that Airflow's own requirements admit and that break it: the DAG processor of 3.2.2 does not start.
BREAKING := 'fastapi<0.137'
WITH_OLDEST := VENV=.venv-$(AIRFLOW_OLDEST) AIRFLOW=$(AIRFLOW_OLDEST)
# Three of them keep two processors busy. Each one's output comes when it is done. Those that take longest come first.
IN_PARALLEL := --no-print-directory --jobs 3 --output-sync=target
NEWEST := test-chaos test-embedded test-external test-unit test-aws test-dask
OLDEST := oldest-embedded oldest-external oldest-chaos oldest-unit
ALL := test-kubernetes install-oldest $(NEWEST) sweep $(OLDEST) test-browser test-chart
TESTS := $(NEWEST)
# Processes of tests that only compute; beside others, one.
PROCESSES := auto

EXTRA := test,docs

.DEFAULT_GOAL := help
.PHONY: $(OLDEST) install-oldest help demo test test-unit test-aws test-embedded test-external test-dask test-chaos test-oldest test-chart test-cluster test-kubernetes test-browser rehearsal sweep policy lint types docs build constraints benchmark clean chaos

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/.installed ## Run Airflow on an embedded Dask cluster and a sample pipeline on it (options: DEMO="--keep")
	$(BIN)/airflow eks-dask demo $(DEMO)

test: $(VENV)/.installed ## Tests that need neither a cluster nor a browser, with the newest Airflow (all there are: TESTS='$(ALL)')
	$(MAKE) $(IN_PARALLEL) PROCESSES=1 $(TESTS)

test-unit: $(VENV)/.installed ## Fast tests
	$(BIN)/python -m pytest -n $(PROCESSES) tests/unit $(UNIT)

test-aws: $(VENV)/.installed ## Tests of what is built on AWS, against a simulation of it
	$(BIN)/python -m pytest -n $(PROCESSES) tests/aws

test-embedded: $(VENV)/.installed ## Tests with a whole Airflow on PostgreSQL, with its embedded cluster
	$(BIN)/python -m pytest tests/integration -m "not any_airflow" -k embedded

test-external: $(VENV)/.installed ## Tests with a whole Airflow on PostgreSQL, with a Dask cluster of two workers
	$(BIN)/python -m pytest tests/integration -m "not any_airflow" -k "not embedded"

test-dask: $(VENV)/.installed ## Tests with Dask in processes of its own
	$(BIN)/python -m pytest tests/integration -m any_airflow

test-chaos: $(VENV)/.installed ## Break things while a DAG runs: nothing is lost, nothing runs twice (long form: CHAOS=--long)
	$(BIN)/python -m pytest tests/chaos $(CHAOS)

test-oldest: ## The tests that concern Airflow, with the oldest supported version
	$(MAKE) $(IN_PARALLEL) PROCESSES=1 $(OLDEST)

$(OLDEST): oldest-%: install-oldest
	$(MAKE) $(WITH_OLDEST) test-$* UNIT='-m "not any_airflow"' CHAOS=

install-oldest:
	$(MAKE) $(WITH_OLDEST) .venv-$(AIRFLOW_OLDEST)/.installed

test-chart: $(VENV)/.installed ## Tests of the Helm chart that need no cluster; Helm comes from PyPI
	$(BIN)/python -m pytest tests/chart

test-cluster: $(VENV)/.installed ## Tests in a real Kubernetes cluster, the one that KUBECONFIG names (all events: EVENTS=--long)
	$(BIN)/python -m pytest --timeout 2400 tests/cluster $(EVENTS)

test-browser: $(VENV)/.installed ## Tests of the page in Airflow's UI, in a real Chromium (pictures of docs anew: BROWSER=--screenshots)
	$(BIN)/python -m pytest tests/browser $(BROWSER)

rehearsal: $(VENV)/.installed ## Build, use and remove a cluster as users do, in a browser; simulated are AWS and Headlamp (options: REHEARSAL="-k all")
	$(BIN)/python -m pytest --timeout 5400 --capture no tests/rehearsal $(REHEARSAL)

test-kubernetes: ## Both that take a Kubernetes cluster, one after the other
	$(MAKE) test-cluster
	$(MAKE) rehearsal

chaos: $(VENV)-benchmark/.installed ## Break everything, CeleryExecutor too, and write what came of it into docs/faults.md
	$(VENV)-benchmark/bin/python -m tests.chaos --long --executor dask --executor celery --output docs/faults.md

sweep: $(VENV)/.installed ## Let every AWS call of bootstrap and teardown fail, in every way, and run again (a fifth: SWEEP="--every 5")
	$(BIN)/python -m tests.aws.sweep $(SWEEP)

policy: $(VENV)/.installed ## Write anew the IAM policy that bootstrap and teardown need
	$(BIN)/python -m tests.aws.iam_policy --output docs/iam-policy.json

lint: $(VENV)/.installed ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed ## Types
	$(BIN)/mypy

docs: $(VENV)/.installed ## Documentation, into docs/_build/
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build

build: $(VENV)/.installed ## Wheel and source distribution, into dist/
	rm -rf dist build
	$(BIN)/python -m build --installer uv --outdir dist .

constraints: $(VENV)/.installed ## Choose anew the versions that demo and tests install
	for version in $(AIRFLOW) $(AIRFLOW_OLDEST); do \
	  printf '%s\n' "apache-airflow==$$version" $(BREAKING) | $(BIN)/uv pip compile --quiet --no-header --no-annotate \
	    --python-version 3.11 --no-emit-package airflow-eks-dask --upgrade --constraint - \
	    --extra test --extra docs --output-file constraints/airflow-$$version.txt setup.cfg || exit 1; \
	done

benchmark: $(VENV)-benchmark/.installed ## Compare with CeleryExecutor and LocalExecutor, into docs/ (options: BENCHMARK="--runs 3")
	$(VENV)-benchmark/bin/python -m benchmarks dispatch
	$(VENV)-benchmark/bin/python -m benchmarks executors $(BENCHMARK)

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(VENV)-* dist build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: setup.cfg pyproject.toml constraints/airflow-$(AIRFLOW).txt
	@$(MAKE) --no-print-directory install INTO=$(VENV) VERSION=$(AIRFLOW)

$(VENV)-benchmark/.installed: setup.cfg pyproject.toml constraints/airflow-$(AIRFLOW).txt
	@$(MAKE) --no-print-directory install INTO=$(VENV)-benchmark VERSION=$(AIRFLOW) EXTRA=test,benchmarks

.PHONY: install
install:
	$(PYTHON) -m venv $(INTO)
	$(INTO)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	VIRTUAL_ENV=$(CURDIR)/$(INTO) $(INTO)/bin/uv pip install --quiet --constraint constraints/airflow-$(VERSION).txt --editable '.[$(EXTRA)]'
	@touch $(INTO)/.installed
