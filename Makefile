# make demo     from nothing to a result that can be read
# make test     the same environment, then the whole test suite
# make help     everything else
#
# Needs Python 3.10 or newer with pip and venv, and make. PYTHON=/path/to/python picks the interpreter.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# The tests start many programs; each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := crystallize-core crystallize-plugins crystallize-cli
# Releases that are known to be good, so that a new one elsewhere changes nothing here; `make constraints` renews them.
CONSTRAINTS := .ci/constraints.txt
PROJECTS := pyproject.toml $(DISTRIBUTIONS:%=%/pyproject.toml) $(CONSTRAINTS)
# What the examples use, and what the tests use, of the extras.
DEMO := --editable ./crystallize-core --editable './crystallize-plugins[stats]' --editable ./crystallize-cli
LIBRARY := --editable ./crystallize-core --editable './crystallize-plugins[stats,optuna,yaml]'
FULL := $(LIBRARY) --editable ./crystallize-cli
INSTALL := install --quiet --disable-pip-version-check $(PIPFLAGS)
PIP := -m pip $(INSTALL)
# pip 25.1 reads dependency groups. What builds the distributions (the group `build`) is installed once: an environment
# for each build takes longer than all three builds.
BUILDERS := 'pip>=25.1' 'hatchling>=1.27' 'editables>=0.5'
PIP_HERE := $(PIP) --no-build-isolation
# Other environments are filled by the pip of this one: making an environment with a pip takes longer than without.
INTO = @$(BIN)/python -m pip --python .venvs/$*/bin/python $(INSTALL)
PYTEST := $(BIN)/python -m pytest

# Tests that need what only the development environment has; the suite on other interpreters leaves them out.
ONE_INTERPRETER := tests/beyond tests/docs tests/report tests/packaging tests/typing tests/architecture

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------------------------------------------------------------- environment

$(BIN)/python:
	@python="$${PYTHON:-$$(.ci/pythons --first | cut -d' ' -f2-)}" && \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Crystallize needs Python 3.10 or newer")' && \
	echo "making $(VENV) with $$("$$python" --version), $$python" && \
	"$$python" -m venv $(VENV)
	@$(BIN)/python $(PIP) --constraint $(CONSTRAINTS) $(BUILDERS)

# What the demonstration needs: the three distributions and what the examples use.
$(VENV)/.demo: $(PROJECTS) | $(BIN)/python
	@echo "installing $(DISTRIBUTIONS) into $(VENV)"
	@$(BIN)/python $(PIP_HERE) --constraint $(CONSTRAINTS) $(DEMO) --group examples
	@touch $@

# It has all that the demonstration needs.
$(VENV)/.dev: $(PROJECTS) | $(BIN)/python
	@echo "installing $(DISTRIBUTIONS), and what tests, checks and docs need, into $(VENV)"
	@$(BIN)/python $(PIP_HERE) --constraint $(CONSTRAINTS) $(FULL) --group dev
	@touch $(VENV)/.demo $@

.PHONY: env
env: $(VENV)/.dev ## make .venv with everything that developing needs

# ---------------------------------------------------------------- using it

.PHONY: demo
demo: $(VENV)/.demo ## run the quickstart and show its result
	$(BIN)/crystallize run docs/examples/quickstart/quickstart.py

# ---------------------------------------------------------------- tests

# The suite in parts, three at a time, the long ones first; `rest` is every room that no other part names. Each part is a
# pytest of its own and no worker of pytest-xdist: that has a second thread, and where there is one the tests of workers
# that are forked would quietly test workers that are not. Three keep two cores busy: tests wait, too.
JOBS := 3
PARTS := rest beyond ways cli tui store cells pages report steps same storage kills wheels resume search stops
ROOMS_kills := promises/kills
ROOMS_cells := unit/pipelines unit/engine
ROOMS_steps := promises/bad_steps
ROOMS_pages := docs
ROOMS_report := report
ROOMS_store := unit/artifacts unit/runs
ROOMS_ways := unit/execution
ROOMS_wheels := packaging plugin_distributions typing architecture
ROOMS_cli := cli
ROOMS_tui := tui
ROOMS_same := promises/same_numbers promises/identity
ROOMS_resume := promises/resume
ROOMS_storage := promises/storage
ROOMS_search := unit/optimization unit/optimizers
ROOMS_beyond := beyond
ROOMS_stops := promises/interrupts promises/pitfalls
# Compares times, for which it is alone.
ROOMS_alone := benchmarks
IN_PARTS := $(foreach part,$(PARTS) alone,$(ROOMS_$(part)))
# Each part's output in one piece, where make can do that.
IN_PIECES := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: test
ifdef ARGS
test: $(VENV)/.dev ## the whole test suite, three parts at a time, each shown when it ends; JOBS=1 for one
	$(PYTEST) $(ARGS)
