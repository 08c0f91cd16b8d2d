# Needs only Python 3.10 or newer; everything else goes into a virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Exact versions of everything; see constraints.txt.
INSTALL := $(PIP) install --constraint constraints.txt
# Where to take torch's CPU build from, such as the index that pytorch.org names for "CPU"; without it,
# pip takes torch from its own index, which on Linux may bring CUDA.
TORCH_INDEX ?=

# Written even where the environment says not to: each process of the tests would compile all tests
# anew, and rewrite their asserts, half a minute of a core.
export PYTHONDONTWRITEBYTECODE :=

# Tests run in one process more than cores, since they also wait for servers, browsers and other
# processes; each process in one thread (tests/conftest.py).
TEST_PROCESSES ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PYTEST := $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 8

.PHONY: demo test test-slow test-interop site check check-install format clean

# Install, then segment an image from one click.
demo: $(VENV)/installed
	$(BIN)/samkit demo --output demo-output

# Install what tests need, and run all but the slow ones; by tools/with_postgres.sh, on PostgreSQL
# too.
test: $(VENV)/installed-dev
	$(PYTEST) --dist worksteal -m "not slow"

# Minutes instead of seconds each: compilers, processes that are killed, long trainings. Only their
# files are imported, and run in this order: pytest-xdist would leave files of few tests, the longest
# ones, to the end. Those of the page, of a quarter of a minute each, come last.
FIND_SLOW := grep --recursive --files-with-matches --include='*.py' 'mark\.slow'
SLOW_FILES = $$($(FIND_SLOW) --exclude-dir=browser tests | sort; $(FIND_SLOW) tests/web/browser | sort)
test-slow: $(VENV)/installed-dev
	$(PYTEST) --dist loadfile --no-loadscope-reorder \
		--rerun-show-tracebacks -m slow $(SLOW_FILES)

# Exports, read by the packages of the programs that they are for. napari's plugins of pytest are
# for its own tests.
test-interop: $(VENV)/installed-dev $(VENV)/interop/installed
	PYTHONPATH=$(VENV)/interop $(BIN)/python -m pytest -p no:napari -p no:npe2 tests/interop

# The documentation as pages, in build/site: the tutorials are run, and any warning ends it.
site: $(VENV)/installed-site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Style, types, the direction of imports, documents.
check: $(VENV)/installed-dev
	$(BIN)/ruff check src tests tools benchmarks docs/tutorials
	$(BIN)/ruff format --check src tests tools benchmarks docs/tutorials
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_docs.py

# Sdist and wheel, and the wheel in an environment that has nothing but what it needs.
check-install: $(VENV)/installed-dev
	$(BIN)/python tools/check_install.py

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix src tests tools benchmarks docs/tutorials
	$(BIN)/ruff format src tests tools benchmarks docs/tutorials

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(INSTALL) --index-url $(TORCH_INDEX) torch)
	$(INSTALL) --editable .
	touch $@

$(VENV)/interop/installed: tests/interop/requirements.txt $(VENV)/installed
	$(PIP) install --no-deps --target $(VENV)/interop --upgrade --requirement $<
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable '.[test,check]'
	touch $@

$(VENV)/installed-site: $(VENV)/installed-dev
	$(INSTALL) --editable '.[site]'
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist
