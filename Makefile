# The whole developer interface. Each target sets up what it needs in .venv; nothing else has to be installed
# than python3 (3.11 or newer, with venv), make and git.
#
#   make demo           a failure caught, contained, recorded and explained, on this machine, in minutes
#   make test           every test but those of the documents, under ten minutes  (ARGS="-k name" for some of them)
#   make check          format, lint, types, floors, tests of the documents, a seeded sample of mutants
#   make bench          figures, as ratios to a probe of this disk   (ARGS="..." for some of them)
#   make peers          install the peers that figures are held against, in .venv-peers
#   make requirements   what is shown and what is open           (ONLY="R13 R18", JSON=1)
#   make campaign       every mutant against the tests that must catch it, 100,000 verdicts against Cedar alone, 10,000
#                       schedules of starts and stops, 1,000 incidents whose node dies at every step, 1,000 lives of people
#                       who are asked about them, 4,000 kills of transactional tools, then power cuts, deaths and honest
#                       histories by the thousand (needs strace), then five minutes of fuzzing
#                       (SEED=n; ONLY="R13" for its mutants alone)
#   make lock           resolve the lock files anew              (needs uv on the PATH or in .venv)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
ONLY ?=
JSON ?=
SEED ?=
ARGS ?=

.PHONY: help setup run dev demo test check bench peers requirements campaign lock clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

# The stamp in .venv holds the locks' digests, not a time: a touched file does not install again, a changed lock
# always does, and an installation that was cut off is done again.
setup: dev

run:
	@$(PYTHON) requirements/install.py run

dev:
	@$(PYTHON) requirements/install.py run dev

demo: run
	@$(BIN)/failwell demo $(ARGS)
	@echo "(failwell is $(BIN)/failwell here; to call it by its name: source $(BIN)/activate)" >&2

# In several processes, a file in one of them: half of the time goes by in waiting, so one more than there are cores, up
# to four. ARGS="-n 0 ..." runs in this one. The documents run in `check` and only there: once is enough.
test: dev
	@cores=$$(nproc); $(BIN)/python -m pytest -n $$((cores < 4 ? cores + 1 : 4)) --dist loadfile --no-loadscope-reorder --ignore=tests/docs $(ARGS)

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture tests/docs
	$(BIN)/python -m tests.claims sample --seed "$(SEED)"

bench: dev
	@$(BIN)/python -m bench $(ARGS)

# They force other versions of what both use: an environment of their own, talked to by subprocess.
peers:
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary=:all: \
	  -r requirements/peers.txt >&2

requirements: dev
	@$(BIN)/python -m tests.claims requirements --only "$(ONLY)" $(if $(JSON),--json)

campaign: dev
	@$(BIN)/python -m tests.claims campaign --only "$(ONLY)" $(if $(JSON),--json)
ifeq ($(strip $(ONLY)),)
	@$(BIN)/python -m tests.property.cedar_whole --pairs 100000 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.property.lives --worlds 500 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.simulate.transacting --kills 4000 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.property.schedules --schedules 10000 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.property.incidents --incidents 1000 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.property.escalations --worlds 1000 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.faults.stops --worlds 100 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.property.http_described --examples 400 $(if $(SEED),--seed "$(SEED)") $(if $(JSON),>&2)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed "$(SEED)") $(if $(JSON),--json)
	@$(BIN)/python -m tests.fuzz $(if $(SEED),--seed "$(SEED)") || test $$? = 2  # 2: no atheris for this machine
endif

lock:
	@uv=$$(command -v uv || echo $(BIN)/uv); test -x "$$uv" || { echo "lock: uv is missing: pip install uv" >&2; exit 1; }; \
	compile="$$uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links"; \
	$$compile pyproject.toml requirements/build.in --extra demo -o requirements/run.txt; \
	$$compile requirements/dev.in -c requirements/run.txt -o requirements/dev.txt; \
	$$compile requirements/peers.in -o requirements/peers.txt

clean:
	rm -rf .venv .venv-peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