else
test: $(VENV)/.dev
	@echo "the suite in $(words $(PARTS) alone) parts, $(JOBS) at a time; what each says comes when it ends"
	@failed=0; \
	$(MAKE) --no-print-directory --jobs=$(JOBS) $(IN_PIECES) --keep-going $(PARTS:%=part-%) || failed=1; \
	$(MAKE) --no-print-directory part-alone || failed=1; \
	exit $$failed
endif

.PHONY: $(PARTS:%=part-%) part-alone
$(PARTS:%=part-%) part-alone: part-%: $(VENV)/.dev
	$(PYTEST) -o cache_dir=.pytest_cache/$* \
	$(if $(ROOMS_$*),$(ROOMS_$*:%=tests/%),$(IN_PARTS:%=--ignore tests/%))

.PHONY: quick
quick: $(VENV)/.dev ## the tests without the slow ones
	$(PYTEST) -m 'not slow' --ignore tests/promises/kills --ignore tests/promises/storage --ignore tests/packaging --ignore tests/docs $(ARGS)

.PHONY: faults
faults: $(VENV)/.dev ## the long soak (an hour): programs and workers killed, stopped, crowded, damaged, with counts at the end
	CRYSTALLIZE_SOAK=1 $(PYTEST) tests/promises tests/unit/pipelines/cache tests/unit/optimization/test_resume.py tests/beyond $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## the measurements, beside bare Python and the closest peer; ARGS="steps --no-peer" for a part
	$(BIN)/python tests/benchmarks/run_all.py $(ARGS)

# One environment for each interpreter that the machine has; `make test-3.12` for a single one.
VERSIONS = $(shell .ci/pythons | cut -d' ' -f1)

# With the interpreter of the version that is named.
define other_environment
@python=$$(.ci/pythons | sed -n 's/^$(1) //p') && \
{ [ -n "$$python" ] || { echo "Python $(1) was not found on this machine" >&2; exit 1; }; } && \
{ [ -x .venvs/$*/bin/python ] || "$$python" -m venv --without-pip .venvs/$*; }
endef

.venvs/%/.test: $(PROJECTS) | $(BIN)/python
	$(call other_environment,$*)
	@echo "installing $(DISTRIBUTIONS) into .venvs/$*"
	$(INTO) --constraint $(CONSTRAINTS) $(BUILDERS)
	$(INTO) --no-build-isolation --constraint $(CONSTRAINTS) $(FULL) --group test
	@touch $@
.PRECIOUS: .venvs/%/.test

test-%: .venvs/%/.test
	.venvs/$*/bin/python -m pytest $(ONE_INTERPRETER:%=--ignore %) $(ARGS)

# What depends on the interpreter most, in a minute: the core, how code is identified and found, how workers start.
SMOKE := $(addprefix tests/unit/,context datasources hooks names pipelines/test_*.py) \
	$(addprefix tests/unit/results/test_,export.py metrics.py result.py) \
	$(addprefix tests/unit/engine/test_,async.py cells.py failures.py) tests/unit/experiments/test_experiment.py \
	$(addprefix tests/unit/fingerprint/test_,code.py processes.py) tests/unit/config/test_code.py \
	tests/unit/execution/test_starting.py tests/unit/seed \
	$(addprefix tests/promises/same_numbers/test_,own_loop.py reference_model.py) tests/cli/test_run.py
SMALL := --editable ./crystallize-core --editable './crystallize-plugins[stats,yaml]' --editable ./crystallize-cli

.venvs/%/.smoke: $(PROJECTS) | $(BIN)/python
	$(call other_environment,$*)
	@echo "installing $(DISTRIBUTIONS) and little else into .venvs/$*"
	$(INTO) --constraint $(CONSTRAINTS) $(BUILDERS)
	$(INTO) --no-build-isolation --constraint $(CONSTRAINTS) $(SMALL) --group smoke
	@touch $@
