# The same verbs here and in CI.
PYTHON ?= python3
VENV := .venv
TEST_VENV := .venv-test
BIN := $(VENV)/bin
TEST_BIN := $(TEST_VENV)/bin
# Tests run outside the clone, on the built wheel.
SHARE ?= 1

.PHONY: run test check fix bench docs soak clean

run: $(VENV)/.ready
	$(BIN)/promptdetox setup
	$(BIN)/promptdetox rewrite examples/comments.txt --output-format csv

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(TEST_VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(TEST_BIN)/python -m pip install --quiet --disable-pip-version-check build ".[hub,train,test]"
	touch $@

# Builds the wheel, installs it over the requirements, and tests a copy of the tests elsewhere, so
# that nothing can be imported from the clone.
test: $(TEST_VENV)/.ready
	rm -rf dist
	$(TEST_BIN)/python -m build --quiet --wheel
	$(TEST_BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	$(TEST_BIN)/promptdetox setup
	$(TEST_BIN)/python tests/run_outside.py --share $(SHARE)

soak: $(TEST_VENV)/.ready
	$(MAKE) test SHARE=10

check: $(TEST_VENV)/.ready
	$(TEST_BIN)/ruff format --check src tests recipes docs
	$(TEST_BIN)/ruff check src tests recipes docs
	$(TEST_BIN)/mypy

fix: $(TEST_VENV)/.ready
	$(TEST_BIN)/ruff format src tests recipes docs
	$(TEST_BIN)/ruff check --fix src tests recipes docs

bench: $(TEST_VENV)/.ready
	$(TEST_BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(TEST_BIN)/promptdetox setup
	$(TEST_BIN)/python recipes/bench.py

# docs/cli.md from `--help`, and the figures of results/ into the documents.
docs: $(TEST_VENV)/.ready
	$(TEST_BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(TEST_BIN)/python docs/make_cli.py
	$(TEST_BIN)/python docs/fill_numbers.py

clean:
	rm -rf $(VENV) $(TEST_VENV) dist build
