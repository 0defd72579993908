# Needs Python 3.11, 3.12 or 3.13, pip and make. All else goes into .venv, whatever is activated.
#
#   make demo                       the first Python that works
#   make demo FACE_LANDMARKER=X.task    face models, which Python 3.13's MediaPipe has not
#   make demo PYTHON=python3.12     that one; .venv is made anew if it is of another version

# What a Python must satisfy; it then prints the interpreter below any virtual environment, so that
# .venv never hangs on an environment that somebody may delete. -I keeps PYTHONPATH and such out.
PROBE := import ensurepip, sys, venv; \
  (3, 11) <= sys.version_info < (3, 14) or sys.exit(1); \
  print(getattr(sys, "_base_executable", sys.executable))

# A name on the PATH proves little (pyenv has shims for Pythons that are switched off): run it. An
# environment that is already here comes first, so that nobody's .venv is thrown away unasked.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for python in .venv/bin/python python3.12 python3.11 python3 python3.13; do \
  "$$python" -I -c '$(PROBE)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
endif
BASE_PYTHON := $(if $(PYTHON),$(shell "$(PYTHON)" -I -c '$(PROBE)' 2>/dev/null))
SHOW_VERSION := import sys; print("%d.%d" % sys.version_info[:2])
VERSION := $(if $(BASE_PYTHON),$(shell "$(BASE_PYTHON)" -I -c '$(SHOW_VERSION)' 2>/dev/null))

# Where `task-bundle download-face-landmarker` puts face models.
CACHED_FACE_MODELS := $(or $(MM_FACE_STYLIZER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mm-face-stylizer)/face_landmarker.task

BIN := .venv/bin
READY := .venv/.ready-$(VERSION)
# A file's tests share what they make, so that a file goes to one worker. Files stay in the order of
# tests/conftest.py, in which the long ones come first.
PYTEST := $(BIN)/python -m pytest -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder
# Two processes keep two cores busy; a third would starve the tests that wait for a browser. Their
# operations are small, and TensorFlow's threads would mostly wait for each other: with one, short
# trainings take 7 % less CPU time.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1

# Settings of an activated environment, or of pip for the user, must not reach .venv. Without stored
# bytecode each of hundreds of processes would compile the project anew.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: demo face-models test test-slow stacks lint format docs clean help

demo: face-models $(READY)  ## Train a stylizer on a sample style and write the results to out/.
	$(BIN)/mm-face-stylizer demo --output out --overwrite \
	  $(if $(FACE_LANDMARKER),--face-landmarker "$(FACE_LANDMARKER)")

# MediaPipe for Python 3.13 has no face models, which is better said before 3 GB are installed.
face-models:
	@test "$(VERSION)" != 3.13 || test -f "$(or $(FACE_LANDMARKER),$(CACHED_FACE_MODELS))" || { \
	  echo "the demo needs face models, which MediaPipe for Python 3.13 does not have: choose" \
	    "'make demo PYTHON=python3.12' (or 3.11); or bring the models of any .task bundle by" \
	    "'make demo FACE_LANDMARKER=X.task'; or put Google's face_landmarker.task there:" \
	    "$(CACHED_FACE_MODELS)" >&2; exit 1; }

test: $(READY)  ## Run all tests but the slow ones, in about six minutes on two cores.
	$(ONE_THREAD) $(PYTEST) -m "not slow"

test-slow: $(READY)  ## Run the slow tests: whole trainings, the demo, the notebook, the studio's page.
	$(ONE_THREAD) $(PYTEST) -m slow

stacks: $(READY)  ## Run all tests on every stack of noxfile.py whose Python is installed.
	$(BIN)/nox

lint: $(READY)  ## Check format, style and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format the code and repair what can be repaired.
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: .venv/.docs-$(VERSION)  ## Build the documentation into site/; any warning fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/.docs-$(VERSION): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

clean:  ## Remove out/, site/, caches and build products; .venv and .nox stay.
	rm -rf out site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . \( -path ./.venv -o -path ./.nox \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

help:  ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Runs once for each version of Python, and again when pyproject.toml changes. An environment of the
# right version is kept as it is.
$(READY): pyproject.toml
	@test -n "$(VERSION)" || { \
	  echo "$(if $(PYTHON),$(PYTHON) is not a,there is no) working Python 3.11, 3.12 or 3.13 with the" \
	    "venv module; choose one with 'make PYTHON=/path/to/python3.12 ...'" >&2; exit 1; }
	@test "$$($(BIN)/python -I -c '$(SHOW_VERSION)' 2>/dev/null)" = "$(VERSION)" \
	  && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || { echo "making .venv with Python $(VERSION)"; "$(BASE_PYTHON)" -m venv --clear .venv; }
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
