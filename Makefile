# Everything a developer types. A fresh machine needs python3 >= 3.11 (with venv), g++ with C++20, and make; the
# rest (CMake and Ninja too) comes into .venv from PyPI. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
JOBS ?= 2
SEED ?= 1
PRESET ?= release
PYTEST_ARGS ?=
# Of make fuzz, for each target; FUZZ_RUNS=0 sets no bound.
FUZZ_SECONDS ?= 60
FUZZ_RUNS ?= 0
# Options of pip for the package, e.g. -C cmake.define.PELTON_WERROR=ON.
PACKAGE_ARGS ?=
# Seconds of each Locust scenario, and minutes of a soak.
LOAD_SECONDS ?= 5
SOAK_MINUTES ?= 30

CXX ?= g++
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)

# The package is installed again when one of these changed.
SOURCES := CMakeLists.txt pyproject.toml LICENSE NOTICE $(wildcard README.md) \
  $(shell find kernels csrc pyserver -type f -not -name '*.pyc')
CXX_SOURCES = $(shell git ls-files 'kernels/*.h' 'kernels/*.cc' 'kernels/*.inl' 'csrc/*.h' 'csrc/*.cc' 'tests/*.h' 'tests/*.cc' \
  'bench/*.h' 'bench/*.cc' 'bench/*.inl')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test test-long native fuzz pytest bench bench-peers load soak lint format relacy slowhttptest clean

help:
	@echo "make serve        serve all-MiniLM-L6-v2 on http://$(HOST):$(PORT)"
	@echo "make test         native tests and Python tests, without the slow ones"
	@echo "make test-long    all tests, the native ones under ASan+UBSan and TSan too"
	@echo "make native PRESET=release|asan|tsan   build and run the native tests of one preset"
	@echo "make fuzz FUZZ_SECONDS=60 FUZZ_RUNS=0   libFuzzer (needs clang) on every fuzz target"
	@echo "make bench        the figures of the README, measured on this machine"
	@echo "make bench-peers  other servers, each in its own environment, against ours"
	@echo "make load         Locust scenarios (LOAD_SECONDS=5 each), HTML reports in build/load"
	@echo "make soak SOAK_MINUTES=30   80 % load with reconnects, cancels and bad requests"
	@echo "make lint         ruff, mypy --strict, clang-format: check only"
	@echo "make format       ruff and clang-format: rewrite"
	@echo "make clean        remove .venv and build"
	@echo "variables: PYTHON, VENV, HOST, PORT, JOBS, SEED, PYTEST_ARGS"

serve: $(VENV)/.package
	@model="$$($(BIN)/python examples/fetch_minilm.py)" && \
	  exec $(BIN)/pelton serve "minilm=$$model" --host $(HOST) --port $(PORT)

test: $(VENV)/.package $(VENV)/.dev $(VENV)/.bench relacy
	@$(MAKE) --no-print-directory native PRESET=release
	@$(MAKE) --no-print-directory pytest PYTEST_ARGS='-m "not slow and not gpu" $(PYTEST_ARGS)'

test-long: $(VENV)/.package $(VENV)/.dev $(VENV)/.bench relacy slowhttptest
	@for preset in release asan tsan; do \
	  $(MAKE) --no-print-directory native PRESET=$$preset || exit 1; done
	@$(MAKE) --no-print-directory pytest

pytest: $(VENV)/.package $(VENV)/.dev
	$(BIN)/python -m pytest --seed=$(SEED) --hypothesis-seed=$(SEED) $(PYTEST_ARGS)

native: $(VENV)/.build-tools
	@$(BIN)/cmake --preset $(PRESET) --log-level=WARNING -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	@$(BIN)/cmake --build build/$(PRESET) -j$(JOBS)
	@$(BIN)/python tests/native/run.py build/$(PRESET) --seed $(SEED)

fuzz: $(VENV)/.build-tools
	@$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) --runs $(FUZZ_RUNS) --seed $(SEED)

bench: $(VENV)/.package $(VENV)/.bench
	@$(BIN)/python -m bench

bench-peers: $(VENV)/.package $(VENV)/.bench
	@$(BIN)/python -m bench server peers mlp embed

load: $(VENV)/.package $(VENV)/.load
	@model="$$($(BIN)/python examples/fetch_minilm.py)" && \
	  $(BIN)/python -m bench.server.locust_run --seconds $(LOAD_SECONDS) --model "$$model"

soak: $(VENV)/.package $(VENV)/.bench
	@$(BIN)/python -m bench.server.soak --minutes $(SOAK_MINUTES)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	@$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES) && echo "clang-format: no change needed"

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

clean:
	rm -rf $(VENV) build

# The model checker for the ring. Tests that need it are skipped, with a line, where it is missing.
relacy:
	@sh tests/install_debian.sh relacy-dev include/relacy/relacy.hpp "the model checks will not run"

# Slow clients of the test of that name, which is among the slow ones and fails without it.
slowhttptest:
	@sh tests/install_debian.sh slowhttptest bin/slowhttptest "its test will fail"

# The environment, in layers: a stamp file each, so that nothing is installed twice.
$(VENV)/.venv:
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' not found; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Pelton needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) -V 2>&1); set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "make: '$(PYTHON) -m venv' failed (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

# Build tools in the environment itself, not in pip's throw-away one: then a second build compiles what changed only.
$(VENV)/.build-tools: pyproject.toml | $(VENV)/.venv
	@command -v $(CXX) >/dev/null || { echo "make: '$(CXX)' not found; a C++20 compiler is needed, set CXX=" >&2; exit 1; }
	@echo 'int main() { return []<int I>() { return I; }.template operator()<0>(); }' | \
	  $(CXX) -std=c++20 -fsyntax-only -x c++ - || { echo "make: '$(CXX)' does not compile C++20; set CXX=" >&2; exit 1; }
	@echo "make: installing build tools into $(VENV)"
	@$(PIP) install 'cmake>=3.24' 'ninja>=1.10' $$($(BIN)/python tests/requirements.py build)
	@touch $@

$(VENV)/.package: $(SOURCES) | $(VENV)/.build-tools
	@echo "make: building and installing pelton into $(VENV)"
	@PATH="$(abspath $(BIN)):$$PATH" $(PIP) install --no-build-isolation -C 'build-dir=build/wheel-{cache_tag}' $(PACKAGE_ARGS) .
	@touch $@

$(VENV)/.dev $(VENV)/.bench $(VENV)/.load: $(VENV)/.%: pyproject.toml | $(VENV)/.venv
	@echo "make: installing what '$*' needs into $(VENV)"
	@$(PIP) install $$($(BIN)/python tests/requirements.py $*)
	@touch $@
