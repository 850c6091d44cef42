# The two commands of a fresh checkout are `make demo` and `make test`; each installs what it needs into .venv.
# Beside that, the tests need redis-server and Chromium, which are installed too where that can be done.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
COMPILED := .venv-compiled
LOWEST := .venv-lowest

# What is installed elsewhere is not for here, nor is a setting of pip's that an environment of its own refuses.
unexport PYTHONHOME PYTHONPATH
export PIP_USER := 0

.PHONY: demo test test-compiled test-lowest lint package bench docs clean

# Anew, since an environment that another Python made before keeps that one.
$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed, and $(PYTHON) is " \
		+ sys.version.split()[0] + "; with another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[docs,test]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/request-callout demo

test: $(INSTALLED)
	@tests/servers/install-debian redis-server chromium chromium-driver
	$(BIN)/python -m pytest -n auto

# The installed wheel is what is tested, from a copy of the tests without the sources beside them, which would win.
# Not run again here: the folders of what is not compiled, and the conformance suite on MsgPack, whose way to Kong is not.
test-compiled:
	rm -rf $(COMPILED)
	$(PYTHON) -m venv $(COMPILED)
	$(COMPILED)/bin/python -m pip install --quiet --upgrade pip
	mkdir $(COMPILED)/checkout
	cp -R setup.py setup.cfg pyproject.toml README.md LICENSE schema examples docs request_callout tests bench $(COMPILED)/checkout
	cd $(COMPILED)/checkout && REQUEST_CALLOUT_COMPILE=1 ../bin/python -m pip wheel --quiet --no-deps --wheel-dir .. .
	rm -r $(COMPILED)/checkout/request_callout
	$(COMPILED)/bin/python -m pip install -qq "$$(ls $(COMPILED)/*.whl)[test]"
	cd $(COMPILED)/checkout && ../bin/python -m pytest --compiled -n auto -q \
		tests/unit/pdk tests/unit/transport tests/unit/engine tests/unit/server tests/unit/security \
		tests/unit/telemetry tests/telemetry tests/unit/cli/explain tests/secrets tests/conformance -k 'not (conformance and msgpack)'

# The oldest versions that setup.cfg allows, or their last patch: 3.10 has all of them. What is tested is what uses them.
test-lowest:
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	sed -nE 's/^ +([A-Za-z0-9-]+)(\[.*\])?>=(.+)/\1==\3.*/p' setup.cfg | sort -u >$(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install -qq --constraint $(LOWEST)/constraints.txt --editable '.[docs,test]'
	$(LOWEST)/bin/python -m pytest -n auto -q tests/unit tests/conformance tests/telemetry

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

# sdist and wheel in dist/, looked at and installed where nothing else is; a part of `make test` too.
package: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 0 tests/shipping/test_package.py
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

bench: $(INSTALLED)
	$(BIN)/python -m bench

# First the pages that come from the schema and the commands, then the site: build/docs/index.html.
docs: $(INSTALLED)
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs build/docs

clean:
	rm -rf $(VENV) $(COMPILED) $(LOWEST) build dist *.egg-info
	rm -f *__mypyc.*.so
	find request_callout -name '*.so' -delete
