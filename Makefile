# GNU make 3.81 is enough: that is what macOS has.
#
#   make run      set up what is missing, then open the window
#   make setup    set up alone: .venv with fovea and fovea-app, and the starter model
#   make test     set up what is missing, then run every check
#   make help     the rest

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint packaging/constraints.txt
STARTER := $(BIN)/python -m engine.loading.starter
QT_LIBRARIES := $(BIN)/python packaging/qt_libraries.py

# Touched when an installation is complete, so that the next `make run` starts at once.
RUN := $(VENV)/.setup-run.stamp
TEST := $(VENV)/.setup-test.stamp
INPUTS := pyproject.toml packaging/constraints.txt

CHECKS := lint format imports types test-engine test-app

.PHONY: help run setup setup-test test $(CHECKS) bench-start bench-peer bench-generation constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make run          set up what is missing, then open the window"
	@echo "make setup        set up alone: $(VENV), with fovea and fovea-app in it, and the starter model"
	@echo "make test         set up what is missing, then run every check:"
	@echo "                  $(CHECKS)"
	@echo "make bench-start  how long the window takes to appear"
	@echo "make bench-peer   speed and memory beside mlx-vlm"
	@echo "make bench-generation"
	@echo "                  second turns, several answers at once, guesses and compressed caches beside mlx-vlm"
	@echo "make clean        remove what the above made, the starter model excepted"

run: setup
	@$(BIN)/python packaging/launch.py

setup: $(RUN)
	@$(STARTER)

setup-test: $(TEST)
	@$(STARTER)
	@$(QT_LIBRARIES) --install

$(BIN)/python:
	@python="$$(sh packaging/find_python.sh)" && echo "Using $$python" && "$$python" -m venv $(VENV)

$(RUN): $(INPUTS) | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(TEST): $(INPUTS) | $(BIN)/python
	$(PIP) --editable ".[test]"
	@touch $(RUN) $@

# With -k each check runs whatever the others found, and any of them fails the whole.
test: setup-test
	@$(MAKE) --no-print-directory -k $(CHECKS)

lint:
	$(BIN)/ruff check .

format:
	$(BIN)/ruff format --check .

imports:
	$(BIN)/lint-imports

types:
	$(BIN)/pyright

# The engine's tests run as if Qt were not installed, the app's as if MLX were not.
test-engine:
	$(BIN)/python -m pytest -p no:pytest-qt -p tests.without_qt --ignore=tests/app

test-app:
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -p tests.without_mlx tests/app

bench-start: setup
	@$(BIN)/python benchmarks/start.py

bench-peer: setup
	@$(BIN)/python benchmarks/peer.py

bench-generation: setup
	@$(BIN)/python benchmarks/generation.py

# After a change to the dependencies in pyproject.toml.
constraints: $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header --upgrade \
		pyproject.toml --output-file packaging/constraints.txt

clean:
	rm -rf $(VENV) .venv-peer build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
