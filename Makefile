# The two commands of a fresh checkout are `make demo` and `make test`; each installs what it needs into .venv.
# Beside that, the tests need redis-server, which is installed too where that can be done.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench clean

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[test]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/request-callout demo

test: $(INSTALLED)
	@command -v redis-server >/dev/null || tests/servers/install-redis-server
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

bench: $(INSTALLED)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist *.egg-info
