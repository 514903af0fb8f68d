# Every goal is a few lines; each environment comes from a hash-pinned lock.
PYTHON ?= python3
DIR ?= build/demo

.PHONY: help demo test test-long kafka bench bench-scale bench-consent chaos sabotage mutants lint reference compatibility lock clean
help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/ok: requirements/broker.lock
	$(PYTHON) -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/broker.lock && touch $@

.venv-dev/ok: requirements/dev.lock
	$(PYTHON) -m venv .venv-dev && .venv-dev/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock && touch $@

.venv-bench/ok: requirements/bench.lock
	$(PYTHON) -m venv .venv-bench && .venv-bench/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/bench.lock && touch $@

demo: .venv/ok  ## play one whole case between real connectors and a real broker
	.venv/bin/python handslag.py demo --dir $(DIR)

test: .venv-dev/ok  ## what CI runs: every first-tier test, on two workers
	.venv-dev/bin/python -m pytest -m "not long" -n 2 --dist loadfile

test-long: .venv-dev/ok  ## hours: the second tier
	.venv-dev/bin/python -m pytest -m long --timeout 0

kafka: .venv-dev/ok  ## the jars of Apache Kafka from Maven Central, once, to build/kafka-libs
	.venv-dev/bin/python -m deploy.kafka_jars

bench: .venv-dev/ok  ## figures to build/bench/*.json
	.venv-dev/bin/python -m tests.bench

bench-scale: .venv-dev/ok  ## an hour: cost and throughput as the store and the number of nodes grow, with plots
	.venv-dev/bin/python -m tests.bench scale

bench-consent: .venv-bench/ok  ## minutes: consent decisions beside Cedar's and Casbin's, to build/bench/consent.json and docs/plots
	.venv-bench/bin/python -m tests.bench consent

chaos: .venv-dev/ok  ## faults under load on three nodes, PostgreSQL and Kafka, and a page in docs/evidence: SECONDS=240, SEED by the clock
	.venv-dev/bin/python -m tests.chaos --seconds $(or $(SECONDS),240) --seed $(or $(SEED),$(shell date +%s)) --evidence docs/evidence/chaos-$(or $(SECONDS),240)-seconds.md

sabotage: .venv-dev/ok  ## each defence switched off in a copy: the named test must fail
	.venv-dev/bin/python -m tests.sabotage

mutants: .venv-dev/ok  ## half an hour: each small change to the consent decision and to its rules must make something fail
	.venv-dev/bin/python -m tests.consent.mutants

lint: .venv-dev/ok  ## ruff, mypy --strict, import rules
	.venv-dev/bin/ruff check . && .venv-dev/bin/ruff format --check . && .venv-dev/bin/mypy && .venv-dev/bin/python -m pytest -q tests/house

reference: .venv-dev/ok  ## write docs/errors.md, docs/codes.md and docs/faults.md anew from the tables
	.venv-dev/bin/python -m schemas.reference errors > docs/errors.md
	.venv-dev/bin/python -m schemas.reference codes > docs/codes.md
	.venv-dev/bin/python -m schemas.reference faults > docs/faults.md

compatibility: .venv-dev/ok  ## before a release: do today's schemas and every released version read each other?
	.venv-dev/bin/python -m schemas.releases check

lock:           ## write the locks anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/connector.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra fhir pyproject.toml -o requirements/fhir.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra broker pyproject.toml -o requirements/broker.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra broker --extra fhir --group dev pyproject.toml -o requirements/dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group bench pyproject.toml -o requirements/bench.lock

clean:          ## remove what was built
	rm -rf build .venv .venv-dev .venv-bench