.PRECIOUS: .venvs/%/.smoke

smoke-%: .venvs/%/.smoke
	.venvs/$*/bin/python -m pytest -q $(SMOKE) $(ARGS)

# What depends on libraries, with the newest releases on the newest interpreter, and on the oldest with the oldest that the
# metadata allow. Where tests fail, the libraries that broke them are named. The command line comes without its terminal
# UI, which needs a NumPy newer than the oldest.
LIBRARIES := $(addprefix tests/unit/,fingerprint seed verifiers results/test_tables.py) \
	$(addprefix tests/unit/config/test_,extra.py hostile.py malformed.py round_trip.py schema.py words.py) \
	$(addprefix tests/unit/execution/test_,cores.py starting.py) $(addprefix tests/cli/test_,group.py run.py) \
	tests/promises/same_numbers/test_reference_model.py tests/promises/identity tests/unit/optimizers/test_optuna.py \
	$(addprefix tests/unit/artifacts/test_,encoding.py end_to_end.py) tests/unit/pipelines/cache/test_input_identity.py \
	tests/plugin_distributions/test_example_plugins.py
LIBRARIES_oldest = --constraint .ci/oldest.txt
LIBRARIES_newest = --upgrade --upgrade-strategy eager
INTERPRETER_oldest = $(lastword $(VERSIONS))
INTERPRETER_newest = $(firstword $(VERSIONS))

.venvs/oldest/.libraries .venvs/newest/.libraries: .venvs/%/.libraries: $(PROJECTS) .ci/oldest.txt | $(BIN)/python
	$(call other_environment,$(INTERPRETER_$*))
	@echo "installing $(DISTRIBUTIONS) with the $* libraries into .venvs/$*"
	$(INTO) $(BUILDERS)
	$(INTO) --no-build-isolation $(LIBRARIES_$*) $(LIBRARY) 'click>=8.2' --group test
	$(INTO) --no-build-isolation --no-deps --editable ./crystallize-cli
	@touch $@

.PHONY: libraries-oldest libraries-newest
libraries-oldest: ## what depends on libraries, with the oldest releases that the metadata allow
libraries-newest: ## the same with the newest releases of today
libraries-oldest libraries-newest: libraries-%: .venvs/%/.libraries
	.venvs/$*/bin/python .ci/libraries.py $(LIBRARIES) $(ARGS)

# As the gate tries them: what they break is written down, and fails nobody's change.
.PHONY: try-newest
try-newest: .venvs/newest/.libraries
	@.venvs/newest/bin/python .ci/libraries.py $(LIBRARIES) >.ci/newest.log 2>&1 && \
	echo "the newest libraries break nothing" >>.ci/newest.log || echo "THE NEWEST LIBRARIES BREAK TESTS" >>.ci/newest.log

.PHONY: constraints
constraints: $(VENV)/.dev ## renew the known-good releases in .ci/constraints.txt, and the oldest
	$(BIN)/python $(PIP) --group constraints
	.ci/constrain $(BIN)/uv

.PHONY: test-all
test-all: $(VENV)/.dev ## the whole suite, then everything that depends on the interpreter on each one there is
	$(MAKE) --no-print-directory test
	for version in $(VERSIONS); do $(MAKE) --no-print-directory "test-$$version" || exit 1; done

# ---------------------------------------------------------------- checks

.PHONY: lint
lint: $(VENV)/.dev ## ruff, with everything on
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: types
types: $(VENV)/.dev ## mypy --strict over the three distributions; what users write is checked by the tests
	$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/.dev ## imports point one way
	$(BIN)/lint-imports

.PHONY: docs
docs: $(VENV)/.dev ## the site, strictly: a warning is an error (site/index.html)
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs site

.PHONY: wheels
wheels: $(VENV)/.dev ## wheels and source distributions in dist/, then the tests of what is in them
	rm -rf dist
	for name in $(DISTRIBUTIONS); do $(BIN)/python -m build --no-isolation --outdir dist "$$name" || exit 1; done
	$(PYTEST) -q tests/packaging

.PHONY: clean
clean: ## remove everything that was made here
	rm -rf $(VENV) .venvs dist site build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
